import { CacheUnavailableError, type ChangeWatch } from '@lockstep/core';
import { type RedisService, startProxy, startRedis } from '@lockstep/dev-services';
import { Redis, type RedisOptions } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { listening } from './support/changes.js';
import { put, run, setValue } from './support/entries.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;

let service: RedisService;
let other: Redis;

beforeAll(async () => {
  service = await startRedis({ owned: true });
  other = new Redis(service.url);
}, 120_000);
afterAll(async () => {
  other.disconnect();
  await service.stop();
});

/** A cache and its watch over two collections, proven. */
async function watched(url = service.url, commandTimeoutMs = 1_000) {
  const cache = redisCache({ url, commandTimeoutMs });
  await cache.open?.();
  const { listener, told, lost } = listening();
  const watch = cache.watchChanges?.('wtc::', listener) as ChangeWatch;
  watch.add('wtc:a:');
  watch.add('wtc:b:');
  await watch.ping();
  const close = async (): Promise<void> => {
    await watch.close();
    await cache.close();
  };
  return { cache, lost, told, watch, [Symbol.asyncDispose]: close };
}

describe('a ping resolves behind', () => {
  test('transitions, deletions and writes of whoever else, of the watched keys alone', async () => {
    await using shop = await watched();
    const { cache, told, watch } = shop;
    await setValue(cache, 'wtc:a:1', 2);
    await watch.ping();
    expect(told).toContain('wtc:a:1');
    told.length = 0;
    await run(cache, put('wtc:a:1', 4));
    await other.set('wtc:b:ключ', 'x');
    await other.set('wtc:c:1', 'x');
    await other.del('wtc:a:1');
    await watch.ping();
    expect(new Set(told)).toEqual(new Set(['wtc:a:1', 'wtc:b:ключ']));
    expect(shop.lost()).toBe(1);
  });

  test('an expiry, and an eviction', async () => {
    await using shop = await watched();
    await other.set('wtc:a:short', 'x', 'PX', 20);
    await until('it has expired', WITHIN_MS, async () => (await other.exists('wtc:a:short')) === 0);
    shop.told.length = 0;
    await other.set('wtc:a:big', 'x'.repeat(4_000_000));
    await shop.watch.ping();
    await other.config('SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '3mb');
    try {
      await until('it is evicted', WITHIN_MS, async () => {
        await other.set('c', 'x').catch(() => undefined);
        return (await other.exists('wtc:a:big')) === 0;
      });
      await shop.watch.ping();
      expect(shop.told.filter((key) => key === 'wtc:a:big')).toHaveLength(2);
    } finally {
      await other.config('SET', 'maxmemory', '0');
    }
  });

  test('a flush, which loses everything', async () => {
    await using shop = await watched();
    const lost = shop.lost();
    await other.flushall();
    await shop.watch.ping();
    expect(shop.lost()).toBe(lost + 1);
  });
});

test('a prefix that is added later is watched from the next ping on', async () => {
  await using shop = await watched();
  shop.watch.add('wtc:c:');
  await shop.watch.ping();
  await other.set('wtc:c:1', 'x');
  await other.set('wtc:a:1', 'x');
  await shop.watch.ping();
  expect(shop.told).toEqual(expect.arrayContaining(['wtc:c:1', 'wtc:a:1']));
});

test('a client with a keyPrefix is told without it', async () => {
  const client = new Redis(service.url, { keyPrefix: 'tenant:' });
  const cache = redisCache({ client });
  await cache.open?.();
  const { listener, told } = listening();
  const watch = cache.watchChanges?.('wtc::', listener) as ChangeWatch;
  watch.add('wtc:a:');
  await watch.ping();
  await other.set('tenant:wtc:a:1', 'x');
  await other.set('wtc:a:2', 'x');
  await watch.ping();
  expect(told).toEqual(['wtc:a:1']);
  await watch.close();
  client.disconnect();
});

describe('a channel that breaks', () => {
  test.each(['cut', 'killed by the server'])('%s, says so and comes back', async (how) => {
    await using proxy = await startProxy({ target: addressOf(service.url) });
    await using shop = await watched(`redis://${proxy.host}:${proxy.port}`);
    const before = shop.lost();
    if (how === 'cut') {
      await proxy.cut();
      await proxy.heal();
    } else {
      await other.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    }
    await until('the loss is told', WITHIN_MS, () => shop.lost() > before);
    await until('it is mended', WITHIN_MS, async () => {
      await shop.watch.ping();
      return true;
    });
    await other.set('wtc:a:1', 'x');
    await shop.watch.ping();
    expect(shop.told).toContain('wtc:a:1');
  });

  test('a server that hangs fails the ping within its time, and is left', async () => {
    await using shop = await watched(service.url, 100);
    const before = shop.lost();
    service.process?.freeze();
    try {
      await expect(shop.watch.ping()).rejects.toThrow(CacheUnavailableError);
      await until('the loss is told', WITHIN_MS, () => shop.lost() > before);
    } finally {
      service.process?.thaw();
    }
    await until('it is mended', WITHIN_MS, async () => {
      await shop.watch.ping();
      return true;
    });
  });
});

test('a channel to another server than the one that takes writes proves nothing', async () => {
  const another = await startRedis({ owned: true });
  const client = new Redis(service.url);
  const { port } = addressOf(another.url);
  const { duplicate } = client;
  client.duplicate = ((override: RedisOptions) =>
    duplicate.call(client, { ...override, port })) as typeof duplicate;
  const cache = redisCache({ client });
  await cache.open?.();
  const watch = cache.watchChanges?.('wtc::', listening().listener) as ChangeWatch;
  watch.add('wtc:a:');
  await expect(watch.ping()).rejects.toThrow(/a server that does not tell of changes here/);
  await watch.close();
  client.disconnect();
  await another.stop();
});

test('a ping fails where the server refuses writes', async () => {
  await using shop = await watched();
  await other.config('SET', 'min-replicas-to-write', '1');
  try {
    await expect(shop.watch.ping()).rejects.toThrow(/NOREPLICAS/);
  } finally {
    await other.config('SET', 'min-replicas-to-write', '0');
  }
  await shop.watch.ping();
});

test('nothing is told once the watch is closed', async () => {
  await using shop = await watched();
  await shop.watch.close();
  shop.told.length = 0;
  const lost = shop.lost();
  await other.set('wtc:a:1', 'x');
  await other.ping();
  expect(shop.told).toEqual([]);
  expect(shop.lost()).toBe(lost);
  await expect(shop.watch.ping()).rejects.toThrow(/closed/);
});

function addressOf(url: string): { host: string; port: number } {
  const { hostname: host, port } = new URL(url);
  return { host, port: Number(port) };
}
