import { type CacheAdapter, type CollectionOptions, createLockstep, type QueueAdapter } from '@lockstep/core';
import { memoryCache, memoryQueue } from '@lockstep/core/memory';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import { afterEach, describe, expect, test } from 'vitest';
import { testServer } from './support/database.js';

type Row = Readonly<Record<string, unknown>>;

const server = testServer();
const closing: (() => Promise<void>)[] = [];
let tables = 0;

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A process of the application: it knows the table as it is when it opens it. */
async function processOn(
  cache: CacheAdapter,
  name: string,
  options: Partial<CollectionOptions<Row, number>> = {},
  queue?: QueueAdapter,
  connections = 4,
) {
  const { knex, pg } = server.store({ knex: server.knex(server.url, connections) });
  const table = pg.table<Row, number>(name, { key: 'id' });
  const lockstep = createLockstep({ cache, ...(queue && { queue }) });
  const rows = lockstep.collection<Row, number>({ name: 'rows', store: table, ...options });
  const misses: string[] = [];
  lockstep.events.on('miss', ({ reason }) => void misses.push(reason));
  closing.push(async () => {
    await lockstep.close();
    await knex.destroy();
  });
  await table.open();
  return { knex, lockstep, misses, pg, rows, table };
}

/** A table with rows 1 to 9, attached. */
async function world(columns = 'name text NOT NULL', row: Row = { name: 'a' }) {
  const name = `shape_${++tables}`;
  const { knex, pg } = server.store();
  await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, ${columns})`);
  await pg.attach(pg.table(name, { key: 'id' }));
  await knex(name).insert(Array.from({ length: 9 }, (_, i) => ({ id: i + 1, ...row })));
  const cache = memoryCache();
  return {
    name,
    knex,
    alter: (sql: string) => knex.raw(`ALTER TABLE ${name} ${sql}`),
    open: (options?: Partial<CollectionOptions<Row, number>>, queue?: QueueAdapter, connections?: number) =>
      processOn(cache, name, options, queue, connections),
    row: async (id: number) => (await knex(name).where({ id }).first()) as Row,
  };
}

const renamed = (row?: Row): Row => ({ ...row, name: `${String(row?.['name'])}!` });

describe.each([
  ['JSON', {}],
  ['MessagePack', { serializer: msgpackSerializer() }],
  ['JSON, a buffer', { strategy: 'write-behind' }],
] as const)('%s', (_, options) => {
  test('a column is added: the old release never shows it, the new never lacks it, neither loses it', async () => {
    const at = await world();
    const old = await at.open(options);
    await old.rows.getMany([1, 2, 3, 4]);
    await at.alter("ADD COLUMN plan text NOT NULL DEFAULT 'free'");
    const fresh = await at.open(options);
    expect(await fresh.rows.get(1)).toEqual({ id: 1, name: 'a', plan: 'free' });
    expect(await old.rows.get(1)).toEqual({ id: 1, name: 'a' });
    await fresh.rows.update(2, (row) => ({ ...row, plan: 'pro' }));
    expect((await old.rows.update(2, renamed)).value).toEqual({ id: 2, name: 'a!' });
    expect(await fresh.rows.get(2)).toEqual({ id: 2, name: 'a!', plan: 'pro' });
    await old.rows.put(2, { id: 2, name: 'b' });
    expect(await fresh.rows.get(2)).toEqual({ id: 2, name: 'b', plan: 'pro' });
    await old.rows.put(5, { id: 5, name: 'c' });
    await fresh.rows.update(5, (row) => ({ ...row, plan: 'max' }));
    expect(await old.rows.get(5)).toEqual({ id: 5, name: 'c' });
    expect(await fresh.rows.get(5)).toEqual({ id: 5, name: 'c', plan: 'max' });
    await fresh.rows.put(6, { id: 6, name: 'd', plan: 'max' });
    await old.rows.flush();
    await fresh.rows.flush();
    expect(await at.row(2)).toMatchObject({ name: 'b', plan: 'pro' });
    expect(await at.row(6)).toMatchObject({ name: 'd', plan: 'max' });
  });

  test('a column is dropped under a running release: reads and writes go on', async () => {
    const at = await world('name text, legacy text', { name: 'a', legacy: 'x' });
    const old = await at.open(options);
    await old.rows.getMany([1, 2]);
    await old.rows.update(1, renamed);
    await at.alter('DROP COLUMN legacy');
    expect(await old.rows.get(3)).toEqual({ id: 3, name: 'a' });
    expect(await old.rows.get(2)).toEqual({ id: 2, name: 'a' });
    const fresh = await at.open(options);
    const other = await at.open(options);
    expect(await fresh.rows.get(1)).toEqual({ id: 1, name: 'a!' });
    await at.alter('DROP COLUMN name, ADD COLUMN title text');
    // Each of these is the first statement of its process after the change.
    await old.rows.put(4, { id: 4 });
    await old.rows.flush();
    expect(await at.row(4)).toMatchObject({ id: 4, title: null });
    expect((await fresh.rows.update(5, (row) => ({ ...row, title: 't' }))).value).toEqual({
      id: 5,
      title: 't',
    });
    expect(await other.rows.getMany([5, 7])).toEqual([
      { id: 5, title: 't' },
      { id: 7, title: null },
    ]);
  });

  test('a column is renamed, and back', async () => {
    const at = await world('name text NOT NULL');
    const old = await at.open(options);
    await old.rows.getMany([1, 2]);
    await at.alter('RENAME name TO title');
    const fresh = await at.open(options);
    expect(await fresh.rows.get(1)).toEqual({ id: 1, title: 'a' });
    expect(await old.rows.get(1)).toEqual({ id: 1, title: 'a' });
    await fresh.rows.update(2, (row) => ({ ...row, title: 'b' }));
    expect(await old.rows.get(2)).toEqual({ id: 2, title: 'b' });
    await at.alter('RENAME title TO name');
    expect((await old.rows.update(3, renamed)).value).toEqual({ id: 3, name: 'a!' });
    expect(await fresh.rows.get(2)).toEqual({ id: 2, title: 'b' });
    const back = await at.open(options);
    expect(await back.rows.get(2)).toEqual({ id: 2, name: 'b' });
    expect(await back.rows.get(3)).toEqual({ id: 3, name: 'a!' });
  });

  test('a column gets another type: nobody reads a value of the type before under the new one', async () => {
    const at = await world('cents int NOT NULL', { cents: 100 });
    const old = await at.open(options);
    await old.rows.getMany([1, 2]);
    await at.alter('ALTER cents TYPE numeric(10,2) USING cents / 100.0');
    const fresh = await at.open(options);
    expect(await fresh.rows.get(1)).toEqual({ id: 1, cents: '1.00' });
    expect(await old.rows.get(1)).toEqual({ id: 1, cents: '1.00' });
    // The old process reads rows as they are now, and learns from them.
    expect(await old.rows.get(3)).toEqual({ id: 3, cents: '1.00' });
    expect(await fresh.rows.get(3)).toEqual({ id: 3, cents: '1.00' });
    expect((await old.rows.put(2, { id: 2, cents: '2.50' })).value).toEqual({ id: 2, cents: '2.50' });
    expect(await fresh.rows.get(2)).toEqual({ id: 2, cents: '2.50' });
    await old.rows.flush();
    expect(await at.row(2)).toMatchObject({ cents: '2.50' });
  });

  test('a default changes, an enum gets a value: both releases go on, on what is cached', async () => {
    await server.store().knex.raw(`CREATE TYPE mood_${tables} AS ENUM ('ok')`);
    const mood = `mood_${tables}`;
    const at = await world(`name text DEFAULT 'a', mood ${mood} NOT NULL`, { mood: 'ok' });
    const old = await at.open(options);
    await old.rows.getMany([1, 2]);
    await at.alter("ALTER name SET DEFAULT 'z'");
    await at.knex.raw(`ALTER TYPE ${mood} ADD VALUE 'sad'`);
    const fresh = await at.open(options);
    expect(await fresh.rows.get(1)).toEqual({ id: 1, name: 'a', mood: 'ok' });
    expect(fresh.misses).toEqual([]);
    await fresh.rows.update(1, (row) => ({ ...row, mood: 'sad' }));
    expect(await old.rows.get(1)).toEqual({ id: 1, name: 'a', mood: 'sad' });
    await old.rows.update(2, (row) => ({ ...row, mood: 'sad' }));
    expect(await fresh.rows.get(2)).toEqual({ id: 2, name: 'a', mood: 'sad' });
  });
});

test('a value of the type that a column has now is written by a process that knows the type before', async () => {
  const at = await world('n int NOT NULL', { n: 1 });
  const old = await at.open();
  await old.rows.getMany([1]);
  await at.alter('ALTER n TYPE text');
  expect((await old.rows.put(8, { id: 8, n: 'eight' })).value).toEqual({ id: 8, n: 'eight' });
  await at.alter('ALTER n TYPE bigint USING 1');
  const many = await Promise.all([2, 3, 4].map((id) => old.rows.put(id, { id, n: '5000000000' })));
  expect(many.map(({ value }) => value)).toEqual([2, 3, 4].map((id) => ({ id, n: '5000000000' })));
});

test.each([
  ['DROP COLUMN name', 4],
  ['ALTER n TYPE bigint', '4'],
] as const)(
  'a row that is read with the commit: after %s, write() runs its body again, and is committed once',
  async (sql, n) => {
    const at = await world('name text, n int NOT NULL', { n: 0 });
    // Of one connection, which knows the statement.
    const { knex, rows } = await at.open({}, undefined, 1);
    const add = () =>
      rows.write(1, (trx) => (trx as typeof knex)(at.name).where({ id: 1 }).increment('n', 1));
    for (let times = 0; times < 3; times++) await add();
    await at.alter(sql);
    expect((await add()).value).toMatchObject({ n });
    expect(await at.row(1)).toMatchObject({ n });
    expect(await rows.get(1)).toMatchObject({ n });
  },
);

test('a value with a column that came since is written, and the column known from then on', async () => {
  const at = await world();
  const early = await at.open();
  await at.alter('ADD COLUMN plan text');
  expect((await early.rows.put(1, { id: 1, name: 'a', plan: 'pro' })).value).toEqual({
    id: 1,
    name: 'a',
    plan: 'pro',
  });
  await expect(early.rows.put(1, { id: 1, nmae: 'a' })).rejects.toThrow(/no column for property "nmae"/);
});

test('readers and writers of two releases, while columns come, change and go, lose nothing', async () => {
  const at = await world('a int NOT NULL DEFAULT 0, b int NOT NULL DEFAULT 0', {});
  const releases = [await at.open(), await at.open()];
  const failures: unknown[] = [];
  let over = false;
  const done = { a: 0, b: 0 };
  const work = async (rows: (typeof releases)[number]['rows'], field: 'a' | 'b'): Promise<void> => {
    for (let turn = 0; !over; turn++) {
      try {
        await rows.update(1, (row) => ({ ...row, [field]: Number(row?.[field]) + 1 }), { retries: 50 });
        done[field]++;
        const row = await rows.get(1);
        if (Number(row?.[field]) < done[field]) failures.push([field, row, done[field]]);
        await rows.get((turn % 8) + 2);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const working = [work(releases[0]?.rows as never, 'a'), work(releases[1]?.rows as never, 'b')];
  const changes = [
    "ADD COLUMN c text NOT NULL DEFAULT 'x'",
    'ALTER a TYPE bigint',
    'ALTER c TYPE varchar(20)',
    'RENAME c TO d',
    'DROP COLUMN d',
    'ALTER a TYPE int',
    "ADD COLUMN c text NOT NULL DEFAULT 'y'",
  ];
  try {
    for (const change of changes) {
      const before = done.a + done.b;
      await at.alter(change);
      const fresh = await at.open();
      const row = await fresh.rows.get(1);
      expect(Object.keys(row ?? {}).sort()).toEqual(
        Object.keys(await at.row(1))
          .filter((name) => name !== 'lockstep_version')
          .sort(),
      );
      while (done.a + done.b < before + 20 && failures.length === 0) await at.row(2);
    }
  } finally {
    over = true;
    await Promise.all(working);
  }
  expect(failures).toEqual([]);
  const last = await at.row(1);
  expect([Number(last['a']), Number(last['b'])]).toEqual([done.a, done.b]);
});

test.each([
  ['JSON', {}],
  ['MessagePack', { serializer: msgpackSerializer() }],
] as const)(
  '%s: what the old release has buffered keeps the columns that it does not know, whoever flushes it',
  async (_, more) => {
    const at = await world();
    const options = { ...more, strategy: 'write-behind' } as const;
    // It leaves its flushes to a worker, of which there is none.
    const old = await at.open(options, memoryQueue());
    await old.rows.getMany([2, 3]);
    await at.alter("ADD COLUMN plan text NOT NULL DEFAULT 'free', ADD COLUMN seats int");
    const fresh = await at.open(options);
    await at.knex(at.name).where({ id: 2 }).update({ plan: 'pro', seats: 7 });
    await old.rows.get(2, { fresh: true });
    expect((await old.rows.put(2, { id: 2, name: 'b' })).store).toBe('buffered');
    expect(await fresh.rows.flush()).toBe(1);
    expect(await at.row(2)).toMatchObject({ name: 'b', plan: 'pro', seats: 7 });
    expect(await fresh.rows.get(2)).toEqual({ id: 2, name: 'b', plan: 'pro', seats: 7 });
  },
);
