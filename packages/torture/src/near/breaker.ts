import { setTimeout as pause } from 'node:timers/promises';
import type { TcpProxy } from '@lockstep/dev-services';
import { type Random, randomChoice } from '../random.js';
import { type BreakableCache, type CacheFault, tell } from '../views/breaker.js';

/** What is done to the ways between processes and the cache; the rest is done to the cache itself. */
export const CHANNEL_BREAKS = ['delay', 'hold', 'swallow', 'cut', 'kill'] as const;
export type ChannelBreak = (typeof CHANNEL_BREAKS)[number];
export type Break = ChannelBreak | CacheFault;

export interface BreakerParts {
  readonly cache: BreakableCache;
  /** In front of each process's channels. */
  readonly proxies: readonly TcpProxy[];
  readonly random: Random;
}

const MAX_MS = 300;

/** Faults that may bring back what was replaced: nothing is promised until that is replayed. */
const BRINGS_BACK: ReadonlySet<Break> = new Set<Break>(['failover', 'restart-older']);

export function bringsBack(what: Break): boolean {
  return BRINGS_BACK.has(what);
}

/** One break, and its end. */
export async function breakOnce(what: Break, { cache, proxies, random }: BreakerParts): Promise<void> {
  const proxy = randomChoice(random, proxies);
  const forMs = MAX_MS * random();
  switch (what) {
    case 'delay':
      proxy.delay(forMs / 2, 'reply');
      break;
    case 'hold':
      proxy.hold('reply');
      break;
    case 'swallow':
      proxy.drop('reply');
      break;
    case 'cut':
      await proxy.cut();
      break;
    case 'kill':
      await Promise.allSettled(
        cache.servers.map(({ url }) => tell(url, ['CLIENT', 'KILL', 'TYPE', 'pubsub'])),
      );
      return;
    case 'freeze':
      // Nothing is near while the only server hangs.
      await cache.break(what, cache.servers.length === 1 ? () => random() / 4 : random);
      return;
    default:
      await cache.break(what, random);
      return;
  }
  await pause(forMs);
  await proxy.heal();
}
