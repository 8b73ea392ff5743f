import { InvalidIdError, InvalidOptionError } from '@lockstep/core';
import { describe, expect, test, vi } from 'vitest';
import { CALL, CHANGES, READ, testServer } from './support/database.js';

const server = testServer();

interface KeyCase {
  readonly type: string;
  readonly ddl?: string;
  /** Ids of one row, then its canonical key. */
  readonly ids: readonly unknown[];
  readonly key: string;
  /** The row's key as another program writes it. */
  readonly sql: string;
  readonly bad: readonly unknown[];
}

const CASES: readonly KeyCase[] = [
  {
    type: 'smallint',
    ids: [7, '7', '007', 7n],
    key: '7',
    sql: '7',
    bad: [32768, '7.0', ' 7', '', 'x', Number.NaN],
  },
  { type: 'int', ids: [-7, '-07'], key: '-7', sql: '-7', bad: [2 ** 31, 1.5, '1e3', true] },
  {
    type: 'bigint',
    ids: ['9007199254740993', 9007199254740993n],
    key: '9007199254740993',
    sql: '9007199254740993',
    bad: [2 ** 53, '9223372036854775808'],
  },
  {
    type: 'numeric(20,0)',
    ids: [12, '0012'],
    key: '12',
    sql: '12.0',
    bad: [1.5, '1.0', '100000000000000000000'],
  },
  { type: 'text', ids: ['Ünï:%25'], key: 'Ünï:%25', sql: `'Ünï:%25'`, bad: [7, null, '', 'a\0b', '\ud800'] },
  { type: 'varchar(3)', ids: ['a b'], key: 'a b', sql: `'a b'`, bad: ['a   ', 'abcd'] },
  { type: 'char(4)', ids: ['ab', 'ab  ', 'ab      '], key: 'ab', sql: `'ab  '`, bad: ['abcde', '   '] },
  {
    type: 'uuid',
    ids: ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'],
    key: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    sql: `'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'`,
    bad: ['a0eebc99', 5],
  },
  { type: 'boolean', ids: [true, 'true'], key: 'true', sql: `'yes'`, bad: ['t', 1] },
  {
    type: 'bytea',
    ids: [Buffer.from('abc'), '616263', '\\x616263'],
    key: '616263',
    sql: `'abc'`,
    bad: ['abc', 'zz', Buffer.alloc(1025)],
  },
  {
    type: 'date',
    ids: ['2024-02-29'],
    key: '2024-02-29',
    sql: `DATE '2024-02-29'`,
    bad: [new Date(), '2023-02-29', '29.02.2024'],
  },
  {
    type: 'date',
    ids: ['infinity', Number.POSITIVE_INFINITY],
    key: 'infinity',
    sql: `'infinity'`,
    bad: ['endless'],
  },
  {
    type: 'date',
    ids: ['-infinity', Number.NEGATIVE_INFINITY],
    key: '-infinity',
    sql: `'-infinity'`,
    bad: [Number.NaN],
  },
  {
    type: 'timestamptz',
    ids: ['2024-03-31T10:00:00+02:00', new Date('2024-03-31T08:00:00Z'), '2024-03-31T08:00:00.000000Z'],
    key: '2024-03-31T08:00:00.000000Z',
    sql: `TIMESTAMPTZ '2024-03-31 08:00:00 UTC'`,
    bad: ['2024-03-31', '2024-03-31T08:00:00.0000001Z', new Date(Number.NaN)],
  },
  {
    type: 'timestamptz',
    ids: ['infinity', Number.POSITIVE_INFINITY],
    key: 'infinity',
    sql: `'infinity'`,
    bad: ['never', new Date(Number.POSITIVE_INFINITY)],
  },
  {
    type: 'mood',
    ddl: `CREATE TYPE mood AS ENUM ('very happy', 'sad:%')`,
    ids: ['sad:%'],
    key: 'sad:%',
    sql: `'sad:%'`,
    bad: ['angry', 1],
  },
  {
    type: 'positive',
    ddl: 'CREATE DOMAIN positive AS int CHECK (VALUE > 0)',
    ids: [3, '03'],
    key: '3',
    sql: '3',
    bad: ['x'],
  },
];

