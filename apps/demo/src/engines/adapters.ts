import type { CacheAdapter, QueueAdapter } from '@lockstep/core';

/** The cache on the Redis at an address. */
export function cacheAt(url: string): CacheAdapter {
  throw new Error(`no cache adapter for ${url}`);
}

/** The queue on the Redis at an address. */
export function queueAt(url: string): QueueAdapter {
  throw new Error(`no queue adapter for ${url}`);
}
