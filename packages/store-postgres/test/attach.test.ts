import { InvalidOptionError, StoreUnavailableError } from '@lockstep/core';
import type { Knex } from 'knex';
import { describe, expect, test } from 'vitest';
import { CALL, CHANGES, READ, testServer } from './support/database.js';

const server = testServer();

async function rowsOf<T = Record<string, unknown>>(knex: Knex, sql: string): Promise<T[]> {
  return (await knex.raw<{ rows: T[] }>(sql)).rows;
}

/** A database of its own: attach and detach are about what is in it. */
async function fresh(): Promise<ReturnType<typeof server.store>> {
  if (server.service === undefined) throw new Error('no server');
  const database = await server.service.database();
  return server.store({ knex: server.knex(database.url) });
}

const catalogue = (knex: Knex): Promise<Record<string, unknown>[]> =>
  rowsOf(
    knex,
    `SELECT 'column' AS what, a.attrelid::regclass::text || '.' || a.attname || ' ' || a.atttypid::regtype AS name
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND a.attnum > 0 AND NOT a.attisdropped
     UNION ALL SELECT 'trigger', t.tgname FROM pg_trigger t
     UNION ALL SELECT 'function', p.oid::regproc::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
     UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY 1, 2`,
  );

test('attach versions existing rows without rewriting the table, and detach restores it exactly', async () => {
  const { pg, knex } = await fresh();
  await knex.raw(
    `CREATE TABLE products (id int PRIMARY KEY, name text); INSERT INTO products SELECT g, 'p' || g FROM generate_series(1, 1000) g;
     CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
     CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100)`,
  );
  const before = await catalogue(knex);
  const files = await rowsOf(knex, `SELECT pg_relation_filenode('products') AS file`);
  const products = pg.table<{ id: number; name: string }>('products', { key: 'id' });
  const parted = pg.table<{ id: number }>('parted', { key: 'id' });
  await pg.attach([products, parted]);
  expect(await rowsOf(knex, `SELECT pg_relation_filenode('products') AS file`)).toEqual(files);
  await products.open();
  const rows = await products.read(['1', '1000'], READ);
  const now = Date.now() * 1000;
  for (const row of rows) {
    expect(row?.version).toBeGreaterThan(now - 60_000_000);
    expect((row?.version ?? 1) % 2).toBe(0);
  }
  expect(rows[0]?.value).toEqual({ id: 1, name: 'p1' });
  const attached = await catalogue(knex);
  await pg.attach([products, parted]);
  expect(await catalogue(knex)).toEqual(attached);
  await pg.detach(products);
  await parted.open();
  await pg.detach(parted);
  expect(await catalogue(knex)).toEqual(before);
  await pg.detach(products);
});

test('attach does nothing, not even lock, where all is in place', async () => {
  const { pg, knex } = await fresh();
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY)');
  const products = pg.table('products', { key: 'id' });
  await pg.attach(products);
  const trx = await knex.transaction();
  await trx.raw('LOCK TABLE products IN ACCESS SHARE MODE');
  await pg.attach(products, { lockTimeoutMs: 50 });
  await trx.rollback();
});

test('attach gives up when the lock is not to be had in time, and has changed nothing', async () => {
  const { pg, knex } = await fresh();
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY)');
  const before = await catalogue(knex);
  const trx = await knex.transaction();
  await trx.raw('SELECT * FROM products');
  await expect(pg.attach(pg.table('products', { key: 'id' }), { lockTimeoutMs: 50 })).rejects.toThrow(
    StoreUnavailableError,
  );
  await trx.rollback();
  expect(await catalogue(knex)).toEqual(before);
});

test('the printed SQL, run by hand, attaches and detaches', async () => {
  const { pg, knex } = await fresh();
  const ddl = `CREATE SCHEMA "S '%?"; CREATE TABLE "S '%?"."T ""x""" ("K :%?" text PRIMARY KEY, "v?" int)`;
  await knex.raw(ddl.replaceAll('?', '\\?'));
  const before = await catalogue(knex);
  const table = pg.table<object>('T "x"', { schema: "S '%?", key: 'K :%?' });
  const up = await pg.attachSql(table);
  expect(up.startsWith('BEGIN;')).toBe(true);
  await knex.raw(up.replaceAll('?', '\\?'));
  await table.open();
  const [outcome] = await table.write([{ kind: 'put', key: "a'?", value: { 'v?': 1 }, above: 0 }], CALL);
  expect(outcome).toMatchObject({ kind: 'written', value: { 'K :%?': "a'?", 'v?': 1 } });
  await knex.raw((await pg.detachSql(table)).replaceAll('?', '\\?'));
  expect(await catalogue(knex)).toEqual(before);
});

