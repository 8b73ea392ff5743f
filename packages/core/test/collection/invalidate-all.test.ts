import { expect, test } from 'vitest';
import { memoryStore } from '../../src/memory/index.js';
import { CHAIR, elapse, LAMP, openShop, type Product, turns } from '../support/shop.js';

const IDS = Array.from({ length: 600 }, (_, i) => `id-${i}`);

test('every entry of the collection is invalidated, and no other', async () => {
  const shop = openShop();
  const store = memoryStore<Product>({ name: 'others', database: shop.database });
  const others = shop.lockstep.collection({ name: 'products2', store });
  await shop.products.putMany(IDS.map((id) => [id, LAMP]));
  await others.put('a', LAMP);
  await shop.rows.foreignWrite('id-599', CHAIR);
  const progress: number[] = [];
  const onProgress = (invalidated: number): void => void progress.push(invalidated);
  const all = await elapse(shop.clock, shop.products.invalidateAll({ onProgress }));
  expect(all).toEqual({ invalidated: 600, outcome: 'invalidated' });
  expect(progress).toEqual([250, 500, 600]);
  expect(await shop.products.getVersioned('id-599')).toMatchObject({ value: CHAIR, from: 'store' });
  expect(await others.getVersioned('a')).toMatchObject({ from: 'cache' });
});

test('a row that is being loaded is not cached', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const held = shop.storePlan.pauseNext('read');
  const reading = shop.products.get('a');
  await held.reached;
  expect(await shop.products.invalidateAll()).toMatchObject({ invalidated: 1 });
  held.release();
  await reading;
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
});

test('it keeps to maxPerSecond, and stops where its signal ends it', async () => {
  const shop = openShop();
  await shop.products.putMany(IDS.map((id) => [id, LAMP]));
  const before = shop.clock.monotonic();
  await elapse(shop.clock, shop.products.invalidateAll({ maxPerSecond: 1_000 }));
  expect(shop.clock.monotonic() - before).toBeGreaterThanOrEqual(500);
  await shop.products.putMany(IDS.map((id) => [id, LAMP]));
  const ending = new AbortController();
  const progress: number[] = [];
  const ended = shop.products.invalidateAll({
    maxPerSecond: 1_000,
    signal: ending.signal,
    onProgress: (invalidated) => progress.push(invalidated),
  });
  await turns();
  ending.abort(new Error('enough'));
  await expect(ended).rejects.toThrow('enough');
  shop.clock.advance(10_000);
  await shop.lockstep.drain();
  expect(progress).toEqual([250]);
});

test('an unflushed write is flushed first, and none is lost where it can not be', async () => {
  const shop = openShop({ collection: { strategy: 'write-behind' } });
  await shop.rows.foreignWrite('a', LAMP);
  await shop.products.get('a');
  await shop.lockstep.drain();
  expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
  shop.storePlan.next(
    'write',
    async (call) => {
      throw call.refusal();
    },
    { times: 100 },
  );
  await elapse(shop.clock, shop.products.invalidateAll());
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  shop.storePlan.clear('write');
  await elapse(shop.clock, shop.products.invalidateAll());
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
});

test.each([
  [{ maxPerSecond: 0 }, 'options.maxPerSecond'],
  [{ onProgress: 1 }, 'options.onProgress'],
  [{ tx: {} }, 'options.tx'],
])('%o is refused', async (options, option) => {
  const shop = openShop();
  await expect(shop.products.invalidateAll(options as object)).rejects.toMatchObject({ option });
});
