import { expect, test } from 'vitest';
import { callbackStore, createLockstep } from '../../src/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { CHAIR, LAMP, openShop } from '../support/shop.js';

test('what is cached below minVersion is loaded, and put in place; what is not below it is served', async () => {
  const shop = openShop();
  const first = await shop.products.put('a', LAMP);
  // Written past the cache, as by a service whose invalidation is still under way.
  await shop.rows.foreignWrite('a', CHAIR);
  const [row] = await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true });
  const minVersion = row?.version ?? 0;
  expect(minVersion).toBeGreaterThan(first.version);
  expect(await shop.products.get('a', { minVersion: first.version })).toEqual(LAMP);
  expect(shop.storePlan.calls('read')).toBe(0);
  const found = await shop.products.getVersioned('a', { minVersion });
  expect(found).toMatchObject({ value: CHAIR, version: minVersion, from: 'store' });
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a', { minVersion })).toMatchObject({ from: 'cache' });
  expect(shop.storePlan.calls('read')).toBe(1);
});

test('a row of the primary below minVersion rejects: that version never was', async () => {
  const shop = openShop();
  const { version } = await shop.products.put('a', LAMP);
  for (const options of [{}, { fresh: true }]) {
    await expect(shop.products.get('a', { ...options, minVersion: version + 2 })).rejects.toMatchObject({
      code: 'LOCKSTEP_VERSION_NOT_FOUND',
      collection: 'products',
      key: 'a',
    });
  }
});

test('a row that is not there is undefined, whatever version is asked for', async () => {
  const shop = openShop();
  const { version } = await shop.products.put('a', LAMP);
  const deleted = await shop.products.delete('a');
  expect(await shop.products.get('a', { minVersion: deleted.version })).toBeUndefined();
  expect(await shop.products.get('b', { minVersion: version })).toBeUndefined();
});

test('minVersion is a version, of a store that has some, outside transactions, of one row', async () => {
  const shop = openShop();
  for (const minVersion of [-1, 1.5, '7', null]) {
    await expect(shop.products.get('a', { minVersion: minVersion as number })).rejects.toMatchObject({
      option: 'options.minVersion',
    });
  }
  await expect(shop.products.getMany(['a'], { minVersion: 7 } as object)).rejects.toMatchObject({
    option: 'options.minVersion',
  });
  const inside = shop.lockstep.transaction((tx) => shop.products.get('a', { tx, minVersion: 7 }));
  await expect(inside).rejects.toMatchObject({ option: 'options.minVersion' });
  const lockstep = createLockstep({ cache: memoryCache() });
  const store = callbackStore<{ n: number }>({ read: async () => ({ n: 1 }), write: async () => {} });
  const rates = lockstep.collection({ name: 'rates', store });
  expect(await rates.get('eur', { minVersion: 0 })).toEqual({ n: 1 });
  await expect(rates.get('eur', { minVersion: 7 })).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
  await lockstep.close();
});
