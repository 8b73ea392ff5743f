import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, test } from 'vitest';
import type { StoreAdapter, StoreCommand } from '../../src/contracts/store.js';
import { ConflictError, StoreRefusedError } from '../../src/errors.js';
import { CHAIR, LAMP, openShop, type Product, type ShopOptions } from '../support/shop.js';

/** A shop, and what its collection sends to the store. */
function openWatched(options: ShopOptions = {}, adapt: Partial<StoreAdapter<Product>['capabilities']> = {}) {
  const shop = openShop(options);
  const sent: StoreCommand<Product>[] = [];
  const watched = {
    ...shop.rows,
    capabilities: { ...shop.rows.capabilities, ...adapt },
    write: ((commands, call) => {
      sent.push(...commands);
      return shop.rows.write(commands, call);
    }) as typeof shop.rows.write,
  };
  return { ...shop, ...shop.joinStore(watched), sent };
}

const schema: StandardSchemaV1<unknown, Product> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => {
      const row = value as Product;
      return row.stock < 0 ? { issues: [{ message: 'too few', path: ['stock'] }] } : { value: row };
    },
  },
};

describe('patch', () => {
  test('sets what it names in one statement, unread, and caches the row as stored', async () => {
    const shop = openWatched();
    await shop.rows.foreignWrite('a', LAMP);
    const result = await shop.products.patch('a', { stock: 9 });
    expect(result).toMatchObject({ value: { ...LAMP, stock: 9 }, store: 'committed', coalesced: false });
    expect(shop.sent).toMatchObject([{ kind: 'patch', key: 'a', set: { stock: 9 } }]);
    expect(shop.storePlan.calls('read')).toBe(0);
    expect(await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true })).toMatchObject([
      { value: { ...LAMP, stock: 9 }, version: result.version },
    ]);
  });

  test('of a row that is not there says so, with key and collection', async () => {
    const { products } = openShop();
    await expect(products.patch('a', { stock: 1 })).rejects.toBeInstanceOf(StoreRefusedError);
    await expect(products.patch('a', { stock: 1 })).rejects.toMatchObject({
      key: 'a',
      collection: 'products',
      noRow: true,
      message: expect.stringContaining('no row "a" to patch'),
    });
    await expect(products.patch('a', { stock: 1 }, { ifVersion: 4 })).rejects.toBeInstanceOf(ConflictError);
  });

  test('with ifVersion only at that version', async () => {
    const { products } = openShop();
    const { version } = await products.put('a', LAMP);
    const next = await products.patch('a', { stock: 1 }, { ifVersion: version });
    await expect(products.patch('a', { stock: 2 }, { ifVersion: version })).rejects.toMatchObject({
      code: 'LOCKSTEP_CONFLICT',
      message: expect.stringContaining(`expected version ${version}, found version ${next.version}`),
    });
    expect(await products.get('a')).toEqual({ ...LAMP, stock: 1 });
  });

  test.each([[{}], [{ stock: undefined }]])('%o sets nothing: InvalidOptionError', async (partial) => {
    const { products } = openShop();
    await products.put('a', LAMP);
    await expect(products.patch('a', partial as Partial<Product>)).rejects.toMatchObject({
      code: 'LOCKSTEP_INVALID_OPTION',
      message: expect.stringContaining('partial'),
    });
  });

  test.each([[null], [undefined], ['stock'], [[1]]])(
    '%o is no object: InvalidOptionError',
    async (partial) => {
      const { products } = openShop();
      await expect(products.patch('a', partial as never)).rejects.toMatchObject({
        code: 'LOCKSTEP_INVALID_OPTION',
      });
    },
  );

  test('patches of one row that wait merge, the later one property by property', async () => {
    const shop = openWatched();
    await shop.products.put('a', LAMP);
    shop.sent.length = 0;
    const results = await Promise.all([
      shop.products.patch('a', { stock: 1 }),
      shop.products.patch('a', { name: 'desk' }),
      shop.products.patch('a', { stock: 2 }),
    ]);
    expect(shop.sent).toMatchObject([{ kind: 'patch', set: { name: 'desk', stock: 2 } }]);
    expect(results.map(({ value, coalesced }) => [value, coalesced])).toEqual(
      results.map(() => [{ name: 'desk', stock: 2 }, false]),
    );
  });

  test('one of those that the store refuses fails alone', async () => {
    const validate = ({ stock }: Product): void => {
      if (stock < 0) throw new Error('stock must not be negative');
    };
    const { products } = openShop({ validate });
    await products.put('a', LAMP);
    const [first, second, third] = await Promise.allSettled([
      products.patch('a', { name: 'desk' }),
      products.patch('a', { stock: -1 }),
      products.patch('a', { name: 'chair' }),
    ]);
    expect([first?.status, second?.status, third?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await products.get('a', { fresh: true })).toEqual({ ...LAMP, name: 'chair' });
  });

  test('one that follows a property within what another sets goes by itself', async () => {
    const shop = openWatched();
    await shop.products.put('a', LAMP);
    shop.sent.length = 0;
    const [, within] = await Promise.allSettled([
      shop.products.patch('a', { name: 'desk' }),
      shop.products.patch('a', { 'name.first': 'd' }),
    ]);
    expect(within).toMatchObject({ reason: { message: expect.stringContaining('leads nowhere') } });
    expect(shop.sent.map((command) => command.kind === 'patch' && command.set)).toEqual([
      { name: 'desk' },
      { 'name.first': 'd' },
    ]);
  });

  test('does not join a put, so that each is refused on its own', async () => {
    const shop = openWatched();
    const [patch, put] = await Promise.allSettled([
      shop.products.patch('a', { stock: 1 }),
      shop.products.put('a', LAMP),
    ]);
    expect(patch.status).toBe('rejected');
    expect(put.status).toBe('fulfilled');
  });

  test('inside a transaction', async () => {
    const { lockstep, products } = openShop();
    await products.put('a', LAMP);
    await lockstep.transaction(async (tx) => {
      expect(await products.patch('a', { stock: 7 }, { tx })).toMatchObject({ store: 'pending' });
      expect(await products.get('a', { tx })).toEqual({ ...LAMP, stock: 7 });
      expect(await products.get('a')).toEqual(LAMP);
    });
    expect(await products.getVersioned('a')).toMatchObject({ value: { ...LAMP, stock: 7 }, from: 'cache' });
  });

  test('in a collection with a schema the row that comes of it is checked first', async () => {
    const shop = openWatched({ collection: { schema } });
    await shop.products.put('a', LAMP);
    await expect(shop.products.patch('a', { stock: -1 })).rejects.toMatchObject({
      code: 'LOCKSTEP_VALIDATION',
    });
    expect(await shop.products.patch('a', { stock: 8 })).toMatchObject({ value: { ...LAMP, stock: 8 } });
    expect(shop.sent.at(-1)).toMatchObject({
      kind: 'patch',
      set: { stock: 8 },
      ifVersion: expect.anything(),
    });
    await expect(shop.products.patch('b', { stock: 8 })).rejects.toMatchObject({ key: 'b' });
    const { version } = await shop.products.getVersioned('a');
    await shop.products.patch('a', { stock: 9 });
    await expect(shop.products.patch('a', { stock: 1 }, { ifVersion: version })).rejects.toBeInstanceOf(
      ConflictError,
    );
  });

  test('through a store that has no patches the row is written whole, by compare-and-set', async () => {
    const shop = openWatched({}, { patch: false });
    const { version } = await shop.products.put('a', LAMP);
    expect(await shop.products.patch('a', { stock: 8 })).toMatchObject({ value: { ...LAMP, stock: 8 } });
    expect(shop.sent.at(-1)).toMatchObject({ kind: 'put', value: { ...LAMP, stock: 8 }, ifVersion: version });
  });
});

