import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { afterEach, describe, expect, test } from 'vitest';
import { testServer } from './support/database.js';

type Row = Readonly<Record<string, unknown>>;

const server = testServer();
const closing: (() => Promise<unknown>)[] = [];
let tables = 0;

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A table with row 1, attached. `T` is its name in statements. */
async function world(ddl: string) {
  const name = `altered_${++tables}`;
  const { knex, pg } = server.store();
  const run = async (sql: string): Promise<void> => {
    for (const each of sql.split(';'))
      await knex.raw(each.replaceAll(/\bT(?=\b|_)/g, name).replaceAll('?', '\\?'));
  };
  await run(ddl);
  const table = pg.table<Row, number>(name, { key: 'id' });
  await pg.attach(table);
  const { source } = table;
  const { alterations } = pg.feed;
  if (alterations === undefined) throw new Error('nobody watches the catalogue');
  const check = () => alterations.check('c', [source]);
  const register = () =>
    pg.feed.registry.register('c', [
      { name: 'rows', source, keyPrefix: 'c:rows:', holeTtlMs: 1_000, holeOnEmpty: false },
    ]);
  return { alterations, check, knex, name, pg, register, run, source, table };
}

/** An application on a world's table that has cached row 1, in a process with or without a relay. */
async function cachedIn({ name }: { readonly name: string }, cache = memoryCache()) {
  const { pg } = server.store();
  const lockstep = createLockstep({ cache });
  const rows = lockstep.collection<Row, number>({
    name: 'rows',
    store: pg.table<Row, number>(name, { key: 'id' }),
  });
  closing.push(() => lockstep.close());
  const relayed = (): Promise<Row> => {
    const { promise, resolve } = Promise.withResolvers<Row>();
    lockstep.events.on('alteration', resolve);
    const relay = lockstep.startRelay();
    closing.push(() => relay.stop());
    return promise;
  };
  return { cache, relayed, rows, lockstep };
}

const TABLE = 'CREATE TABLE T (id int PRIMARY KEY, v text); INSERT INTO T VALUES (1, $a$1$a$)';

describe('what gives rows other values without a trigger is made unreadable by the relay', () => {
  test.each([
    [
      'a column whose values change, but not its type',
      TABLE,
      `ALTER TABLE T ALTER v TYPE text USING v || '!'`,
      '1!',
    ],
    [
      'a label of an enum',
      `CREATE TYPE "mT" AS ENUM ('sad', 'ok'); CREATE TABLE T (id int PRIMARY KEY, v "mT"); INSERT INTO T VALUES (1, 'sad')`,
      `ALTER TYPE "mT" RENAME VALUE 'sad' TO 'blue'`,
      'blue',
    ],
    [
      'a column that was dropped and made anew',
      TABLE,
      `ALTER TABLE T DROP v; ALTER TABLE T ADD v text DEFAULT 'new'`,
      'new',
    ],
    [
      'columns that swap their names',
      `CREATE TABLE T (id int PRIMARY KEY, v text, w text); INSERT INTO T VALUES (1, 'a', 'b')`,
      'ALTER TABLE T RENAME v TO x; ALTER TABLE T RENAME w TO v; ALTER TABLE T RENAME x TO w',
      'b',
    ],
  ])('%s', async (_, ddl, alter, expected) => {
    const at = await world(ddl);
    const { relayed, rows } = await cachedIn(at);
    const before = await rows.get(1);
    const altered = relayed();
    await at.run(alter);
    expect(await altered).toEqual({ source: at.source, kind: 'altered', invalidated: 1 });
    const after = await rows.get(1);
    expect(after?.['v']).toBe(expected);
    expect(after).not.toEqual(before);
  });

  test('the expression of a generated column, where the server can set it', async () => {
    const major = Number(server.service?.version.split('.')[0]);
    const at = await world(
      `CREATE TABLE T (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id + 1) ${major < 18 ? 'STORED' : 'VIRTUAL'});
       INSERT INTO T VALUES (1)`,
    );
    const { relayed, rows } = await cachedIn(at);
    expect(await rows.get(1)).toEqual({ id: 1, v: 2 });
    const altered = relayed();
    await at.run(
      major < 17
        ? `ALTER TABLE T DROP v; ALTER TABLE T ADD v int GENERATED ALWAYS AS (id + 2) STORED`
        : 'ALTER TABLE T ALTER v SET EXPRESSION AS (id + 2)',
    );
    await altered;
    expect(await rows.get(1)).toEqual({ id: 1, v: 3 });
  });

  test('a partition that is attached with rows, and one that is detached', async () => {
    const at = await world('CREATE TABLE T (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)');
    await at.run(
      `CREATE TABLE T_1 (LIKE T INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
       INSERT INTO T_1 (id, v) VALUES (1, 'a')`,
    );
    const { lockstep, relayed, rows } = await cachedIn(at);
    expect(await rows.get(1)).toBeUndefined();
    const attached = relayed();
    await at.run('ALTER TABLE T ATTACH PARTITION T_1 FOR VALUES FROM (1) TO (9)');
    await attached;
    expect(await rows.get(1)).toEqual({ id: 1, v: 'a' });
    const { promise, resolve } = Promise.withResolvers<Row>();
    lockstep.events.on('alteration', resolve);
    await at.run('ALTER TABLE T DETACH PARTITION T_1');
    await promise;
    expect(await rows.get(1)).toBeUndefined();
  });
});

