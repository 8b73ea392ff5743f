import { CacheUnavailableError, ClosedError } from '@lockstep/core';
import { type RedisService, startRedis } from '@lockstep/dev-services';
import { Redis, type RedisOptions } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { hit, invalidate, newKey, put, reserve, run, setValue } from './support/entries.js';

let service: RedisService;
const clients: Redis[] = [];

beforeAll(async () => {
  service = await startRedis();
}, 120_000);
afterAll(() => service.stop());
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});

function client(options: RedisOptions & { replyMapping?: 'legacy' | 'resp3' } = {}): Redis {
  const made = new Redis(service.url, options as RedisOptions & { replyMapping?: 'legacy' });
  made.on('error', () => undefined);
  clients.push(made);
  return made;
}

describe("a user's own client", () => {
  test('is never closed', async () => {
    const own = client();
    const cache = redisCache({ client: own });
    await cache.open?.();
    await setValue(cache, newKey(), 2);
    await cache.close();
    expect(await own.ping()).toBe('PONG');
    await expect(cache.read([newKey()], 'utf8')).rejects.toThrow(ClosedError);
  });

  test('is connected by open when it is lazy', async () => {
    const cache = redisCache({ client: client({ lazyConnect: true }) });
    await cache.open?.();
    const key = newKey();
    await setValue(cache, key, 2);
    expect(await hit(cache, key)).toEqual({ version: 2, payload: 'row 2', staleAtMs: 0 });
  });

  test('gets nothing to queue while it is not connected, whatever its own queue allows', async () => {
    const own = new Redis({
      host: '127.0.0.1',
      port: 1,
      maxRetriesPerRequest: null,
      enableOfflineQueue: true,
      retryStrategy: () => 5,
    });
    own.on('error', () => undefined);
    clients.push(own);
    const cache = redisCache({ client: own });
    await expect(cache.open?.()).rejects.toThrow(CacheUnavailableError);
    await expect(cache.read([newKey()], 'utf8')).rejects.toThrow(CacheUnavailableError);
    await expect(cache.execute([put(newKey(), 2)])).rejects.toThrow(CacheUnavailableError);
    await expect(cache.info()).rejects.toThrow(CacheUnavailableError);
    const { offlineQueue } = own as unknown as { offlineQueue: { length: number } };
    expect(offlineQueue.length).toBe(0);
  });

  test.each([
    ['RESP2', { protocol: 2 }],
    ['maps of RESP3', { replyMapping: 'resp3' }],
    ['numbers as text', { stringNumbers: true }],
    ['automatic pipelines', { enableAutoPipelining: true }],
  ] as const)('works with %s', async (_, options) => {
    const cache = redisCache({ client: client(options) });
    await cache.open?.();
    const keys = [newKey(), newKey(), newKey()];
    for (const key of keys) await setValue(cache, key, 4);
    await cache.execute([invalidate(keys[1] ?? '', 6), put(keys[2] ?? '', 8)]);
    const hits = await cache.read(keys, 'utf8');
    expect(hits.map((found) => (found instanceof Error ? found : found?.version))).toEqual([4, undefined, 8]);
    expect(await cache.info()).toMatchObject({ generation: expect.any(String) });
  });

  test('with a keyPrefix reads, writes and scans under it', async () => {
    const keyPrefix = 'tenant-*1:';
    const cache = redisCache({ client: client({ keyPrefix }) });
    await cache.open?.();
    const [start, raw] = [newKey(), client()];
    const keys = [`${start}:a`, `${start}:b`];
    for (const key of keys) await setValue(cache, key, 2);
    expect(await raw.exists(...keys.map((key) => keyPrefix + key))).toBe(2);
    expect(await raw.exists(...keys)).toBe(0);
    const hits = await cache.read(keys, 'utf8');
    expect(hits.map((found) => (found instanceof Error ? found : found?.payload))).toEqual([
      'row 2',
      'row 2',
    ]);
    const found: string[] = [];
    for await (const { key } of cache.scan(start, 'utf8')) found.push(key);
    expect(found.sort()).toEqual(keys);
  });
});

describe('what is at the key', () => {
  test('a plain GET shows the entry in the documented format', async () => {
    const cache = redisCache({ client: client() });
    await cache.open?.();
    const [raw, key] = [client(), newKey()];
    await run(cache, reserve(key, 'token-1'));
    expect(await raw.get(key)).toBe(`H-${'0'.repeat(29)}R7:token-1`);
    await run(cache, { ...put(key, 9_007_199_254_740_991), token: 'token-1', staleAtMs: 1_893_456_000_123 });
    expect(await raw.get(key)).toBe('V-90071992547409911893456000123row 9007199254740991');
    expect(await raw.pttl(key)).toBeGreaterThan(3_500_000);
  });

  test('what is of other making, text or not, is a miss and is written over', async () => {
    const cache = redisCache({ client: client() });
    await cache.open?.();
    const [raw, foreign, list, good] = [client(), newKey(), newKey(), newKey()];
    await raw.set(foreign, 'V-not an entry at all, though it is long enough for one');
    await raw.rpush(list, 'x');
    expect(await hit(cache, foreign)).toBeUndefined();
    const replies = await cache.execute([put(foreign, 2), put(list, 2), put(good, 2)]);
    expect(replies[0]).toEqual({ kind: 'put', outcome: 'floored' });
    expect(replies[1]).toEqual({ kind: 'put', outcome: 'floored' });
    expect(replies[2]).toEqual({ kind: 'put', outcome: 'floored' });
    await raw.del(list);
    await raw.set(foreign, 'V-0');
    expect(await run(cache, put(foreign, 2))).toEqual({ kind: 'put', outcome: 'floored' });
  });

  test('a TTL of nothing leaves nothing', async () => {
    const cache = redisCache({ client: client() });
    await cache.open?.();
    const [raw, key] = [client(), newKey()];
    await run(cache, { ...put(key, 2), holeTtlMs: 0 });
    expect(await raw.exists(key)).toBe(0);
    await run(cache, reserve(key, 't'));
    await run(cache, { ...put(key, 2), token: 't', ttlMs: 0 });
    expect(await raw.exists(key)).toBe(0);
    await run(cache, reserve(key, 't'));
    await run(cache, { ...put(key, 2), token: 't' });
    expect(await raw.exists(key)).toBe(1);
    await run(cache, { ...put(key, 4), ttlMs: 0 });
    expect(await raw.exists(key)).toBe(0);
  });
});

test('holds a buffer only in a client that sends nothing twice', () => {
  expect(redisCache({ client: client({ lazyConnect: true }) }).unflushed).toBeUndefined();
  const once = client({ lazyConnect: true, autoResendUnfulfilledCommands: false });
  expect(redisCache({ client: once }).unflushed).toBeDefined();
  const made = redisCache({ url: service.url });
  expect(made.unflushed).toBeDefined();
});

test('a database that the server lacks is named, and no other one is used in its place', async () => {
  const url = new URL(service.url);
  url.pathname = '/9999';
  const cache = redisCache({ url: url.href });
  await expect(cache.open?.()).rejects.toThrow('no database 9999');
  await expect(cache.read([newKey()], 'utf8')).rejects.toThrow('DB index is out of range');
  await cache.close();
});