describe('keys: every id of a row has one key, the one that the triggers record', () => {
  test.each(CASES)('$type: $key', async ({ type, ddl, ids, key, sql, bad }) => {
    const { pg, knex } = server.store();
    const name = `key_${type}_${key}`.replaceAll(/\W/g, '_').toLowerCase().slice(0, 40);
    if (ddl !== undefined) await knex.raw(ddl);
    await knex.raw(`CREATE TABLE ${name} (id ${type} PRIMARY KEY, other int)`);
    const table = pg.table<{ other: number }, unknown>(name, { key: 'id' });
    await pg.attach(table);
    await table.open();
    for (const id of ids) expect(table.keyOf(id)).toBe(key);
    for (const id of bad) expect(() => table.keyOf(id), String(id)).toThrow(InvalidIdError);
    await knex.transaction(async (trx) => {
      // Settings that change how values print.
      await trx.raw(
        `SET LOCAL DateStyle = 'German'; SET LOCAL TimeZone = 'Asia/Kolkata'; SET LOCAL bytea_output = 'escape'`,
      );
      await trx.raw(`INSERT INTO ${name} VALUES (${sql}, 1)`);
    });
    const { rows } = await knex.raw<{ rows: { key: string }[] }>(
      `SELECT key FROM ${CHANGES} WHERE source = ?`,
      [table.source],
    );
    expect(rows).toEqual([{ key }]);
    const [one] = await table.read([key], READ);
    expect(one?.value.other).toBe(1);
    const many = await table.read([key, key], READ);
    expect(many.map((row) => row?.version)).toEqual([one?.version, one?.version]);
    const [put] = await table.write([{ kind: 'put', key, value: { other: 2 }, above: 0 }], CALL);
    expect(put).toMatchObject({ kind: 'written', value: { other: 2 } });
    const [cas] = await table.write(
      [
        {
          kind: 'put',
          key,
          value: { other: 3 },
          above: 0,
          ifVersion: put?.kind === 'written' ? put.version : 0,
        },
      ],
      CALL,
    );
    expect(cas).toMatchObject({ kind: 'written', value: { other: 3 } });
    expect((await knex.raw<{ rows: unknown[] }>(`SELECT 1 FROM ${name}`)).rows).toHaveLength(1);
  });

  test('composite parts never run into each other', async () => {
    const { pg, knex } = server.store();
    await knex.raw('CREATE TABLE pairs (a text, b text, PRIMARY KEY (a, b))');
    const table = pg.table<object, { a: string; b: string } | readonly string[]>('pairs', {
      key: ['a', 'b'],
    });
    await pg.attach(table);
    await table.open();
    const ids: readonly (readonly [string, string])[] = [
      ['a:b', 'c'],
      ['a', 'b:c'],
      ['a%3Ab', 'c'],
      ['a%253Ab', 'c'],
      ['', 'x'],
      ['x', ''],
    ];
    const keys = ids.map(([a, b]) => table.keyOf({ a, b }));
    expect(new Set(keys).size).toBe(ids.length);
    for (const [a, b] of ids) await knex.raw('INSERT INTO pairs VALUES (?, ?)', [a, b]);
    const { rows } = await knex.raw<{ rows: { key: string }[] }>(
      `SELECT key FROM ${CHANGES} WHERE source = ? ORDER BY version`,
      [table.source],
    );
    expect(rows.map((row) => row.key)).toEqual(keys);
    const found = await table.read(keys, READ);
    expect(found.map((row) => row?.value)).toEqual(ids.map(([a, b]) => ({ a, b })));
    expect(() => table.keyOf(['only'])).toThrow(/\{ a, b \}/);
  });

  test.each([
    ['numeric', /numeric.*1\.0, 1\.00/],
    ['double precision', /no canonical text/],
    ['jsonb', /no canonical text/],
    ['timestamp', /no canonical text/],
    ['text COLLATE anycase', /nondeterministic/],
  ])('a key of type %s is refused, saying why', async (type, message) => {
    const { pg, knex } = server.store();
    await knex.raw(
      `CREATE COLLATION IF NOT EXISTS anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
    );
    const name = `refused_${type.replaceAll(/\W/g, '_')}`.toLowerCase();
    await knex.raw(`CREATE TABLE ${name} (id ${type} PRIMARY KEY)`);
    const opening = pg.table(name, { key: 'id' }).open();
    await expect(opening).rejects.toThrow(InvalidOptionError);
    await expect(opening).rejects.toThrow(message);
  });

  test('a generated column is refused: writers can not set it', async () => {
    const { pg, knex } = server.store();
    await knex.raw(
      `CREATE TABLE coded (a int, code text GENERATED ALWAYS AS ('k' || a::text) STORED NOT NULL UNIQUE)`,
    );
    const attaching = pg.attach(pg.table('coded', { key: 'code' }));
    await expect(attaching).rejects.toThrow(/"code" of public.coded is generated/);
  });

  test('years before Christ have keys of their own', async () => {
    const { pg, knex } = server.store();
    await knex.raw('CREATE TABLE eras (id date PRIMARY KEY)');
    const table = pg.table('eras', { key: 'id' });
    await pg.attach(table);
    await knex.raw(`INSERT INTO eras VALUES ('0044-03-15'), ('0044-03-15 BC')`);
    const { rows } = await knex.raw<{ rows: { key: string }[] }>(
      `SELECT key FROM ${CHANGES} WHERE source = ?`,
      [table.source],
    );
    expect(new Set(rows.map((row) => row.key)).size).toBe(2);
  });
});

describe('an id that is too long', () => {
  const sizes = [2_049, 200_000, 10_000_000];

  test.each([
    ['char(10)', (size: number) => `${' '.repeat(size)}x`],
    ['char(10)', (size: number) => `x${' '.repeat(size)}y`],
    ['text', (size: number) => '€'.repeat(size)],
    ['varchar(4)', (size: number) => ' '.repeat(size)],
    ['uuid', (size: number) => `{${'-'.repeat(size)}}`],
    ['bytea', (size: number) => '0'.repeat(2 * size)],
    ['bytea', (size: number) => new Uint8Array(size)],
    ['bigint', (size: number) => '0'.repeat(size)],
    ['bigint', (size: number) => 1n << BigInt(size)],
    ['date', (size: number) => '1'.repeat(size)],
    ['timestamptz', (size: number) => `2024-01-01T00:00:00.${'0'.repeat(size)}Z`],
  ])('of type %s is refused before anything looks at it', async (type, make) => {
    const { pg, knex } = server.store();
    const name = `long_${type.replaceAll(/\W/g, '_')}`;
    await knex.raw(`CREATE TABLE IF NOT EXISTS ${name} (id ${type} PRIMARY KEY)`);
    const table = pg.table<object, unknown>(name, { key: 'id' });
    await pg.attach(table);
    await table.open();
    const ids = sizes.map((size): unknown => make(size));
    const startedAt = performance.now();
    for (const id of ids) expect(() => table.keyOf(id)).toThrow(InvalidIdError);
    // Time that grew with the square of ten million characters would be hours.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test('counts in bytes, too: the index of deleted keys holds so many', async () => {
    const { pg, knex } = server.store();
    await knex.raw('CREATE TABLE wide (id text PRIMARY KEY)');
    const table = pg.table<object, string>('wide', { key: 'id' });
    await pg.attach(table);
    await table.open();
    expect(table.keyOf('€'.repeat(666))).toHaveLength(666);
    expect(() => table.keyOf('€'.repeat(667))).toThrow('at most 2000 bytes, got 2001');
    expect(() => table.keyOf('x'.repeat(1_025))).toThrow('at most 1024 characters, got 1025');
  });
});

test('a label that an enum gets while its table is open is known soon, in keys and in unique values', async () => {
  const { pg, knex } = server.store();
  await knex.raw(
    `CREATE TYPE kind AS ENUM ('a'); CREATE TABLE kinds (id kind PRIMARY KEY, other kind UNIQUE)`,
  );
  const table = pg.table<{ id: string; other: string | null }, string>('kinds', { key: 'id' });
  await pg.attach(table, { unique: ['other'] });
  await table.open();
  expect(table.keyOf('a')).toBe('a');
  await knex.raw(`ALTER TYPE kind ADD VALUE 'b'`);
  await vi.waitFor(() => expect(table.keyOf('b')).toBe('b'), 15_000);
  await knex.raw(`ALTER TYPE kind RENAME VALUE 'b' TO 'c'`);
  await vi.waitFor(() => expect(table.declared.textOf('other', 'c')).toBe('=c'), 15_000);
  expect(() => table.keyOf('b')).toThrow(/expected one of a, c/);
});
