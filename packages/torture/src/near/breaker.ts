import { setTimeout as pause } from 'node:timers/promises';
import type { RedisService, TcpProxy } from '@lockstep/dev-services';
import type { Redis } from 'ioredis';
import { type Random, randomChoice } from '../random.js';

/** What is done to the ways between processes and the cache. */
export const BREAKS = [
  'delay',
  'hold',
  'swallow',
  'cut',
  'kill',
  'evict',
  'flush',
  'freeze',
  'restart',
] as const;
export type Break = (typeof BREAKS)[number];

export interface BreakerParts {
  readonly redis: RedisService;
  /** In front of each process's channel. */
  readonly proxies: readonly TcpProxy[];
  /** Past the proxies. */
  readonly admin: () => Redis;
  readonly random: Random;
}

const MAX_MS = 300;

/** One break, and its end. */
export async function breakOnce(what: Break, { admin, proxies, random, redis }: BreakerParts): Promise<void> {
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
      await admin().call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      return;
    case 'evict':
      await admin().del(...(await admin().keys('wtc:*')).filter(() => random() < 0.1), 'none');
      return;
    case 'flush':
      await admin().flushall();
      return;
    case 'freeze':
      redis.process?.freeze();
      await pause(forMs);
      redis.process?.thaw();
      return;
    case 'restart':
      await redis.process?.kill();
      await pause(forMs / 2);
      await redis.process?.restart();
      return;
  }
  await pause(forMs);
  await proxy.heal();
}
