import { expect, test } from 'vitest';
import type { StoreAdapter, StoreRow } from '../../src/contracts/store.js';
import { type MemoryTx, memoryCache, memoryDatabase } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, LAMP, type Product, storeOf } from '../support/shop.js';

type Rows = StoreAdapter<Product, string, MemoryTx>;

/** A collection whose store gives, with the commit of a transaction, what `asCommitted` makes of the row that it has then. */
function open(asCommitted: (row: StoreRow<Product> | undefined) => StoreRow<Product> | undefined) {
  const database = memoryDatabase({ feedGraceMs: 0 });
  const rows = storeOf(database, 'products');
  let committed: StoreRow<Product> | undefined;
  const store: Rows = Object.assign(Object.create(rows) as Rows, {
    transactions: {
      transaction: async (body, options) => {
        const result = await rows.transactions?.transaction(body, options);
        [committed] = await rows.read(['a'], { timeoutMs: 1_000, primary: true });
        return result;
      },
    } as Rows['transactions'],
    readWithCommit: () => () => asCommitted(committed),
  } satisfies Partial<Rows>);
  return createLockstep({ cache: memoryCache() }).collection({ name: 'products', store });
}

test('write: the row that comes with the commit is the result, and goes into the cache', async () => {
  const products = open((row) => row && { ...row, value: { ...row.value, name: 'as committed' } });
  await products.put('a', LAMP);
  const result = await products.write('a', (tx) => tx.set('products', 'a', CHAIR));
  expect(result).toMatchObject({ value: { ...CHAIR, name: 'as committed' }, cache: 'updated' });
  expect(await products.getVersioned('a')).toMatchObject({ value: result.value, from: 'cache' });
});

test.each<[string, (row: StoreRow<Product> | undefined) => StoreRow<Product> | undefined]>([
  ['has no version that can be believed', (row) => row && { ...row, version: Number.NaN }],
  [
    'cannot be decoded',
    () => {
      throw new Error('not a row');
    },
  ],
])(
  'write: a row that %s says that it may be committed, and nobody reads what was before',
  async (_, asCommitted) => {
    const products = open(asCommitted);
    await products.put('a', LAMP);
    const writing = products.write('a', (tx) => tx.set('products', 'a', CHAIR));
    await expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome: 'unknown' });
    expect(await products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
  },
);
