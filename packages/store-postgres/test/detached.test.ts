import {
  type CacheAdapter,
  type CollectionOptions,
  createLockstep,
  type LockstepEventMap,
} from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { PostgresStore } from '../src/index.js';
import { testServer } from './support/database.js';

type Row = Readonly<Record<string, unknown>>;
type Suspension = LockstepEventMap['suspension'];

const server = testServer();
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface World {
  readonly knex: Knex;
  readonly pg: PostgresStore;
  readonly url: string;
  readonly cache: CacheAdapter;
}

/** A database of its own with table `items` of one row, attached. */
async function world(ddl = 'CREATE TABLE items (id int PRIMARY KEY, v text, n int)'): Promise<World> {
  if (server.service === undefined) throw new Error('no server');
  const { url } = await server.service.database();
  const { knex, pg } = server.store({ knex: server.knex(url, 5) });
  await knex.raw(ddl);
  await pg.attach(pg.table('items', { key: 'id' }));
  await knex('items').insert({ id: 1, v: 'a', n: 1 });
  return { knex, pg, url, cache: memoryCache() };
}

function processOn(at: World, options: Partial<CollectionOptions<Row, number>> = {}) {
  const { pg } = server.store({ knex: server.knex(at.url, 5) });
  const table = pg.table<Row, number>('items', { key: 'id' });
  const lockstep = createLockstep({ cache: at.cache });
  const items = lockstep.collection<Row, number>({ name: 'items', store: table, ...options });
  const suspensions: Suspension[] = [];
  const errors: unknown[] = [];
  lockstep.events.on('suspension', (event) => void suspensions.push(event));
  lockstep.events.on('error', ({ error }) => void errors.push(error));
  const hits: number[] = [];
  lockstep.events.on('hit', ({ version }) => void hits.push(version));
  const resumed = (): Promise<void> =>
    new Promise((resolve) => {
      lockstep.events.on('suspension', ({ state }) => state === 'resumed' && resolve());
    });
  closing.push(() => lockstep.close());
  return { errors, hits, items, lockstep, resumed, suspensions, table };
}

const rowOf = (id: number, v: string | null, n: number | null = 1): Row => ({ id, v, n });

describe.each([
  ['the only table', undefined],
  ['one of two', 'CREATE TABLE others (id int PRIMARY KEY)'],
  ['partitioned', 'partitioned'],
])('a table that is detached under a running application (%s)', (_, more) => {
  const ddl =
    more === 'partitioned'
      ? `CREATE TABLE items (id int PRIMARY KEY, v text, n int) PARTITION BY RANGE (id);
         CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (100)`
      : undefined;

  async function detached() {
    const at = await world(ddl);
    if (more?.includes('others') === true) {
      await at.knex.raw(more);
      await at.pg.attach(at.pg.table('others', { key: 'id' }));
    }
    const app = processOn(at);
    const table = at.pg.table('items', { key: 'id' });
    expect(await app.items.get(1)).toEqual(rowOf(1, 'a'));
    await app.items.put(2, rowOf(2, 'b'));
    await at.pg.detach(table);
    return { ...at, ...app, table };
  }

  test('every call goes on at the store, with its conditions, and nothing is cached', async () => {
    const { errors, hits, items, knex, lockstep, suspensions } = await detached();
    expect(await items.getVersioned(3)).toMatchObject({ value: null });
    expect(suspensions).toEqual([
      { source: 'public.items', state: 'suspended', reason: expect.stringMatching(/attach/) },
    ]);
    await knex('items').where({ id: 1 }).update({ v: 'z' });
    expect(await items.get(1)).toEqual(rowOf(1, 'z'));
    expect(await items.getMany([1, 2, 3])).toEqual([rowOf(1, 'z'), rowOf(2, 'b'), undefined]);
    await items.put(3, rowOf(3, 'c'));
    await items.putMany([
      [4, rowOf(4, 'd')],
      [5, rowOf(5, 'e')],
    ]);
    expect((await items.update(3, (row) => ({ ...row, v: `${String(row?.['v'])}!` }))).value).toEqual(
      rowOf(3, 'c!'),
    );
    expect((await items.patch(4, { n: 7 })).value).toEqual(rowOf(4, 'd', 7));
    expect((await items.increment(4, 'n', 2)).value).toEqual(rowOf(4, 'd', 9));
    expect(await items.get(4)).toEqual(rowOf(4, 'd', 9));
    await items.delete(5);
    expect(await items.get(5)).toBeUndefined();
    const { version } = await items.getVersioned(1);
    expect((await items.put(1, rowOf(1, 'y'), { ifVersion: version })).value).toEqual(rowOf(1, 'y'));
    await expect(items.put(1, rowOf(1, 'x'), { ifVersion: version })).rejects.toThrow(/version/i);
    await expect(items.put(1, rowOf(1, 'x'), { ifVersion: null })).rejects.toThrow(/expected no row/);
    await expect(items.put(6, { id: 6, v: 'f', n: 'none' })).rejects.toThrow(/integer/);
    await lockstep.transaction(async (tx) => {
      await items.put(6, rowOf(6, 'f'), { tx });
      await items.update(6, (row) => ({ ...row, n: 2 }), { tx });
    });
    expect(await items.get(6)).toEqual(rowOf(6, 'f', 2));
    const rows = await knex('items').select('id', 'v', 'n').orderBy('id');
    expect(rows).toEqual([rowOf(1, 'y'), rowOf(2, 'b'), rowOf(3, 'c!'), rowOf(4, 'd', 9), rowOf(6, 'f', 2)]);
    // Before it was detached, perhaps.
    expect(hits).toEqual([]);
    expect(errors).toEqual([]);
    expect(suspensions).toHaveLength(1);
  });

  test('and its cache comes back once it is attached again, without what it held before', async () => {
    const { hits, items, knex, pg, resumed, suspensions, table } = await detached();
    await items.get(3);
    const back = resumed();
    await knex('items').where({ id: 1 }).update({ v: 'z' });
    await pg.attach(table);
    // Whether it has noticed or not, the write is stamped and recorded: others may use their caches again.
    expect((await items.put(2, rowOf(2, 'new'))).version).toBeGreaterThan(1e15);
    await back;
    expect(suspensions.map(({ state }) => state)).toEqual(['suspended', 'resumed']);
    expect(await items.get(1)).toEqual(rowOf(1, 'z'));
    expect(hits).toEqual([]);
    while (hits.length === 0) await items.get(1);
    expect(await items.get(1)).toEqual(rowOf(1, 'z'));
  });
});