test('the migration attaches and detaches inside the migration’s own transaction', async () => {
  const { pg, knex } = await fresh();
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY)');
  const before = await catalogue(knex);
  const products = pg.table('products', { key: 'id' });
  const { up, down } = pg.migration([products]);
  await expect(
    knex.transaction(async (trx) => {
      await up(trx);
      throw new Error('undone');
    }),
  ).rejects.toThrow('undone');
  expect(await catalogue(knex)).toEqual(before);
  await knex.transaction(up);
  await products.open();
  await knex.transaction(down);
  expect(await catalogue(knex)).toEqual(before);
});

test('two processes may attach at once', async () => {
  const { pg, knex } = await fresh();
  await knex.raw('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)');
  const [a, b] = [pg.table('a', { key: 'id' }), pg.table('b', { key: 'id' })];
  await Promise.all([pg.attach([a, b]), pg.attach([b, a]), pg.attach(a), pg.attach(b)]);
  await Promise.all([a.open(), b.open()]);
});

test('a role with rights on the table alone may go on writing it (G6)', async () => {
  const { pg, knex } = await fresh();
  const role = `clerk_${process.pid}`;
  await knex.raw(`CREATE TABLE products (id int PRIMARY KEY, n int); CREATE ROLE ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON products TO ${role}`);
  try {
    await pg.attach(pg.table('products', { key: 'id' }));
    await knex.transaction(async (trx) => {
      await trx.raw(`SET LOCAL ROLE ${role}`);
      await trx.raw(
        'INSERT INTO products VALUES (1, 1), (2, 2); UPDATE products SET n = 3; DELETE FROM products WHERE id = 1',
      );
      await trx.raw('INSERT INTO products VALUES (1, 1)');
      await trx.raw('TRUNCATE products');
    });
    const recorded = await rowsOf(
      knex,
      `SELECT op, count(*)::int AS n FROM ${CHANGES} GROUP BY op ORDER BY op`,
    );
    expect(recorded).toEqual([
      { op: 'd', n: 3 },
      { op: 'p', n: 5 },
    ]);
  } finally {
    await knex.raw(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
});

test.each([
  ['a table that is not there', '', 'nope', 'id', /no table public\.nope/],
  ['a view', 'CREATE VIEW some_view AS SELECT 1 AS id', 'some_view', 'id', /view/],
  ['a key column that is not there', 'CREATE TABLE t1 (id int PRIMARY KEY)', 't1', 'nr', /no column "nr"/],
  ['a key that may be NULL', 'CREATE TABLE t2 (id int UNIQUE)', 't2', 'id', /NOT NULL/],
  ['a key that is not unique', 'CREATE TABLE t3 (id int NOT NULL)', 't3', 'id', /unique index/],
  [
    'a key that is unique only with others',
    'CREATE TABLE t4 (id int, b int, PRIMARY KEY (id, b))',
    't4',
    'id',
    /unique index/,
  ],
  [
    'a key that is unique only for some rows',
    'CREATE TABLE t5 (id int NOT NULL); CREATE UNIQUE INDEX ON t5 (id) WHERE id > 0',
    't5',
    'id',
    /unique index/,
  ],
  ['a deferrable key', 'CREATE TABLE t6 (id int PRIMARY KEY DEFERRABLE)', 't6', 'id', /deferrable/],
  [
    'a table that is not attached',
    'CREATE TABLE t7 (id int PRIMARY KEY)',
    't7',
    'id',
    /not attached.*attach/,
  ],
])('open refuses %s', async (_, ddl, name, key, message) => {
  const { pg, knex } = server.store();
  if (ddl !== '') await knex.raw(ddl);
  const opening = pg.table(name, { key }).open();
  await expect(opening).rejects.toThrow(InvalidOptionError);
  await expect(opening).rejects.toThrow(message);
});

test('a column whose property no row could have is refused by name', async () => {
  const { pg, knex } = server.store();
  await knex.raw('CREATE TABLE odd (id int PRIMARY KEY, "__proto__" json)');
  await expect(pg.attach(pg.table('odd', { key: 'id' }))).rejects.toThrow(
    /map column "__proto__" of public\.odd/,
  );
  await pg.attach(pg.table('odd', { key: 'id', columns: { proto: '__proto__' } }));
});

test('attach gives the triggers of earlier attachments their present names', async () => {
  const { pg, knex } = server.store();
  await knex.raw('CREATE TABLE renamed (id int PRIMARY KEY)');
  const table = pg.table('renamed', { key: 'id' });
  await pg.attach(table);
  const names = async (): Promise<string[]> => {
    const { rows } = await knex.raw<{ rows: { tgname: string }[] }>(
      `SELECT tgname FROM pg_trigger WHERE tgrelid = 'renamed'::regclass ORDER BY tgname COLLATE "C"`,
    );
    return rows.map(({ tgname }) => tgname);
  };
  const present = await names();
  for (const name of present.filter((each) => each.startsWith('!'))) {
    await knex.raw('ALTER TRIGGER ?? ON renamed RENAME TO ??', [name, name.slice(1)]);
  }
  // Kept in step until then, too.
  await table.open();
  await pg.attach(table);
  expect(await names()).toEqual(present);
  await pg.detach(table);
  expect(await names()).toEqual([]);
});

test('open refuses a table whose triggers are gone or off, or that was attached with another key', async () => {
  const { pg, knex } = server.store();
  await knex.raw('CREATE TABLE guarded (id int PRIMARY KEY, nr int NOT NULL UNIQUE)');
  const table = pg.table('guarded', { key: 'id' });
  await pg.attach(table);
  await expect(pg.table('guarded', { key: 'nr' }).open()).rejects.toThrow(/attached with key \(id\)/);
  await expect(pg.table('guarded', { key: 'id', versionColumn: 'v' }).open()).rejects.toThrow(
    /attached with key \(id\) and version column "lockstep_version", not \(id\) and "v"/,
  );
  await knex.raw('ALTER TABLE guarded DISABLE TRIGGER "!lockstep_check_move"');
  await expect(table.open()).rejects.toThrow(/lockstep_check_move/);
  await knex.raw('DROP TRIGGER "!lockstep_check_move" ON guarded');
  await expect(table.open()).rejects.toThrow(/lockstep_check_move/);
  await pg.attach(table);
  await table.open();
  await knex.raw('ALTER TABLE guarded ALTER id TYPE date USING now()');
  await expect(pg.table('guarded', { key: 'id' }).open()).rejects.toThrow(/changed their type/);
});

describe('a table that is attached with another key', () => {
  const ddl = 'CREATE TABLE u (id int PRIMARY KEY, nr int NOT NULL UNIQUE, UNIQUE (id, nr))';
  const both = /public\.u is attached with key \(id\).* not \(nr\).*detach it first/i;

  test('is refused by attach, by the migration and by the printed SQL, and stays as it was', async () => {
    const { pg, knex } = await fresh();
    await knex.raw(ddl);
    const byId = pg.table('u', { key: 'id' });
    const byNr = pg.table('u', { key: 'nr' });
    await pg.attach(byId);
    const before = await catalogue(knex);
    const record = await rowsOf(knex, 'SELECT * FROM lockstep.attached');
    const attaching = pg.attach(byNr);
    await expect(attaching).rejects.toThrow(InvalidOptionError);
    await expect(attaching).rejects.toThrow(both);
    await expect(attaching).rejects.toThrow(/^key: public\.u is attached/);
    await expect(pg.attach(byNr, { grantTo: ['postgres'] })).rejects.toThrow(both);
    await expect(knex.transaction(pg.migration(byNr).up)).rejects.toThrow(both);
    await expect(knex.raw((await pg.attachSql(byNr)).replaceAll('?', '\\?'))).rejects.toThrow(both);
    await knex.raw('ROLLBACK').catch(() => undefined);
    await expect(pg.attach(pg.table('u', { key: ['nr', 'id'] }))).rejects.toThrow(/not \(nr, id\)/);
    await expect(pg.attach(pg.table('u', { key: 'id', versionColumn: 'v' }))).rejects.toThrow(/and "v"/);
    expect(await catalogue(knex)).toEqual(before);
    expect(await rowsOf(knex, 'SELECT * FROM lockstep.attached')).toEqual(record);
    await byId.open();
  });

  test('is attached anew once it was detached, or is another table, or the key column has another name', async () => {
    const { pg, knex } = await fresh();
    await knex.raw(ddl);
    const byNr = pg.table('u', { key: 'nr' });
    await pg.attach(pg.table('u', { key: 'id' }));
    await pg.detach(pg.table('u', { key: 'id' }));
    await pg.attach(byNr);
    await knex.raw('ALTER TABLE u RENAME nr TO number');
    const byNumber = pg.table('u', { key: 'number' });
    await pg.attach(byNumber);
    await byNumber.open();
    await knex.raw(`DROP TABLE u; ${ddl}`);
    const byId = pg.table('u', { key: 'id' });
    await pg.attach(byId);
    await byId.open();
  });
});

test('wrong options are named', () => {
  const { pg, knex } = server.store();
  const bad = (make: () => unknown, option: RegExp): void => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(option);
  };
  bad(() => pg.table('t', { key: [] }), /table\.key/);
  bad(() => pg.table('t', { key: ['a', 'a'] }), /twice/);
  bad(() => pg.table('', { key: 'a' }), /^table:/);
  bad(() => pg.table('t', { key: 'a', shema: 'x' } as never), /shema/);
  bad(() => server.store({ knex, feed: { graceMs: -1 } }), /feed\.graceMs/);
  bad(() => server.store({ knex, feed: { pollms: 5 } as never }), /pollms/);
  bad(() => server.store({ knex: {} as never }), /knex/);
  bad(() => server.store({ knex, prepared: 'no' as never }), /prepared/);
});