test('a change while no relay ran is seen when one starts', async () => {
  const at = await world(TABLE);
  const app = await cachedIn(at);
  expect(await app.rows.get(1)).toEqual({ id: 1, v: '1' });
  await at.run(`ALTER TABLE T ALTER v TYPE text USING 'other'`);
  expect(await app.rows.get(1)).toEqual({ id: 1, v: '1' });
  await app.relayed();
  expect(await app.rows.get(1)).toEqual({ id: 1, v: 'other' });
});

describe('the check of the catalogue', () => {
  const NOTHING = [
    ['another default', TABLE, `ALTER TABLE T ALTER v SET DEFAULT 'x'`],
    ['an index, a constraint, statistics', TABLE, 'CREATE INDEX ON T (v); ANALYZE T'],
  ] as const;
  const MORE = [
    ['an added column', TABLE, 'ALTER TABLE T ADD w int DEFAULT 3'],
    [
      'an added label',
      `CREATE TYPE "aT" AS ENUM ('sad'); CREATE TABLE T (id int PRIMARY KEY, v "aT")`,
      `ALTER TYPE "aT" ADD VALUE 'ok'`,
    ],
    [
      'a partition without rows',
      'CREATE TABLE T (id int PRIMARY KEY) PARTITION BY RANGE (id)',
      'CREATE TABLE T_1 PARTITION OF T FOR VALUES FROM (1) TO (9)',
    ],
  ] as const;

  test.each(NOTHING)('passes over %s, whose rows are as they were', async (_, ddl, alter) => {
    const at = await world(ddl);
    await at.register();
    await at.run(alter);
    expect(await at.check()).toEqual([]);
    await at.run('DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY)');
    expect(await at.check()).toEqual([expect.objectContaining({ kind: 'altered' })]);
  });

  test.each(MORE)('tells of %s, whose rows are as they were, as of more', async (_, ddl, alter) => {
    const at = await world(ddl);
    await at.register();
    await at.run(alter);
    const [grown] = await at.check();
    expect(grown).toMatchObject({ kind: 'grown' });
    await at.alterations.dealtWith('c', grown as NonNullable<typeof grown>);
    expect(await at.check()).toEqual([]);
    await at.run('DROP TABLE T; CREATE TABLE T (id int PRIMARY KEY)');
    expect(await at.check()).toEqual([expect.objectContaining({ kind: 'altered' })]);
  });

  test.each([
    [
      'an attribute of a composite type',
      'CREATE TYPE "cT" AS (a int); CREATE TABLE T (id int PRIMARY KEY, v "cT")',
      'ALTER TYPE "cT" ADD ATTRIBUTE b int',
    ],
    [
      'a label deep in a type',
      `CREATE TYPE "eT" AS ENUM ('a'); CREATE TYPE "dT" AS (e "eT"[]); CREATE DOMAIN "oT" AS "dT";
       CREATE TABLE T (id int PRIMARY KEY, v "oT"[])`,
      `ALTER TYPE "eT" RENAME VALUE 'a' TO 'b'`,
    ],
    [
      'a label in a range',
      `CREATE TYPE "rT" AS ENUM ('a', 'b'); CREATE TYPE "sT" AS RANGE (subtype = "rT", multirange_type_name = "uT");
       CREATE TABLE T (id int PRIMARY KEY, v "uT")`,
      `ALTER TYPE "rT" RENAME VALUE 'a' TO 'c'`,
    ],
    [
      'a table that was swapped',
      TABLE,
      'CREATE TABLE T_new (LIKE T INCLUDING ALL); ALTER TABLE T RENAME TO T_old; ALTER TABLE T_new RENAME TO T',
    ],
    ['a table that was rewritten', TABLE, 'CLUSTER T USING T_pkey'],
    [
      'triggers that were off for a while',
      TABLE,
      'ALTER TABLE T DISABLE TRIGGER ALL; ALTER TABLE T ENABLE TRIGGER ALL',
    ],
    [
      'a type modifier',
      'CREATE TABLE T (id int PRIMARY KEY, v numeric)',
      'ALTER TABLE T ALTER v TYPE numeric(9,2)',
    ],
  ])('tells of %s, until it was dealt with', async (_, ddl, alter) => {
    const at = await world(ddl);
    await at.register();
    expect(await at.check()).toEqual([]);
    await at.run(alter);
    const [alteration] = await at.check();
    expect(alteration).toMatchObject({ kind: 'altered', source: at.source });
    if (alteration === undefined) return;
    await at.alterations.dealtWith('c', { ...alteration, state: 'of another time' });
    expect(await at.check()).toEqual([alteration]);
    await at.alterations.dealtWith('c', alteration);
    expect(await at.check()).toEqual([]);
  });

  test('tells of a table that is not attached any more', async () => {
    const at = await world(TABLE);
    const other = await world(TABLE);
    await at.register();
    const detached = [{ kind: 'detached', source: at.source, state: '' }];
    await at.pg.detach(at.table);
    expect(await at.check()).toEqual(detached);
    await at.pg.attach(at.table);
    await at.register();
    expect(await at.check()).toEqual([]);
    await other.check();
  });
});
