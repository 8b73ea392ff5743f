import type { Clock } from '../../contracts/clock.js';
import { sleep } from '../bounded.js';
import type { EventHub } from '../events.js';

/** What a sweeper needs of a collection's flusher. */
export interface Sweepable {
  sweep(olderThanMs: number, signal: AbortSignal): Promise<number>;
  rebuildIndex(): Promise<void>;
}

const EVERY_MS = 500;
/** What is younger is somebody's: a job's, or its writer's own. */
const OLDER_THAN_MS = 1_000;
const REBUILD_EVERY_MS = 600_000;

/**
 * Flushes what has been unflushed for too long (its writer died, its job was lost) until the signal aborts.
 * The index is rebuilt from the entries at the start, from time to time, and when the cache may have lost some
 * of it.
 */
export async function sweepUnflushed(
  flusher: Sweepable,
  {
    clock,
    events,
    signal,
  }: { readonly clock: Clock; readonly events: EventHub; readonly signal: AbortSignal },
): Promise<void> {
  let rebuildAtMs = clock.monotonic();
  const unsubscribe = events.on('cacheGeneration', () => {
    rebuildAtMs = clock.monotonic();
  });
  while (!signal.aborted) {
    try {
      if (clock.monotonic() >= rebuildAtMs) {
        rebuildAtMs = clock.monotonic() + REBUILD_EVERY_MS;
        await flusher.rebuildIndex();
      }
      await flusher.sweep(OLDER_THAN_MS, signal);
    } catch (error) {
      events.error.emit({ where: 'sweep', error });
    }
    await sleep(clock, EVERY_MS, signal);
  }
  unsubscribe();
}
