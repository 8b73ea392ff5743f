import { withinCacheTime } from '../cache/cache-time.js';
import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter, UnflushedIndex, UnflushedKey } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';

/** A call of the index, which is no part of anybody's read or write but a buffered one's. */
const INDEX_TIMEOUT_MS = 1_000;

/** The index of a collection's unflushed keys; see {@link UnflushedIndex}. */
export interface OpenedIndex {
  add(keys: readonly string[], limit: number): ReturnType<UnflushedIndex['add']>;
  list(afterMark: number, limit: number): Promise<readonly UnflushedKey[]>;
  remove(keys: readonly UnflushedKey[]): Promise<void>;
  size(): Promise<number>;
}

/**
 * The adapter's own calls, for whoever needs other bounds than the client's: they connect first. Those of the
 * index are bounded here, `execute` and `info` by their callers.
 */
export type OpenedCache = Pick<CacheAdapter, 'execute' | 'info'> & { readonly index: OpenedIndex };

/** @param keyPrefix the start of the collection's keys in the cache; no entry's key starts like the index's */
export function openedCache(
  adapter: CacheAdapter,
  client: CacheClient,
  clock: Clock,
  keyPrefix: string,
): OpenedCache {
  const unflushed = adapter.unflushed as UnflushedIndex;
  const index = `unflushed:${keyPrefix}`;
  const opened = async <T>(call: () => Promise<T>): Promise<T> => {
    await client.open();
    return await call();
  };
  const bounded = <T>(call: () => Promise<T>): Promise<T> =>
    withinCacheTime(clock, opened(call), INDEX_TIMEOUT_MS, 'the index of unflushed keys did not answer');
  return {
    execute: (commands) => opened(() => adapter.execute(commands)),
    info: () => opened(() => adapter.info()),
    index: {
      add: (keys, limit) => bounded(() => unflushed.add(index, keys, limit)),
      list: (afterMark, limit) => bounded(() => unflushed.list(index, afterMark, limit)),
      remove: (keys) => bounded(() => unflushed.remove(index, keys)),
      size: () => bounded(() => unflushed.size(index)),
    },
  };
}
