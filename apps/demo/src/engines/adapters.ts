import { redisCache } from '@lockstep/cache-redis';
import type { CacheAdapter, QueueAdapter } from '@lockstep/core';

/** The cache on the Redis at an address. */
export function cacheAt(url: string): CacheAdapter {
  return redisCache({ url });
}

/** The queue on the Redis at an address. */
export function queueAt(_url: string): QueueAdapter | undefined {
  return undefined;
}
