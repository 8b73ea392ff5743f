import { expect, test } from 'vitest';
import { StoreContractError } from '../../src/errors.js';
import { CHAIR, elapse, LAMP, openShop, turns } from '../support/shop.js';

test('the first read loads and fills, the second is a hit', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const [hits, misses] = [shop.record('hit'), shop.record('miss')];
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  expect(shop.storePlan.calls('read')).toBe(1);
  expect(misses).toEqual([{ collection: 'products', key: 'a', reason: 'absent', durationMs: 0 }]);
  expect(hits).toMatchObject([{ collection: 'products', key: 'a', stale: false }]);
});

test('a row that is not there is remembered for negativeTtlMs, and a put makes it known', async () => {
  const shop = openShop({ collection: { negativeTtlMs: 1_000 } });
  expect(await shop.products.get('a')).toBeUndefined();
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: null, from: 'cache' });
  expect(shop.storePlan.calls('read')).toBe(1);
  shop.clock.advance(1_001);
  await shop.products.get('a');
  await shop.lockstep.drain();
  expect(shop.storePlan.calls('read')).toBe(2);
  expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'updated' });
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
});

test('negativeTtlMs 0 remembers no absence', async () => {
  const shop = openShop({ collection: { negativeTtlMs: 0 } });
  for (let i = 0; i < 3; i++) {
    expect(await shop.products.get('a')).toBeUndefined();
    await shop.lockstep.drain();
  }
  expect(shop.storePlan.calls('read')).toBe(3);
});

test('a deleted row is absent from the cache, with the version of its deletion', async () => {
  const shop = openShop();
  await shop.products.put('a', LAMP);
  const { version } = await shop.products.delete('a');
  expect(version).toBeGreaterThan(0);
  expect(await shop.products.getVersioned('a')).toEqual({ value: null, version, from: 'cache' });
  expect(shop.storePlan.calls('read')).toBe(0);
});

test.each([
  [0, 900],
  [0.5, 1_000],
  [0.999_999, 1_100],
])('an entry lives ttlMs, give or take the jitter (random %d: %d ms)', async (random, livesMs) => {
  const shop = openShop({ lockstep: { random: () => random }, collection: { ttlMs: 1_000 } });
  await shop.products.put('a', LAMP);
  shop.clock.advance(livesMs - 1);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  shop.clock.advance(1);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
});

test('a TTL per call wins over the collection’s, for fills and for puts', async () => {
  const shop = openShop({ collection: { ttlMs: 1_000, ttlJitter: 0 } });
  await shop.rows.foreignWrite('a', LAMP);
  await shop.products.get('a', { ttlMs: 50 });
  await shop.lockstep.drain();
  await shop.products.put('b', CHAIR, { ttlMs: 50 });
  shop.clock.advance(49);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  expect(await shop.products.getVersioned('b')).toMatchObject({ from: 'cache' });
  shop.clock.advance(1);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
  expect(await shop.products.getVersioned('b')).toMatchObject({ from: 'store' });
});

test('fresh and refresh ask the store and replace what is cached', async () => {
  const shop = openShop();
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  expect(await shop.products.get('a')).toEqual(LAMP);
  expect(await shop.products.get('a', { fresh: true })).toEqual(CHAIR);
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  await shop.rows.foreignWrite('a', null);
  expect(await shop.products.refresh('a')).toBeUndefined();
  await shop.lockstep.drain();
  expect(await shop.products.get('a')).toBeUndefined();
});

test('stale-while-revalidate serves the old value once more and loads the new one behind it', async () => {
  const shop = openShop({ collection: { ttlMs: 1_000, ttlJitter: 0, staleWhileRevalidateMs: 500 } });
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  shop.clock.advance(1_200);
  const hits = shop.record('hit');
  const held = shop.storePlan.pauseNext('read');
  expect(await shop.products.get('a')).toEqual(LAMP);
  expect(await shop.products.get('a')).toEqual(LAMP);
  await held.reached;
  held.release();
  await shop.lockstep.drain();
  expect(await shop.products.get('a')).toEqual(CHAIR);
  expect(hits.map(({ stale }) => stale)).toEqual([true, true, false]);
  expect(shop.storePlan.calls('read')).toBe(1);
});

test('stale-while-revalidate never serves an invalidated value', async () => {
  const shop = openShop({ collection: { ttlMs: 1_000, ttlJitter: 0, staleWhileRevalidateMs: 60_000 } });
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  shop.clock.advance(1_200);
  expect(await shop.products.invalidate('a')).toBe('invalidated');
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
});

test('a failed revalidation is an event, and the value is served until it expires', async () => {
  const shop = openShop({ collection: { ttlMs: 1_000, ttlJitter: 0, staleWhileRevalidateMs: 500 } });
  await shop.products.put('a', LAMP);
  shop.clock.advance(1_000);
  const errors = shop.record('error');
  shop.storePlan.next('read', async (call) => {
    throw call.refusal();
  });
  expect(await shop.products.get('a')).toEqual(LAMP);
  await shop.lockstep.drain();
  expect(errors).toMatchObject([{ where: 'revalidate', error: { code: 'LOCKSTEP_STORE_UNAVAILABLE' } }]);
});