describe('update sends what changed', () => {
  test('the changed properties alone, at the version that it saw', async () => {
    const shop = openWatched();
    const { version } = await shop.products.put('a', LAMP);
    await shop.products.update('a', (row) => row && { ...row, stock: 9 });
    expect(shop.sent.at(-1)).toEqual({
      kind: 'patch',
      key: 'a',
      set: { stock: 9 },
      ifVersion: version,
      above: expect.any(Number),
    });
  });

  test('of a row that it was given and wrote into, too', async () => {
    const shop = openWatched();
    await shop.products.put('a', LAMP);
    const result = await shop.products.update('a', (row) => Object.assign(row ?? LAMP, { stock: 9 }));
    expect(result.value).toEqual({ ...LAMP, stock: 9 });
    expect(shop.sent.at(-1)).toMatchObject({ kind: 'patch', set: { stock: 9 } });
  });

  test('a property that is gone is unset', async () => {
    const shop = openWatched();
    await shop.products.put('a', LAMP);
    await shop.products.update('a', () => ({ name: 'lamp' }) as Product);
    expect(shop.sent.at(-1)).toMatchObject({ set: {}, unset: ['stock'] });
    expect(await shop.products.get('a', { fresh: true })).toEqual({ name: 'lamp' });
  });

  test('nothing: what was cached is confirmed by the store', async () => {
    const shop = openWatched();
    await shop.products.put('a', LAMP);
    shop.sent.length = 0;
    const reads = shop.storePlan.calls('read');
    const same = await shop.products.update('a', (row) => row && { ...row });
    expect(same).toMatchObject({ value: LAMP, store: 'committed' });
    expect(shop.sent).toEqual([]);
    expect(shop.storePlan.calls('read')).toBe(reads + 1);

    await shop.rows.foreignWrite('a', CHAIR);
    const seen: unknown[] = [];
    const late = await shop.products.update('a', (row) => {
      seen.push(row);
      return row && { ...row, name: 'lamp' };
    });
    expect(seen).toEqual([LAMP, CHAIR]);
    expect(late.value).toEqual({ ...CHAIR, name: 'lamp' });
  });

  test('nothing, of a row that came from the store: no statement more', async () => {
    const shop = openWatched();
    const { version } = await shop.products.put('a', LAMP);
    shop.sent.length = 0;
    const reads = shop.storePlan.calls('read');
    const same = await shop.products.update('a', (row) => row && { ...row }, { fromCache: false });
    expect(same).toMatchObject({ value: LAMP, version });
    expect(shop.sent).toEqual([]);
    expect(shop.storePlan.calls('read')).toBe(reads + 1);
  });
});
