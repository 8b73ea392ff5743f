import KeyvRedis from '@keyv/redis';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { Cacheable } from 'cacheable';

/** A cache with tags: what it reads, or loads and caches under a tag, and how a tag is ended. */
export interface TagPeer<Value> {
  readonly name: string;
  get(n: number): Promise<Value>;
  endTag(n: number): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface TagPeersOptions<Value> {
  readonly redis: { readonly host: string; readonly port: number; readonly url: string };
  readonly load: (n: number) => Value;
  readonly tagOf: (n: number) => string;
  readonly ttlMs: number;
}

/** Peers on Redis alone: nothing is kept in the process, as with a view. */
export function tagPeers<Value>(options: TagPeersOptions<Value>): TagPeer<Value>[] {
  return [bentocache(options), cacheable(options)];
}

function bentocache<Value>({ load, redis, tagOf, ttlMs }: TagPeersOptions<Value>): TagPeer<Value> {
  const { host, port } = redis;
  const store = bentostore().useL2Layer(redisDriver({ connection: { host, port } }));
  const cache = new BentoCache({ default: 'redis', stores: { redis: store } });
  return {
    name: 'bentocache',
    get: (n) => cache.getOrSet({ key: `n${n}`, ttl: ttlMs, tags: [tagOf(n)], factory: () => load(n) }),
    endTag: (n) => cache.deleteByTag({ tags: [tagOf(n)] }),
    close: () => cache.disconnectAll(),
  };
}

function cacheable<Value>({ load, redis, tagOf, ttlMs }: TagPeersOptions<Value>): TagPeer<Value> {
  const cache = new Cacheable({ primary: new KeyvRedis(redis.url), tags: true });
  return {
    name: 'cacheable',
    async get(n) {
      const cached = await cache.get<Value>(`n${n}`);
      if (cached !== undefined) return cached;
      const value = load(n);
      await cache.set(`n${n}`, value, { ttl: ttlMs, tags: [tagOf(n)] });
      return value;
    },
    endTag: (n) => cache.tags.invalidateTag(tagOf(n)),
    close: () => cache.disconnect(),
  };
}
