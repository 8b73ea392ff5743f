import { type Cache, type CacheEntry, cachified } from '@epic-web/cachified';
import { createKeyv } from '@keyv/redis';
import { createCache as createDedupe } from 'async-cache-dedupe';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { createCache } from 'cache-manager';
import { Cacheable } from 'cacheable';
import { Redis } from 'ioredis';
import { Loader, RedisCache } from 'layered-loader';
import { TTL_S } from '../bursts/ours.js';
import type { Product } from '../bursts/product.js';
import type { Ground, Peer, PeerSide } from './side.js';

// Each as its documentation advises for a cache in Redis behind which a database stands: no copies in the process, since
// those of other processes would go stale; after a write `set` where the cache has it, else a removal.

const TTL_MS = TTL_S * 1_000;

async function byHand({ load, redisUrl, rows, save }: Ground): Promise<PeerSide> {
  const client = new Redis(redisUrl);
  const keyOf = (id: string) => `by-hand:${id}`;
  const set = async (row: Product) => void (await client.setex(keyOf(row.id), TTL_S, JSON.stringify(row)));
  const returned = async (changed: PromiseLike<Product[]>): Promise<void> => {
    const [row] = await changed;
    if (row !== undefined) await set(row);
  };
  const patch = (id: string, stock: number) =>
    returned(rows().where({ id }).update({ stock }).returning('*') as PromiseLike<Product[]>);
  return {
    kind: 'peer',
    async get(id) {
      const text = await client.get(keyOf(id));
      if (text !== null) return JSON.parse(text) as Product;
      const row = await load(id);
      if (row !== undefined) await set(row);
      return row;
    },
    async put(row) {
      await save(row);
      await set(row);
    },
    evict: (id) => client.del(keyOf(id)),
    changes: {
      increment: (id) =>
        returned(rows().where({ id }).increment('stock', 1).returning('*') as PromiseLike<Product[]>),
      patch,
      update: patch,
      async delete(id) {
        await rows().where({ id }).delete();
        await client.del(keyOf(id));
      },
    },
    close: async () => client.disconnect(),
  };
}

async function bentocache({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const { hostname: host, port } = new URL(redisUrl);
  const bento = new BentoCache({
    default: 'products',
    ttl: TTL_MS,
    stores: { products: bentostore().useL2Layer(redisDriver({ connection: { host, port: Number(port) } })) },
  });
  return {
    kind: 'peer',
    get: (key) => bento.getOrSet({ key, factory: () => load(key) }),
    async put(row) {
      await save(row);
      await bento.set({ key: row.id, value: row });
    },
    evict: (key) => bento.delete({ key }),
    close: () => bento.disconnectAll(),
  };
}

async function cacheable({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const primary = createKeyv(redisUrl, { namespace: 'cacheable' });
  const cache = new Cacheable({ primary: primary as never, ttl: TTL_MS });
  return {
    kind: 'peer',
    get: (id) => cache.getOrSet(id, () => load(id)),
    async put(row) {
      await save(row);
      await cache.set(row.id, row);
    },
    evict: (id) => cache.delete(id),
    close: async () => void (await primary.disconnect()),
  };
}

async function cacheManager({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const store = createKeyv(redisUrl, { namespace: 'cache-manager' });
  const cache = createCache({ stores: [store as never], ttl: TTL_MS });
  return {
    kind: 'peer',
    get: (id) => cache.wrap(id, () => load(id)),
    async put(row) {
      await save(row);
      await cache.set(row.id, row);
    },
    evict: (id) => cache.del(id),
    close: async () => void (await store.disconnect()),
  };
}

async function epicCachified({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const client = new Redis(redisUrl);
  const keyOf = (id: string) => `cachified:${id}`;
  const cache: Cache = {
    get: async (id) => JSON.parse((await client.get(keyOf(id))) ?? 'null') as CacheEntry | null,
    set: (id, entry) => client.setex(keyOf(id), TTL_S, JSON.stringify(entry)),
    delete: (id) => client.del(keyOf(id)),
  };
  return {
    kind: 'peer',
    get: (key) => cachified({ key, cache, ttl: TTL_MS, getFreshValue: () => load(key) }),
    async put(row) {
      await save(row);
      await cache.delete(row.id);
    },
    evict: async (id) => await cache.delete(id),
    close: async () => client.disconnect(),
  };
}

async function layeredLoader({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const client = new Redis(redisUrl);
  const loader = new Loader<Product>({
    asyncCache: new RedisCache<Product>(client as never, {
      json: true,
      prefix: 'layered',
      ttlInMsecs: TTL_MS,
    }),
    dataSourceGetOneFn: load,
  });
  return {
    kind: 'peer',
    get: async (id) => (await loader.get(id)) ?? undefined,
    async put(row) {
      await save(row);
      await loader.invalidateCacheFor(row.id);
    },
    evict: (id) => loader.invalidateCacheFor(id),
    close: async () => client.disconnect(),
  };
}

async function asyncCacheDedupe({ load, redisUrl, save }: Ground): Promise<PeerSide> {
  const client = new Redis(redisUrl);
  const cache = createDedupe({ ttl: TTL_S, storage: { type: 'redis', options: { client } } }).define(
    'product',
    (id: string) => load(id),
  );
  return {
    kind: 'peer',
    get: (id) => cache.product(id),
    async put(row) {
      await save(row);
      await cache.clear('product', row.id);
    },
    evict: (id) => cache.clear('product', id),
    close: async () => client.disconnect(),
  };
}

/** By name, in the order of the tables. */
export const PEERS = {
  'by hand': byHand,
  bentocache,
  cacheable,
  'cache-manager': cacheManager,
  cachified: epicCachified,
  'layered-loader': layeredLoader,
  'async-cache-dedupe': asyncCacheDedupe,
} satisfies Record<string, Peer>;