test('a process that only reads what is cached hears of it from the one that asks the store', async () => {
  const at = await world();
  const [one, two] = [processOn(at), processOn(at)];
  await one.items.get(1);
  await two.items.get(1);
  await at.pg.detach(at.pg.table('items', { key: 'id' }));
  await at.knex('items').where({ id: 1 }).update({ v: 'z' });
  await one.items.get(9);
  const seen = async (): Promise<void> => expect((await two.items.get(1))?.['v']).toBe('z');
  await vi.waitFor(seen, { timeout: 15_000, interval: 5 });
  expect(two.suspensions).toHaveLength(1);
});

test('a table whose triggers are disabled, and that is a strict collection’s, is suspended the same way', async () => {
  const at = await world();
  const app = processOn(at, { consistency: 'strict' });
  await app.items.get(1);
  await at.knex.raw('ALTER TABLE items DISABLE TRIGGER ALL');
  // Looked at in the background while it is in use.
  await app.table.shape.renew();
  await at.knex('items').where({ id: 1 }).update({ v: 'z' });
  expect(await app.items.get(1)).toEqual(rowOf(1, 'z'));
  await app.items.update(1, (row) => ({ ...row, v: 'y' }));
  expect(await app.items.get(1)).toEqual(rowOf(1, 'y'));
  const back = app.resumed();
  await at.knex.raw('ALTER TABLE items ENABLE TRIGGER ALL');
  await app.items.update(1, (row) => ({ ...row, v: 'x' }));
  await back;
  expect(await app.items.get(1)).toEqual(rowOf(1, 'x'));
});

test('a table that is kept in step no more although its triggers are there is written as any other', async () => {
  const at = await world();
  const { errors, items, suspensions, table } = processOn(at);
  expect(await items.get(1)).toEqual(rowOf(1, 'a'));
  await at.knex.raw('CREATE TABLE child () INHERITS (items)');
  await table.shape.renew();
  await vi.waitFor(async () => {
    await items.get(1);
    expect(suspensions.map(({ state }) => state)).toEqual(['suspended']);
  }, 15_000);
  await items.put(2, rowOf(2, 'b'));
  await items.patch(2, { v: 'c' });
  await items.update(1, (row) => row && { ...row, v: 'd' });
  expect(await at.knex('items').select('id', 'v').orderBy('id')).toEqual([
    { id: 1, v: 'd' },
    { id: 2, v: 'c' },
  ]);
  await items.delete(2);
  expect(await items.get(2)).toBeUndefined();
  expect(errors).toEqual([]);
});

test('buffered writes reach the table', async () => {
  const at = await world();
  const app = processOn(at, { strategy: 'write-behind' });
  await app.items.get(1);
  await app.items.put(1, rowOf(1, 'buffered'));
  await at.pg.detach(at.pg.table('items', { key: 'id' }));
  await app.items.get(2);
  expect(await app.items.get(1)).toEqual(rowOf(1, 'buffered'));
  await app.items.put(1, rowOf(1, 'later'));
  expect((await at.knex('items').where({ id: 1 }).first()) as Row).toEqual(rowOf(1, 'later'));
});

test('rows are created with the keys that the database makes', async () => {
  const at = await world(
    'CREATE TABLE items (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (START 5), v text UNIQUE, n int)',
  );
  const app = processOn(at);
  await app.items.get(1);
  await at.pg.detach(at.pg.table('items', { key: 'id' }));
  expect((await app.items.create({ v: 'made' })).value).toEqual(rowOf(5, 'made', null));
  await expect(app.items.create({ v: 'made' })).rejects.toThrow(/unique/);
});
