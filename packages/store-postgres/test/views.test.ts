import { createLockstep, type Lockstep, type Relay } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { PostgresStore } from '../src/index.js';
import { testServer } from './support/database.js';

interface Product {
  readonly id: number;
  readonly category: string | null;
  readonly tenant: number;
  readonly status: string;
}

const server = testServer();
let knex: Knex;
let pg: PostgresStore;
let shop: ReturnType<typeof openShop>;
let relay: Relay;
let cache: ReturnType<typeof memoryCache>;

/** A process with lists by category, and by tenant and status. */
function openShop(cache: ReturnType<typeof memoryCache>) {
  const lockstep = createLockstep({ cache });
  const products = lockstep.collection({
    name: 'products',
    store: pg.table<Product, number>('products', { key: 'id' }),
    tags: ['category', ['tenant', 'status']],
  });
  const loads: string[] = [];
  const lists = lockstep.view<{ category: string | null }, number[], Knex>({
    name: 'lists',
    load: async ({ category }, { client }) => {
      loads.push(`${category}`);
      return await client<Product>('products').where({ category }).orderBy('id').pluck('id');
    },
    dependsOn: ({ category }) => products.where({ category }),
  });
  const counts = lockstep.view<{ tenant: number; status: string }, number, Knex>({
    name: 'counts',
    load: async (params, { client }) => {
      loads.push('count');
      const [row] = await client<Product>('products').where(params).count<{ count: string }[]>();
      return Number(row?.count);
    },
    dependsOn: (params) => products.where(params),
  });
  return { lockstep, products, lists, counts, loads };
}

const books = { category: 'books' };
const row = (id: number, category: string | null, status = 'new'): Product => {
  return { id, category, tenant: 1, status };
};

/** The lists of a category, once the relay has dealt with all that was changed. */
async function drained(lockstep: Lockstep): Promise<void> {
  await lockstep.drain();
  while ((await pg.feed.status(['public.products'])).pending > 0) await new Promise(setImmediate);
}

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw(
    'CREATE TABLE products (id int PRIMARY KEY, category text, tenant int NOT NULL, status text NOT NULL)',
  );
  await pg.attach(pg.table<Product, number>('products', { key: 'id' }), {
    tags: ['category', ['tenant', 'status']],
  });
});

beforeEach(async () => {
  await knex.raw('TRUNCATE products');
  cache = memoryCache();
  shop = openShop(cache);
  await shop.products.put(1, row(1, 'books'));
  relay = shop.lockstep.startRelay();
  await drained(shop.lockstep);
});

afterEach(async () => {
  await relay.stop();
  await shop.lockstep.drain();
});

/** The list, read until it is cached. */
async function cached(): Promise<number[]> {
  const { lists, lockstep, loads } = shop;
  for (;;) {
    loads.length = 0;
    const list = await lists.get(books);
    if (loads.length === 0) return list;
    await lockstep.drain();
  }
}

test('a list has the row that enters, and not the one that leaves, with the acknowledgement', async () => {
  const { counts, lists, products } = shop;
  expect(await cached()).toEqual([1]);
  await products.put(2, row(2, 'books'));
  expect(await lists.get(books)).toEqual([1, 2]);
  expect(await counts.get({ tenant: 1, status: 'new' })).toBe(2);
  expect(await cached()).toEqual([1, 2]);
  // A blind put, which does not know what the row was.
  await products.put(1, row(1, 'toys', 'old'));
  expect(await lists.get(books)).toEqual([2]);
  expect(await counts.get({ tenant: 1, status: 'new' })).toBe(1);
  expect(await cached()).toEqual([2]);
  await products.patch(2, { category: null });
  expect(await lists.get(books)).toEqual([]);
  expect(await lists.get({ category: null })).toEqual([2]);
  await products.delete(2);
  expect(await lists.get({ category: null })).toEqual([]);
});

test('a write of another category loads nothing anew', async () => {
  const { loads, products } = shop;
  await cached();
  await products.put(2, row(2, 'toys'));
  await products.put(2, row(2, null));
  loads.length = 0;
  expect(await shop.lists.get(books)).toEqual([1]);
  expect(loads).toEqual([]);
});

test('another process sees it', async () => {
  const { lists } = shop;
  await cached();
  // On the same cache, as processes of one consumer are.
  const other = openShop(cache);
  await other.products.put(3, row(3, 'books'));
  await drained(shop.lockstep);
  expect(await lists.get(books)).toEqual([1, 3]);
  await other.lockstep.drain();
});

test.for([
  ['an insert', "INSERT INTO products VALUES (2, 'books', 1, 'new')", [1, 2]],
  ['an update away', "UPDATE products SET category = 'toys' WHERE id = 1", []],
  ['a delete', 'DELETE FROM products', []],
  ['another key', 'UPDATE products SET id = 9 WHERE id = 1', [9]],
  ['a TRUNCATE', 'TRUNCATE products', []],
] as const)('%s by another program is seen once the relay has it', async ([, sql, expected]) => {
  await cached();
  await knex.raw(sql);
  await drained(shop.lockstep);
  expect(await shop.lists.get(books)).toEqual(expected);
});

