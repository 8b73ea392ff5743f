import { redisCache } from '@lockstep/cache-redis';
import type { CacheAdapter, QueueAdapter } from '@lockstep/core';
import { bullmqQueue } from '@lockstep/queue-bullmq';

/** The cache on the Redis at an address. */
export function cacheAt(url: string): CacheAdapter {
  return redisCache({ url });
}

/** The queue on the Redis at an address. */
export function queueAt(url: string): QueueAdapter {
  return bullmqQueue({ connection: { url } });
}
