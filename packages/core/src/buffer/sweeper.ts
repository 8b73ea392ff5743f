import type { Clock } from '../contracts/clock.js';
import { sleep } from '../kit/wait.js';
import type { EventHub } from '../runtime/events.js';

/** What a sweeper needs of a collection's flusher. */
export interface Sweepable {
  sweep(olderThanMs: number, signal: AbortSignal): Promise<number>;
  rebuildIndex(signal: AbortSignal): Promise<void>;
}

const EVERY_MS = 500;
/** What is younger is somebody's: a job's, or its writer's own. */
const OLDER_THAN_MS = 1_000;
const REBUILD_EVERY_MS = 600_000;

export interface SweeperOptions {
  readonly clock: Clock;
  readonly events: EventHub;
  readonly signal: AbortSignal;
}

/**
 * Flushes what has been unflushed for too long (its writer died, its job was lost) until the signal aborts.
 * The index is rebuilt from the entries at the start, from time to time, and when the cache may have lost some
 * of it; beside the sweeps, since reading all entries of a large cache takes minutes.
 */
export async function sweepUnflushed(flusher: Sweepable, options: SweeperOptions): Promise<void> {
  const { clock, events, signal } = options;
  let incomplete = true;
  let rebuiltAtMs = 0;
  const unsubscribe = events.on('cacheGeneration', () => {
    incomplete = true;
  });
  const sweep = async (): Promise<void> => {
    await flusher.sweep(OLDER_THAN_MS, signal);
  };
  const rebuild = async (): Promise<void> => {
    if (!incomplete && clock.monotonic() - rebuiltAtMs < REBUILD_EVERY_MS) return;
    incomplete = false;
    try {
      await flusher.rebuildIndex(signal);
    } catch (error) {
      incomplete = true;
      throw error;
    }
    rebuiltAtMs = clock.monotonic();
  };
  await Promise.all([repeated(sweep, options), repeated(rebuild, options)]);
  unsubscribe();
}

async function repeated(
  round: () => Promise<void>,
  { clock, events, signal }: SweeperOptions,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await round();
    } catch (error) {
      events.error.emit({ where: 'sweep', error });
    }
    await sleep(clock, EVERY_MS, signal);
  }
}