const AWAY = "UPDATE products SET category = 'toys' WHERE id = 1";

test.for<[string, sql: string, write: () => Promise<unknown>]>([
  ['a put', AWAY, () => shop.products.put(1, row(1, 'games'))],
  ['a patch', AWAY, () => shop.products.patch(1, { status: 'old' })],
  ['a delete', AWAY, () => shop.products.delete(1)],
  [
    'a put after two changes',
    `${AWAY}; UPDATE products SET category = NULL`,
    () => shop.products.put(1, row(1, 'games')),
  ],
  [
    'a put after more changes than it looks at',
    `${AWAY}; DO $$ BEGIN FOR i IN 1..101 LOOP UPDATE products SET category = i; END LOOP; END $$`,
    () => shop.products.put(1, row(1, 'games')),
  ],
  ['a put after a delete', 'DELETE FROM products', () => shop.products.put(1, row(1, 'games'))],
  [
    'a transaction',
    AWAY,
    () => shop.lockstep.transaction((tx) => shop.products.put(1, row(1, 'games'), { tx })),
  ],
  [
    "a transaction's own statement",
    AWAY,
    () => shop.lockstep.transaction((tx) => (tx.client as Knex)('products').update({ status: 'old' })),
  ],
])(
  '%s of a row that another program has taken out of a list shows so, before the relay has told',
  async ([, sql, write]) => {
    expect(await cached()).toEqual([1]);
    await relay.stop();
    await knex.raw(sql);
    // Loaded anew, without the row, by a process that was held up, and has lost its proof of the cache.
    expect([[1], []]).toContainEqual(await shop.lists.get(books));
    await write();
    expect(await shop.lists.get(books)).toEqual([]);
  },
);

test('a column that was added is seen, without a change of any row', async () => {
  const { lockstep, products } = shop;
  const all = lockstep.view<undefined, object[], Knex>({
    name: 'all',
    load: async (_, { client }) => await client('products').select('*'),
    dependsOn: () => products.any(),
  });
  const columns = async () => Object.keys((await all.get(undefined))[0] ?? {});
  for (let i = 0; i < 2; i++) {
    expect(await columns()).not.toContain('note');
    await drained(lockstep);
  }
  await knex.raw("ALTER TABLE products ADD COLUMN note text NOT NULL DEFAULT 'none'");
  // The catalogue is looked at every second.
  while (!(await columns()).includes('note')) await drained(lockstep);
});

test('a transaction reads its own list, fills nothing, and its commit is seen', async () => {
  const { lists, lockstep, loads, products } = shop;
  await cached();
  await lockstep.transaction(async (tx) => {
    await products.put(2, row(2, 'books'), { tx });
    await (tx.client as Knex)('products').insert(row(3, 'books'));
    expect(await lists.get(books, { tx })).toEqual([1, 2, 3]);
    expect(await lists.get(books)).toEqual([1]);
  });
  loads.length = 0;
  expect(await lists.get(books)).toEqual([1, 2, 3]);
  expect(loads).toEqual(['books']);
});

test.for([
  ['category', { category: 'books' }],
  ['tenant and status', { tenant: 1, status: 'new' }],
] as const)(
  'rows that were changed past the triggers are read anew once their %s is ended',
  async ([, tag]) => {
    const { lists, lockstep, products } = shop;
    // It would find the TRUNCATE in the catalogue, sooner or later, and end everything.
    await relay.stop();
    const all = async () => await Promise.all([1, 2].map((id) => products.getVersioned(id)));
    await products.put(2, row(2, 'toys', 'old'));
    while (!(await all()).every(({ from }) => from === 'cache')) await lockstep.drain();
    expect(await cached()).toEqual([1]);
    await knex.transaction(async (trx) => {
      await trx.raw('SET LOCAL session_replication_role = replica');
      await trx('products').where({ id: 1 }).update({ category: null });
    });
    expect(await all()).toMatchObject([{ value: row(1, 'books') }, { value: row(2, 'toys', 'old') }]);
    expect(await products.invalidateTag(tag)).toBe('invalidated');
    expect(await all()).toMatchObject([{ value: row(1, null), from: 'store' }, { from: 'cache' }]);
    if ('category' in tag) expect(await lists.get(books)).toEqual([]);
  },
);

test('a set that attach has not declared is refused when the collection opens', async () => {
  const lockstep = createLockstep({ cache: memoryCache(), prefix: 'undeclared' });
  const products = lockstep.collection({
    name: 'products',
    store: pg.table<Product, number>('products', { key: 'id' }),
    tags: ['status'],
  });
  await expect(products.get(1)).rejects.toThrow(/status/);
  await lockstep.drain();
});
