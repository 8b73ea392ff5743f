import type { CacheAdapter, UnflushedIndex } from '../../contracts/cache.js';
import type { CacheClient } from '../cache-client.js';

/** The adapter's own calls, for whoever needs other bounds than the client's: they connect first. */
export type OpenedCache = Pick<CacheAdapter, 'execute' | 'info'> & { readonly index: UnflushedIndex };

export function openedCache(adapter: CacheAdapter, client: CacheClient): OpenedCache {
  const unflushed = adapter.unflushed as UnflushedIndex;
  const opened = async <T>(call: () => Promise<T>): Promise<T> => {
    await client.open();
    return await call();
  };
  return {
    execute: (commands) => opened(() => adapter.execute(commands)),
    info: () => opened(() => adapter.info()),
    index: {
      durable: unflushed.durable,
      add: (index, keys, limit) => opened(() => unflushed.add(index, keys, limit)),
      list: (index, afterMark, limit) => opened(() => unflushed.list(index, afterMark, limit)),
      remove: (index, keys) => opened(() => unflushed.remove(index, keys)),
      size: (index) => opened(() => unflushed.size(index)),
    },
  };
}
