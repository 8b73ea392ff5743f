import { describe, expect, test } from 'vitest';
import { pause } from '../../src/faults/index.js';
import { elapse, LAMP, openShop, turns } from '../support/shop.js';

const LARGE = { name: 'x'.repeat(200), stock: 1 };
class Money {}
const INSTANCE = { name: 'lamp', stock: new Money() as unknown as number };

const KINDS = [
  { kind: 'a value that is too large', value: LARGE, collection: { maxPayloadBytes: 100 } },
  { kind: 'a value that can’t be serialized', value: INSTANCE, collection: {} },
  { kind: 'an absence that is not remembered', value: undefined, collection: { negativeTtlMs: 0 } },
] as const;

describe.for(KINDS)('$kind', ({ collection, value }) => {
  test('is loaded once for all who ask at once', async () => {
    const shop = openShop({ collection });
    if (value !== undefined) shop.storePlan.always('read', async () => [{ key: 'a', value, version: 2 }]);
    const loads = shop.record('load');
    const reads = Array.from({ length: 100 }, () => shop.products.get('a'));
    expect(await elapse(shop.clock, Promise.all(reads))).toEqual(reads.map(() => value));
    expect(loads).toHaveLength(1);
  });
});

test('readers of a key that can’t be cached pass by the lease for a while, and share loads', async () => {
  const shop = openShop({ collection: { maxPayloadBytes: 100 } });
  await shop.rows.foreignWrite('a', LARGE);
  await shop.products.get('a');
  await shop.lockstep.drain();
  const commands = shop.cachePlan.calls('execute');
  const loads = shop.record('load');
  const reads = Array.from({ length: 100 }, () => shop.products.get('a'));
  expect(await Promise.all(reads)).toEqual(reads.map(() => LARGE));
  expect(shop.cachePlan.calls('execute')).toBe(commands);
  expect(loads).toHaveLength(1);
  await shop.rows.foreignWrite('a', LAMP);
  shop.clock.advance(5_000);
  await shop.products.get('a');
  await shop.lockstep.drain();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
});

test('a load behind which a write came is not shared, where nothing can be filled either (G2)', async () => {
  const shop = openShop({ collection: { maxPayloadBytes: 100 } });
  await shop.rows.foreignWrite('a', LARGE);
  const held = pause('after');
  shop.storePlan.next('read', held);
  const first = shop.products.get('a');
  await turns();
  const second = shop.products.get('a');
  await turns();
  const newer = { ...LARGE, stock: 2 };
  await shop.products.put('a', newer);
  held.release();
  expect(await elapse(shop.clock, first)).toEqual(LARGE);
  expect(await elapse(shop.clock, second)).toEqual(newer);
});
