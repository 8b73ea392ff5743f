import { describe, expect, test } from 'vitest';
import type { RecordedCollection } from '../../src/contracts/registry.js';
import { elapse, LAMP, openShop, turns } from '../support/shop.js';

const FORGED: RecordedCollection = {
  name: 'forged',
  source: 'products',
  keyPrefix: 'sessions:',
  holeTtlMs: 60_000,
  holeOnEmpty: true,
};

type Shop = ReturnType<typeof openShop>;

/** As a role does it that runs Lockstep on one table: it writes the table's record, and a row. */
async function forge(shop: Shop, ...forged: RecordedCollection[]): Promise<void> {
  await shop.products.put('a', LAMP);
  await shop.rows.feed.registry.register('wtc', forged);
  shop.clock.advance(3_200);
}

async function keys(shop: Shop): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of shop.memory.scan('', 'utf8')) found.push(key);
  return found.filter((key) => !key.startsWith('wtc::')).sort();
}

async function relayed(shop: Shop): Promise<void> {
  const relay = shop.lockstep.startRelay();
  await shop.rows.foreignWrite('b', LAMP);
  const drained = async (): Promise<void> => {
    while ((await shop.rows.feed.status(['products'])).pending > 0) await turns(1);
  };
  await elapse(shop.clock, drained());
  await relay.stop();
}

describe('a record that no collection of this prefix can have made', () => {
  test.each<[string, Partial<RecordedCollection>]>([
    ['a keyPrefix of other keys', {}],
    ['a keyPrefix of another consumer', { keyPrefix: 'other:forged:' }],
    ['a keyPrefix of another collection', { keyPrefix: 'wtc:orders:' }],
    ['no keyPrefix', { keyPrefix: '' }],
    ['a name that is too long', { name: 'n'.repeat(129), keyPrefix: `wtc:${'n'.repeat(129)}:` }],
    ['no name', { name: '', keyPrefix: 'wtc::' }],
    ['no time', { keyPrefix: 'wtc:forged:', holeTtlMs: Number.NaN }],
    ['a time below one', { keyPrefix: 'wtc:forged:', holeTtlMs: 0 }],
  ])('%s: neither writers nor a relay touch its keys, and one event tells it', async (_, forged) => {
    const shop = openShop();
    const errors = shop.record('error');
    await forge(shop, { ...FORGED, ...forged });
    expect(await shop.products.put('a', { name: 'new', stock: 1 })).toMatchObject({ cache: 'updated' });
    await relayed(shop);
    shop.clock.advance(3_200);
    expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'updated' });
    expect(await keys(shop)).toEqual(['wtc:products:a']);
    expect(errors).toMatchObject([{ where: 'registry', error: { code: 'LOCKSTEP_STORE_CONTRACT' } }]);
  });

  test('in the place of a collection of this process: it is recorded again, and goes on', async () => {
    const shop = openShop();
    const errors = shop.record('error');
    await forge(shop, { ...FORGED, name: 'products' });
    await shop.products.put('a', LAMP);
    await turns();
    const [record] = await shop.rows.feed.registry.read('wtc', ['products']);
    expect(record?.collections).toMatchObject([{ name: 'products', keyPrefix: 'wtc:products:' }]);
    expect(await keys(shop)).toEqual(['wtc:products:a']);
    expect(errors).toHaveLength(1);
  });
});

test('more collections than one table may have are left out, and an event tells it', async () => {
  const shop = openShop();
  const errors = shop.record('error');
  const many = Array.from({ length: 300 }, (_, i) => ({ ...FORGED, name: `c${i}`, keyPrefix: `wtc:c${i}:` }));
  await forge(shop, ...many);
  await shop.products.put('a', LAMP);
  expect(await keys(shop)).toHaveLength(256);
  expect(errors).toMatchObject([{ where: 'registry', error: { code: 'LOCKSTEP_STORE_CONTRACT' } }]);
});

test('a hole lives no longer than a collection may ask for', async () => {
  const shop = openShop();
  await forge(shop, { ...FORGED, keyPrefix: 'wtc:forged:', holeTtlMs: Number.MAX_SAFE_INTEGER });
  await shop.products.put('a', LAMP);
  expect(await keys(shop)).toEqual(['wtc:forged:a', 'wtc:products:a']);
  shop.clock.advance(24 * 3_600_000 + 1);
  expect(await keys(shop)).toEqual([]);
});
