import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter, UnflushedIndex } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import { CacheUnavailableError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';

/** A call of the index, which is no part of anybody's read or write but a buffered one's. */
const INDEX_TIMEOUT_MS = 1_000;

/**
 * The adapter's own calls, for whoever needs other bounds than the client's: they connect first. Those of the
 * index are bounded here, `execute` and `info` by their callers.
 */
export type OpenedCache = Pick<CacheAdapter, 'execute' | 'info'> & { readonly index: UnflushedIndex };

export function openedCache(adapter: CacheAdapter, client: CacheClient, clock: Clock): OpenedCache {
  const unflushed = adapter.unflushed as UnflushedIndex;
  const opened = async <T>(call: () => Promise<T>): Promise<T> => {
    await client.open();
    return await call();
  };
  const late = (): Error =>
    new CacheUnavailableError(`the index of unflushed keys did not answer within ${INDEX_TIMEOUT_MS} ms`);
  const bounded = <T>(call: () => Promise<T>): Promise<T> =>
    withTimeout(clock, opened(call), INDEX_TIMEOUT_MS, late);
  return {
    execute: (commands) => opened(() => adapter.execute(commands)),
    info: () => opened(() => adapter.info()),
    index: {
      durable: unflushed.durable,
      add: (index, keys, limit) => bounded(() => unflushed.add(index, keys, limit)),
      list: (index, afterMark, limit) => bounded(() => unflushed.list(index, afterMark, limit)),
      remove: (index, keys) => bounded(() => unflushed.remove(index, keys)),
      size: (index) => bounded(() => unflushed.size(index)),
    },
  };
}
