import { memoryCache } from '@lockstep/core/memory';
import { Redis } from 'ioredis';
import { cacheAt, queueAt } from '../engines/adapters.js';
import type { EngineHooks, ShopEngine } from '../engines/engine.js';
import { LockstepEngine } from '../engines/lockstep.js';
import { NaiveEngine } from '../engines/naive.js';
import type { ApplicationConfig } from '../messages.js';
import { COLLECTION, NAIVE_PREFIX, NAIVE_TTL_MS, PREFIX } from '../naming.js';
import type { ShopStore } from '../stores/store.js';

/** The engine that the options ask for, connected. */
export async function openEngine(
  config: ApplicationConfig,
  store: ShopStore,
  hooks: EngineHooks,
): Promise<ShopEngine> {
  if (config.engine === 'naive') return openNaive(config, store, hooks);
  const { cacheUrl, queueUrl } = config;
  const cache = cacheUrl === null ? memoryCache() : cacheAt(cacheUrl);
  // A first call does not wait for a connection as long as this does, on a machine that is busy starting
  // everything at once. A cache that is away when the process starts is found as soon as it is back.
  await cache.open?.().catch((error: unknown) => hooks.backgroundError('cache', error));
  const options = {
    store,
    cache,
    queue: queueUrl === null ? undefined : queueAt(queueUrl),
    prefix: PREFIX,
    name: COLLECTION,
    // A cache in this process's memory is out of every worker's reach.
    embeddedRelay: cacheUrl === null,
  };
  return new LockstepEngine(options, hooks);
}

async function openNaive(
  { cacheUrl }: ApplicationConfig,
  store: ShopStore,
  hooks: EngineHooks,
): Promise<ShopEngine> {
  if (cacheUrl === null) throw new Error('the naive engine needs Redis');
  const redis = new Redis(cacheUrl, {
    lazyConnect: true,
    commandTimeout: 250,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 100,
  });
  redis.on('error', (error: unknown) => hooks.backgroundError('redis', error));
  // One that is away when the process starts is found as soon as it is back.
  await redis.connect().catch(() => undefined);
  const { plain, window } = store;
  return new NaiveEngine({ store: plain, window, redis, prefix: NAIVE_PREFIX, ttlMs: NAIVE_TTL_MS }, hooks);
}
