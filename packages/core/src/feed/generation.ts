import type { CancelTimer } from '../contracts/clock.js';
import type { ConsumerRecord } from '../contracts/registry.js';
import { repeat } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';
import type { Consumer } from './consumer.js';
import { Positions } from './positions.js';
import { epochsOf } from './start-epoch.js';

export interface GenerationWatchOptions
  extends Pick<EngineContext, 'cache' | 'clock' | 'events' | 'nextToken'> {
  readonly consumer: Consumer;
  /** Hands over what was not dealt with at the oldest of a source's positions, for these sources. */
  readonly replay: (
    since: ReadonlyMap<string, readonly string[]>,
    sources: readonly string[],
  ) => Promise<void>;
}

const POLL_MS = 1_000;
const LEASE_MS = 10_000;

/**
 * Notices, until the signal aborts, a cache that may have lost acknowledged writes (restarted from an old snapshot,
 * failed over to a lagging replica), and a store whose history has a gap: the registry gets a new epoch first, so that
 * nobody acknowledges what was done before, and one relay of many replays it. How far back it has to go the cache itself
 * tells: it holds, for each source, the position that everything was dealt with when it was written.
 */
export async function watchGeneration(options: GenerationWatchOptions, signal: AbortSignal): Promise<void> {
  const { clock, consumer, events } = options;
  const positions = new Positions(options);
  const onError = (error: unknown): void => events.error.emit({ where: 'generation', error });
  const look = async (): Promise<void> => {
    const records = await consumer.observe();
    await positions.keep(records.filter(({ replayed }) => replayed));
    const due = records.filter(({ replayed }) => !replayed);
    if (due.length > 0) await replayEpochs(options, positions, due, signal);
  };
  await repeat(look, { clock, everyMs: POLL_MS, onError }, signal);
}

async function replayEpochs(
  { clock, consumer, events, nextToken, replay }: GenerationWatchOptions,
  positions: Positions,
  due: readonly ConsumerRecord[],
  signal: AbortSignal,
): Promise<void> {
  const { registry } = consumer.feed;
  const name = consumer.consumer;
  const holder = nextToken();
  const lease = (): Promise<readonly string[]> => registry.lease(name, epochsOf(due), holder, LEASE_MS);
  const sources = await lease();
  if (sources.length === 0) return;
  const generation = due[0]?.identity;
  if (generation !== undefined) events.cacheGeneration.emit({ generation });
  let cancel: CancelTimer = () => undefined;
  // A replay may take longer than a lease stands. A renewal that fails leaves two more before the lease runs out.
  const renew = (): void => {
    cancel = clock.schedule(() => {
      lease().catch(() => undefined);
      renew();
    }, LEASE_MS / 3);
  };
  renew();
  try {
    await replay(await positions.read(sources), sources);
    if (signal.aborted) return;
    const replayed = due.filter(({ source }) => sources.includes(source));
    await positions.start(replayed);
    await registry.replayed(name, epochsOf(replayed), holder);
  } finally {
    cancel();
    // A replay that was cut short is left to the next relay.
    await registry.release(name, holder);
  }
}
