import { expect, test } from 'vitest';
import { StoreContractError } from '../../src/errors.js';
import { CHAIR, LAMP, openShop } from '../support/shop.js';

const collection = { ttlMs: 1_000, ttlJitter: 0, staleIfErrorMs: 10_000 };

function openFailing(options: Partial<typeof collection & { staleWhileRevalidateMs: number }> = {}) {
  const shop = openShop({ collection: { ...collection, ...options } });
  const state = { away: true, reads: 0 };
  shop.storePlan.always('read', async (call) => {
    state.reads++;
    if (state.away) throw call.refusal();
    return await call.proceed();
  });
  return { ...shop, state };
}

test('while the store is away an entry that merely expired is served, and says so; then the row again', async () => {
  const shop = openFailing();
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  const [hits, misses] = [shop.record('hit'), shop.record('miss')];
  shop.clock.advance(999);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  shop.clock.advance(1);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'stale' });
  expect(await shop.products.getMany(['a', 'a'])).toEqual([LAMP, LAMP]);
  await shop.lockstep.drain();
  expect(hits.map(({ stale }) => stale)).toEqual([false, true, true, true]);
  expect(misses.map(({ reason }) => reason)).toEqual(['expired']);
  shop.state.away = false;
  // Asked behind the reader.
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'stale' });
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
});

test('a store that answers is waited for: what expired is not served', async () => {
  const shop = openFailing();
  shop.state.away = false;
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  shop.clock.advance(1_000);
  const reads = await Promise.all([1, 2, 3].map(() => shop.products.getVersioned('a')));
  expect(reads).toMatchObject([1, 2, 3].map(() => ({ value: CHAIR, from: 'store' })));
  expect(new Set(reads.map(({ value }) => value)).size).toBe(3);
  expect(shop.state.reads).toBe(1);
});

test('nothing is served once ttlMs, staleWhileRevalidateMs and staleIfErrorMs are over', async () => {
  const shop = openFailing({ staleWhileRevalidateMs: 500 });
  await shop.products.put('a', LAMP);
  shop.clock.advance(1_499);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  shop.clock.advance(1);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'stale' });
  shop.clock.advance(9_999);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'stale' });
  shop.clock.advance(1);
  await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
});

test('an invalidated entry is never served, nor one that is invalidated while the store is asked', async () => {
  const shop = openFailing();
  await shop.products.putMany([
    ['a', LAMP],
    ['b', LAMP],
  ]);
  shop.clock.advance(1_000);
  await shop.products.invalidate('a');
  await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
  const { promise: asked, resolve: reached } = Promise.withResolvers<void>();
  const { promise: invalidated, resolve: release } = Promise.withResolvers<void>();
  shop.storePlan.next('read', async (call) => {
    reached();
    await invalidated;
    throw call.refusal();
  });
  const reading = shop.products.get('b');
  await asked;
  await shop.products.invalidate('b');
  release();
  await expect(reading).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
});

test('a fresh read and a store that breaks its contract are told, whatever is kept', async () => {
  const shop = openFailing();
  await shop.products.put('a', LAMP);
  shop.clock.advance(1_000);
  await expect(shop.products.refresh('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
  shop.storePlan.next('read', async () => {
    throw new StoreContractError('nonsense');
  });
  await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_CONTRACT' });
});

test('a process that does not want stale entries loads what others keep', async () => {
  const shop = openFailing();
  const { products } = openShop({ adapt: () => shop.memory, lockstep: { clock: shop.clock } });
  await shop.products.put('a', LAMP);
  shop.clock.advance(1_000);
  expect(await products.getVersioned('a')).toMatchObject({ value: null, from: 'store' });
});

test('a change of an expired entry is confirmed by the store', async () => {
  const shop = openFailing();
  await shop.products.put('a', LAMP);
  shop.clock.advance(1_000);
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'stale' });
  await shop.lockstep.drain();
  const updating = shop.products.update('a', (lamp) => lamp);
  await expect(updating).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
});

test('once the store has answered any read, it is waited for again', async () => {
  const shop = openFailing();
  await shop.products.put('a', LAMP);
  await shop.rows.foreignWrite('a', CHAIR);
  shop.clock.advance(1_000);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'stale' });
  shop.state.away = false;
  expect(await shop.products.get('b')).toBeUndefined();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
});