test('getMany answers position by position, duplicates and absences included', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  await shop.rows.foreignWrite('b', CHAIR);
  expect(await shop.products.getMany(['b', 'x', 'a', 'b'])).toEqual([CHAIR, undefined, LAMP, CHAIR]);
  expect(await shop.products.getMany([])).toEqual([]);
});

test('getMany takes one round trip to the cache, and at most one to the store', async () => {
  const shop = openShop();
  await shop.products.putMany([
    ['a', LAMP],
    ['b', CHAIR],
  ]);
  const [reads, commands] = [shop.cachePlan.calls('read'), shop.cachePlan.calls('execute')];
  await shop.products.getMany(['a', 'b', 'a']);
  expect(shop.cachePlan.calls('read')).toBe(reads + 1);
  expect(shop.cachePlan.calls('execute')).toBe(commands);
  expect(shop.storePlan.calls('read')).toBe(0);
  await shop.products.getMany(['a', 'x', 'y', 'z']);
  expect(shop.cachePlan.calls('read')).toBe(reads + 2);
  expect(shop.storePlan.calls('read')).toBe(1);
});

test.each([true, false])('concurrent gets of one tick travel together (cache local: %s)', async (local) => {
  const shop = openShop({ adapt: (cache) => ({ ...cache, local }) });
  await shop.products.get('warm');
  await shop.lockstep.drain();
  const [reads, loads] = [shop.cachePlan.calls('read'), shop.storePlan.calls('read')];
  await Promise.all(['a', 'b', 'c', 'a'].map((id) => shop.products.get(id)));
  expect(shop.cachePlan.calls('read')).toBe(reads + 1);
  expect(shop.storePlan.calls('read')).toBe(loads + 1);
});

test('a key asked for twice in one tick is read once, in ticks of more than one batch, too, and read again later', async () => {
  const sizes: number[] = [];
  const shop = openShop({
    adapt: (cache) => ({
      ...cache,
      read(keys, encoding) {
        sizes.push(keys.length);
        return cache.read(keys, encoding);
      },
    }),
  });
  const ids = Array.from({ length: 200 }, (_, i) => `id-${i}`);
  await shop.products.putMany(ids.map((id) => [id, LAMP]));
  for (let tick = 0; tick < 2; tick++) {
    const values = await Promise.all([...ids, ...ids].map((id) => shop.products.get(id)));
    expect(values).toEqual(Array.from({ length: 400 }, () => LAMP));
  }
  expect(sizes).toEqual([128, 72, 128, 72]);
});

test('a signal ends the wait at once, and the load goes on and fills', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const held = shop.storePlan.pauseNext('read');
  const ending = new AbortController();
  const reading = shop.products.get('a', { signal: ending.signal });
  await held.reached;
  const reason = new Error('not interested');
  ending.abort(reason);
  await expect(reading).rejects.toBe(reason);
  await expect(shop.products.get('a', { signal: ending.signal })).rejects.toBe(reason);
  held.release();
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
});

test('timeoutMs ends the wait with StoreTimeoutError', async () => {
  const shop = openShop();
  const held = shop.storePlan.pauseNext('read');
  const reading = shop.products.get('a', { timeoutMs: 40 });
  const seen = expect(reading).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_TIMEOUT',
    collection: 'products',
  });
  await held.reached;
  shop.clock.advance(40);
  await seen;
  held.release();
});

test('a load that hangs is cut at storeTimeoutMs, and the next one may try', async () => {
  const shop = openShop({ collection: { storeTimeoutMs: 100 } });
  await shop.rows.foreignWrite('a', LAMP);
  const held = shop.storePlan.pauseNext('read');
  await expect(elapse(shop.clock, shop.products.get('a'), 50)).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_TIMEOUT',
  });
  expect(await shop.products.get('a')).toEqual(LAMP);
  held.release();
  await turns();
});

test('loads beyond maxConcurrentLoads wait, and beyond maxQueuedLoads reject with StoreOverloadedError', async () => {
  const shop = openShop({ collection: { maxConcurrentLoads: 1, maxQueuedLoads: 2 } });
  await shop.products.get('warm');
  await shop.lockstep.drain();
  const held = shop.storePlan.pauseNext('read');
  const first = shop.products.get('a');
  await held.reached;
  const waiting = ['b', 'c'].map((id) => shop.products.get(id));
  await turns();
  await expect(shop.products.get('d')).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_OVERLOADED',
    message: expect.stringContaining('maxQueuedLoads'),
    key: 'd',
  });
  held.release();
  await Promise.all([first, ...waiting]);
  expect(shop.storePlan.calls('read')).toBe(3);
});

test.each([
  ['key', { value: LAMP, version: 2 }, 'asked for key "a", got a row with no key'],
  ['version', { key: 'a', value: LAMP }, 'row "a" came without a version'],
])('a store row without its %s is a StoreContractError', async (_what, row, message) => {
  const shop = openShop();
  shop.storePlan.next('read', async () => [row as never]);
  const reading = shop.products.get('a');
  await expect(reading).rejects.toBeInstanceOf(StoreContractError);
  await expect(reading).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_CONTRACT',
    key: 'a',
    message: expect.stringContaining(message),
  });
});
