import { describe, expect, test } from 'vitest';
import type { CacheProbe } from '../../src/contracts/cache.js';
import { CacheUnavailableError } from '../../src/errors.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, elapse, LAMP, openShop, type Product, turns } from '../support/shop.js';

const REFUSAL = new CacheUnavailableError('NOREPLICAS', { refuses: true });
const refused = async (): Promise<never> => {
  throw REFUSAL;
};

/** From now on the cache answers reads and refuses writes. */
function refuseWrites(shop: ReturnType<typeof openShop>): void {
  shop.cachePlan.always('execute', refused);
  shop.cachePlan.always('probe', refused);
}

describe('a cache that answers reads and refuses writes', () => {
  test('is not believed a second after its last proof: readers ask the store', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    refuseWrites(shop);
    await shop.rows.foreignWrite('a', CHAIR);
    expect(await shop.products.get('a')).toEqual(LAMP);
    shop.clock.advance(1_000);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    const reads = shop.cachePlan.calls('read');
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(shop.cachePlan.calls('read')).toBe(reads);
  });

  test('is not believed at once by whoever met the refusal', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.products.get('a');
    const events = shop.record('breaker');
    refuseWrites(shop);
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'queued' });
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(events).toEqual([{ state: 'open', cause: 'NOREPLICAS', error: REFUSAL }]);
  });

  test('is believed again once the feed shows nothing older than the recovery', async () => {
    const shop = openShop({ withQueue: false });
    await shop.products.put('a', LAMP);
    await shop.products.get('a');
    const events = shop.record('breaker');
    refuseWrites(shop);
    await shop.products.put('a', CHAIR);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    shop.cachePlan.clear();
    for (let ms = 0; ms < 5_000; ms += 250) {
      shop.clock.advance(250);
      expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
      await turns();
    }
    const relay = shop.lockstep.startRelay();
    await turns();
    shop.clock.advance(250);
    await turns();
    expect(events.map(({ state }) => state)).toEqual(['open', 'closed']);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    await elapse(shop.clock, relay.stop());
  });

  test('is believed 30 seconds after the recovery where nobody drains the feed', async () => {
    const shop = openShop({ withQueue: false });
    refuseWrites(shop);
    await shop.products.put('a', CHAIR);
    await shop.products.get('b');
    shop.cachePlan.clear();
    const events = shop.record('breaker');
    for (let ms = 0; ms <= 31_000; ms += 500) {
      shop.clock.advance(500);
      await shop.products.get('b');
      await turns();
    }
    expect(events.map(({ state }) => state)).toEqual(['closed']);
  });

  test('of several primaries, only the one that refuses is not believed', async () => {
    const primaryOf = (key: string): string => (key.endsWith('a') ? 'first' : 'second');
    let refuses = false;
    const shop = openShop({
      adapt: (cache) => ({
        ...cache,
        primaryOf,
        probe: async () => {
          const proof: CacheProbe = { generation: undefined, nowMs: shop.clock.now() };
          return new Map<string, CacheProbe | Error>([
            ['first', refuses ? REFUSAL : proof],
            ['second', proof],
          ]);
        },
      }),
    });
    await shop.products.put('a', LAMP);
    await shop.products.put('b', LAMP);
    await shop.products.getMany(['a', 'b']);
    const events = shop.record('breaker');
    refuses = true;
    shop.clock.advance(1_000);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
    expect(await shop.products.getVersioned('b')).toMatchObject({ from: 'cache' });
    expect(events).toEqual([{ state: 'open', cause: 'NOREPLICAS', error: REFUSAL, primary: 'first' }]);
  });
});

describe('the probe', () => {
  test('is sent while there are reads, and by the first one after a pause', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    expect(shop.cachePlan.calls('probe')).toBe(0);
    for (let i = 0; i < 100; i++) await shop.products.get('a');
    expect(shop.cachePlan.calls('probe')).toBe(1);
    shop.clock.advance(60_000);
    await turns();
    expect(shop.cachePlan.calls('probe')).toBe(1);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    expect(shop.cachePlan.calls('probe')).toBe(2);
  });

  test('of the first read after a pause decides whether its hit is believed', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.products.get('a');
    await shop.rows.foreignWrite('a', CHAIR);
    shop.clock.advance(60_000);
    shop.cachePlan.always('probe', refused);
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test('that goes unanswered while the last proof holds costs nothing', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.products.get('a');
    const events = shop.record('breaker');
    shop.clock.advance(500);
    shop.cachePlan.next('probe', async () => {
      throw new CacheUnavailableError('late');
    });
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    shop.clock.advance(450);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    expect(events).toEqual([]);
  });
});

test('a hit of a version beyond belief is the store’s to answer, and the entry is replaced', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const tampered = { version: 9_007_199_254_740_990, payload: JSON.stringify(CHAIR), staleAtMs: 0 };
  shop.cachePlan.next('read', async () => [tampered]);
  expect(await shop.products.get('a')).toEqual(LAMP);
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
});

test('a cached version that the cache believes and the store does not is not stamped above, and goes', async () => {
  const hourMs = 3_600_000;
  const clock = manualClock();
  const cacheClock = manualClock(clock.now() + 20 * hourMs);
  const cache = memoryCache({ clock: cacheClock });
  const lockstep = createLockstep({ cache, clock });
  const store = memoryStore<Product>({ name: 'products', clock });
  const products = lockstep.collection({ name: 'products', store });
  const version = (cacheClock.now() + 10 * hourMs) * 1_000;
  const shared = { key: 'wtc:products:a', token: 't', holeTtlMs: hourMs, ttlMs: hourMs, staleAtMs: 0 };
  await cache.execute([
    { kind: 'reserve', ...shared },
    { kind: 'put', ...shared, version, payload: JSON.stringify(CHAIR) },
  ]);
  expect(await products.get('a')).toEqual(CHAIR);
  const written = await products.put('a', LAMP);
  expect(written).toMatchObject({ cache: 'invalidated' });
  expect(written.version).toBeLessThan((clock.now() + hourMs) * 1_000);
  expect(await products.get('a')).toEqual(LAMP);
});

test('a buffered write is read from the store once it is there, where the cache is not believed', async () => {
  const shop = openShop({ withQueue: false, collection: { strategy: 'write-behind' } });
  await shop.products.put('a', LAMP);
  shop.storePlan.always('write', refused);
  expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
  expect(await shop.products.get('a')).toEqual(CHAIR);
  shop.storePlan.clear();
  refuseWrites(shop);
  shop.clock.advance(1_000);
  expect(await elapse(shop.clock, shop.products.get('a'))).toEqual(CHAIR);
  expect(await shop.rows.read(['a'], { timeoutMs: 100, primary: true })).toMatchObject([{ value: CHAIR }]);
});

test('a server that refuses one command is not away: the breaker stays closed', async () => {
  const shop = openShop({ lockstep: { breaker: { threshold: 2, cooldownMs: 1_000 } } });
  await shop.products.put('a', LAMP);
  const events = shop.record('breaker');
  const one = async (): Promise<Error[]> => [new Error('NOPERM')];
  for (let i = 0; i < 10; i++) {
    shop.cachePlan.next('read', one);
    expect(await shop.products.get('a')).toEqual(LAMP);
  }
  expect(events).toEqual([]);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
});
