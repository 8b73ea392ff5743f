import { type Cache, type CacheEntry, cachified } from '@epic-web/cachified';
import { createKeyv } from '@keyv/redis';
import { createCache as createDedupe } from 'async-cache-dedupe';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { createCache } from 'cache-manager';
import { Cacheable } from 'cacheable';
import { Redis } from 'ioredis';
import { Loader, RedisCache } from 'layered-loader';
import type { Product } from '../bursts/product.js';
import type { Ground, Peer, PeerCache } from './side.js';

// Each as its documentation advises for a cache in Redis behind which a database stands: no copies in the process, since
// those of other processes would go stale; after a write `set` where the cache has it, else a removal.

async function byHand({ load, name, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const client = new Redis(redisUrl);
  const keyOf = (id: string) => `${name}:${id}`;
  const set = async (row: Product) => void (await client.setex(keyOf(row.id), ttlS, JSON.stringify(row)));
  return {
    async get(id) {
      const text = await client.get(keyOf(id));
      if (text !== null) return JSON.parse(text) as Product;
      const row = await load(id);
      if (row !== undefined) await set(row);
      return row;
    },
    written: (row) => set(row),
    evict: (id) => client.del(keyOf(id)),
    close: async () => client.disconnect(),
  };
}

async function bentocache({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const { hostname: host, port } = new URL(redisUrl);
  const bento = new BentoCache({
    default: 'products',
    ttl: ttlS * 1_000,
    stores: { products: bentostore().useL2Layer(redisDriver({ connection: { host, port: Number(port) } })) },
  });
  return {
    // It refuses to cache `undefined`.
    get: async (key) =>
      (await bento.getOrSet({ key, factory: async () => (await load(key)) ?? null })) ?? undefined,
    written: (row) => bento.set({ key: row.id, value: row }),
    evict: (key) => bento.delete({ key }),
    close: () => bento.disconnectAll(),
  };
}

async function cacheable({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const primary = createKeyv(redisUrl, { namespace: 'cacheable' });
  const cache = new Cacheable({ primary: primary as never, ttl: ttlS * 1_000 });
  return {
    get: (id) => cache.getOrSet(id, () => load(id)),
    written: (row) => cache.set(row.id, row),
    evict: (id) => cache.delete(id),
    close: async () => void (await primary.disconnect()),
  };
}

async function cacheManager({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const store = createKeyv(redisUrl, { namespace: 'cache-manager' });
  const cache = createCache({ stores: [store as never], ttl: ttlS * 1_000 });
  return {
    get: (id) => cache.wrap(id, () => load(id)),
    written: (row) => cache.set(row.id, row),
    evict: (id) => cache.del(id),
    close: async () => void (await store.disconnect()),
  };
}

async function epicCachified({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const client = new Redis(redisUrl);
  const keyOf = (id: string) => `cachified:${id}`;
  const cache: Cache = {
    get: async (id) => JSON.parse((await client.get(keyOf(id))) ?? 'null') as CacheEntry | null,
    set: (id, entry) => client.setex(keyOf(id), ttlS, JSON.stringify(entry)),
    delete: (id) => client.del(keyOf(id)),
  };
  return {
    get: (key) => cachified({ key, cache, ttl: ttlS * 1_000, getFreshValue: () => load(key) }),
    written: async (row) => await cache.delete(row.id),
    evict: async (id) => await cache.delete(id),
    close: async () => client.disconnect(),
  };
}

async function layeredLoader({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const client = new Redis(redisUrl);
  const loader = new Loader<Product>({
    asyncCache: new RedisCache<Product>(client as never, {
      json: true,
      prefix: 'layered',
      ttlInMsecs: ttlS * 1_000,
    }),
    dataSourceGetOneFn: load,
  });
  return {
    get: async (id) => (await loader.get(id)) ?? undefined,
    written: (row) => loader.invalidateCacheFor(row.id),
    evict: (id) => loader.invalidateCacheFor(id),
    close: async () => client.disconnect(),
  };
}

async function asyncCacheDedupe({ load, redisUrl, ttlS }: Ground): Promise<PeerCache> {
  const client = new Redis(redisUrl);
  const cache = createDedupe({ ttl: ttlS, storage: { type: 'redis', options: { client } } }).define(
    'product',
    (id: string) => load(id),
  );
  return {
    get: (id) => cache.product(id),
    written: (row) => cache.clear('product', row.id),
    evict: (id) => cache.clear('product', id),
    close: async () => client.disconnect(),
  };
}

/** By name, in the order of the tables. */
export const PEERS = {
  'by hand': byHand,
  // Its statements are other ones.
  'tuned by hand': byHand,
  bentocache,
  cacheable,
  'cache-manager': cacheManager,
  cachified: epicCachified,
  'layered-loader': layeredLoader,
  'async-cache-dedupe': asyncCacheDedupe,
} satisfies Record<string, Peer>;

export type PeerName = keyof typeof PEERS;

/** The least that has to be done: the clients themselves, with named statements. */
export const LIMIT = 'the bare clients';
export const bareClients: Peer = byHand;
