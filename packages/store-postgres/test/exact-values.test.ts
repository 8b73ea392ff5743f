import { isDeepStrictEqual } from 'node:util';
import {
  type Collection,
  type CollectionOptions,
  createLockstep,
  type Lockstep,
  type Serializer,
} from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import knexPackage, { type Knex } from 'knex';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { postgresStore } from '../src/index.js';
import { testServer } from './support/database.js';

const server = testServer();
let knex: Knex;

/** Types, and values of each that JavaScript, JSON or a time zone could change. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  smallint: ['-32768'],
  integer: ['0', '2147483647'],
  bigint: ['9007199254740993', '-9223372036854775808'],
  'numeric(10,2)': ['1.10'],
  numeric: ['1234567890.12345678901234567890', 'NaN', '-Infinity'],
  real: ['0.1', '-0', 'NaN', 'Infinity'],
  'double precision': ['0.1', '-0', 'NaN', 'Infinity', '-Infinity', '1e300'],
  money: ['12.34'],
  boolean: ['true', 'false'],
  text: ['', 'a "b" \\ ü 😀', '~d', '\\xff', '[1]'],
  'char(5)': ['ab'],
  'varchar(9)': ['ab '],
  '"char"': ['x'],
  name: ['a name'],
  citish: ['Dom'],
  positive: ['7'],
  moment: ['2024-05-06 07:08:09.123456'],
  bytea: ['\\x', '\\xdeadbeef00'],
  date: ['2024-03-31', 'infinity', '-infinity', '0044-03-15 BC', '9999-12-31'],
  time: ['07:08:09.123456'],
  timetz: ['07:08:09.5+02'],
  timestamp: ['2024-05-06 07:08:09.123456', 'infinity', '0044-03-15 12:00:00 BC', '1900-01-01 00:00:00'],
  timestamptz: ['2024-05-06 07:08:09.123456+00', '-infinity', '0044-03-15 00:00:00+00 BC'],
  interval: ['1 mon 2 days 03:04:05.678901', '1 day', '-3 days', '0', '24:00:00'],
  json: [
    '{"b":1, "a":2,  "big": 12345678901234567890}',
    'null',
    '-0',
    '[-0.0]',
    '1e999',
    '"text"',
    '{"__proto__": 1}',
    '{"~d": "x"}',
  ],
  jsonb: ['{"n": 12345678901234567890.5, "x": 1.10}', 'null', '[1,[2,null]]', 'true', '{}'],
  uuid: ['6c3f2e1a-0000-4000-8000-00000000000b'],
  int4range: ['[1,5)', 'empty', '(,)'],
  tstzrange: ['[2024-01-01 00:00:00.123456+00,)'],
  int4multirange: ['{[1,3),[5,8)}'],
  point: ['(1.5,2)', '(NaN,-0)', '(Infinity,1e300)'],
  line: ['{1,2,3}'],
  lseg: ['[(0,0),(1,1)]'],
  box: ['(2,2),(1,1)'],
  path: ['((0,0),(1,1),(2,0))', '[(0,0),(1,1)]'],
  polygon: ['((0,0),(1,1),(2,0))'],
  circle: ['<(1.5,2),3>'],
  inet: ['10.0.0.1/8'],
  cidr: ['10.0.0.0/8'],
  macaddr: ['08:00:2b:01:02:03'],
  'bit(3)': ['101'],
  'bit varying': ['10101'],
  xml: ['<a/>'],
  tsvector: ['a fat cat'],
  tsquery: ['fat & rat'],
  pg_lsn: ['16/B374D848'],
  size: ['S'],
  dims: ['(3,"a ""b""")'],
  oid: ['4294967295'],
};

const names: string[] = [];

/** Each type, and arrays of it; a row for each round of values. */
function ddl(): string {
  const columns = Object.keys(TYPES).flatMap((type, n) => {
    names.push(`c${n}`, `a${n}`);
    return [`c${n} ${type}`, `a${n} ${type}[]`];
  });
  return `CREATE TYPE size AS ENUM ('S', 'M'); CREATE TYPE dims AS (w int, label text);
    CREATE DOMAIN citish AS text; CREATE DOMAIN positive AS int CHECK (value > 0); CREATE DOMAIN moment AS timestamp;
    CREATE TABLE kinds (id int PRIMARY KEY, name text, ${columns.join(', ')})`;
}

const ROUNDS = Math.max(...Object.values(TYPES).map((values) => values.length));

function insertSql(round: number): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const values = Object.entries(TYPES).flatMap(([type, texts]) => {
    const value = `${quoted(texts[round % texts.length] as string)}::${type}`;
    return [value, `ARRAY[${value}, NULL, ${value}]`];
  });
  return `INSERT INTO kinds VALUES (${round}, 'first', ${values.join(', ')})`;
}

/** The row as pg gives it to this process. */
async function driverRow(id: number): Promise<Record<string, unknown>> {
  const { lockstep_version: _, ...row } = (await knex('kinds').where({ id }).first()) as Record<
    string,
    unknown
  >;
  return row;
}

/** Every column as the server itself writes it, but for those that are named. */
async function serverTexts(id: number, ...except: string[]): Promise<Record<string, unknown>> {
  const shown = ['id', 'name', ...names].filter((name) => !except.includes(name));
  const { rows } = await knex.raw(
    `SELECT ${shown.map((name) => `"${name}"::text`).join(', ')} FROM kinds WHERE id = ${id}`,
  );
  return rows[0] as Record<string, unknown>;
}

function expectSame(actual: unknown, expected: Record<string, unknown>): void {
  const row = actual as Record<string, unknown>;
  const differs = Object.keys(expected).filter((name) => !isDeepStrictEqual(row?.[name], expected[name]));
  expect(differs.map((name) => [name, row?.[name], expected[name]])).toEqual([]);
  expect(isDeepStrictEqual(row, expected)).toBe(true);
}

type Kinds = Collection<Record<string, unknown>, number>;
const open: Lockstep[] = [];
const shared = memoryCache();

function process_(
  serializer: Serializer | undefined,
  prefix: string,
  own: Knex = knex,
  more: Pick<CollectionOptions<Record<string, unknown>>, 'strategy' | 'consistency'> = {},
): Kinds {
  const lockstep = createLockstep({ cache: shared, prefix });
  open.push(lockstep);
  const store = postgresStore({ knex: own }).table<Record<string, unknown>, number>('kinds', { key: 'id' });
  return lockstep.collection({
    name: 'kinds',
    store,
    ...more,
    ...(serializer === undefined ? {} : { serializer }),
  });
}

const homeZone = process.env['TZ'];

beforeAll(async () => {
  knex = server.knex();
  await knex.raw(ddl());
  for (let round = 0; round < ROUNDS; round++) await knex.raw(insertSql(round));
  const pg = postgresStore({ knex });
  await pg.attach(pg.table('kinds', { key: 'id' }));
});
afterEach(() => {
  process.env['TZ'] = homeZone ?? 'UTC';
});
afterAll(async () => {
  for (const lockstep of open) await lockstep.drain();
});

let last = 0;
const newPrefix = (): string => `exact${++last}`;

describe.each([
  ['JSON', undefined],
  ['MessagePack', msgpackSerializer()],
])('every type, with %s', (_, serializer) => {
  test.each(Array.from({ length: ROUNDS }, (_, round) => round))(
    'row %i: miss, hit, update and a hit after it are what pg gives',
    async (id) => {
      const prefix = newPrefix();
      const [one, other] = [process_(serializer, prefix), process_(serializer, prefix)];
      const expected = await driverRow(id);
      const before = await serverTexts(id, 'name');
      expectSame(await one.get(id), expected);
      const hit = await other.getVersioned(id);
      expect(hit.from).toBe('cache');
      expectSame(hit.value, expected);

      let seen: unknown;
      const result = await other.update(id, (row) => {
        seen = row;
        return { ...row, name: prefix };
      });
      expectSame(seen, expected);
      expectSame(result.value, { ...expected, name: prefix });
      const after = await one.getVersioned(id);
      expect(after.from).toBe('cache');
      expectSame(after.value, { ...expected, name: prefix });
      expect(await serverTexts(id, 'name')).toEqual(before);

      expectSame((await one.patch(id, { name: 'patched' })).value, { ...expected, name: 'patched' });
      expectSame(await other.get(id), { ...expected, name: 'patched' });
      expect(await serverTexts(id, 'name')).toEqual(before);
      const same = await one.update(id, (row) => ({ ...row }));
      expectSame(same.value, { ...expected, name: 'patched' });
      await knex('kinds').where({ id }).update({ name: 'first' });
    },
  );

  test('a hit in another time zone is what pg gives there, and an update there moves nothing', async () => {
    const prefix = newPrefix();
    process.env['TZ'] = 'Asia/Tokyo';
    const before = await serverTexts(0, 'name');
    await process_(serializer, prefix).get(0);
    for (const zone of ['America/New_York', 'Asia/Kolkata', 'UTC']) {
      process.env['TZ'] = zone;
      const there = process_(serializer, prefix);
      const expected = await driverRow(0);
      const hit = await there.getVersioned(0);
      expect(hit.from).toBe('cache');
      expectSame(hit.value, expected);
      await there.update(0, (row) => ({ ...row, name: zone }));
      expect(await serverTexts(0, 'name')).toEqual(before);
    }
  });

  test('what this process reads can be put, and a put of dates means the wall time of its caller', async () => {
    const prefix = newPrefix();
    process.env['TZ'] = 'Asia/Tokyo';
    const column = (type: string): string => `c${Object.keys(TYPES).indexOf(type)}`;
    const [date, timestamp, timestamptz] = [column('date'), column('timestamp'), column('timestamptz')];
    const value = {
      [date]: new Date(2000, 2, 10),
      [timestamp]: new Date(2000, 2, 10, 12),
      [timestamptz]: new Date(Date.UTC(2000, 2, 10, 12)),
    };
    const put = await process_(serializer, prefix).put(900, value);
    expectSame(put.value, await driverRow(900));
    process.env['TZ'] = 'America/New_York';
    const hit = await process_(serializer, prefix).getVersioned(900);
    expect(hit.from).toBe('cache');
    expectSame(hit.value, await driverRow(900));
    expect(await serverTexts(900)).toMatchObject({
      [date]: '2000-03-10',
      [timestamp]: '2000-03-10 12:00:00',
      [timestamptz]: '2000-03-10 12:00:00+00',
    });
  });

  test('a buffered write means what its caller meant, whoever flushes it, and ends up as the row', async () => {
    const prefix = newPrefix();
    const behind = { strategy: 'write-behind' } as const;
    const column = (type: string): string => `c${Object.keys(TYPES).indexOf(type)}`;
    const [date, timestamp, numeric] = [column('date'), column('timestamp'), column('numeric(10,2)')];
    const [float, interval, char] = [column('double precision'), column('interval'), column('char(5)')];
    await knex.raw("INSERT INTO kinds (id, name) VALUES (800, 'old') ON CONFLICT DO NOTHING");
    process.env['TZ'] = 'Asia/Tokyo';
    const here = process_(serializer, prefix, knex, behind);
    await here.get(800);
    const value = {
      id: 800,
      name: prefix,
      [date]: new Date(2000, 2, 10),
      [timestamp]: new Date(2000, 2, 10, 12),
      [numeric]: 2.505,
      [float]: Number.NaN,
      [interval]: '1 day',
      [char]: 'ab',
    };
    expect(await here.put(800, value)).toMatchObject({ store: 'buffered' });
    expect(await here.get(800)).toEqual(value);
    process.env['TZ'] = 'America/New_York';
    const there = process_(serializer, prefix, knex, behind);
    expect(await there.get(800)).toMatchObject({
      [date]: new Date(2000, 2, 10),
      [timestamp]: new Date(2000, 2, 10, 12),
    });
    await there.flush();
    expect(await serverTexts(800)).toMatchObject({
      [date]: '2000-03-10',
      [timestamp]: '2000-03-10 12:00:00',
      [numeric]: '2.51',
      [float]: 'NaN',
    });
    for (const zone of ['America/New_York', 'Asia/Tokyo']) {
      process.env['TZ'] = zone;
      const hit = await (zone === 'Asia/Tokyo' ? here : there).getVersioned(800);
      expect(hit.from).toBe('cache');
      expectSame(hit.value, await driverRow(800));
    }
  });

  test('readers who share a load, of which any fills', async () => {
    const prefix = newPrefix();
    const collections = [process_(serializer, prefix), process_(serializer, newPrefix())];
    const [one, two] = collections as [Kinds, Kinds];
    const expected = await driverRow(2);
    const read = await Promise.all([
      one.get(2),
      one.get(2),
      two.get(2),
      one.get(2, { fresh: true }),
      one.get(2),
    ]);
    for (const row of read) expectSame(row, expected);
    expectSame(await one.get(2), expected);
    expectSame(await process_(serializer, prefix).get(2), expected);
  });

  test('rows of a transaction, and what a strict collection holds', async () => {
    const prefix = newPrefix();
    const strict = { consistency: 'strict' } as const;
    const [one, other] = [
      process_(serializer, prefix, knex, strict),
      process_(serializer, prefix, knex, strict),
    ];
    const expected = await driverRow(1);
    await open.at(-2)?.transaction(async (tx) => {
      expectSame(await one.get(1, { tx }), expected);
      const { value } = await one.patch(1, { name: 'inside' }, { tx });
      expectSame(value, { ...expected, name: 'inside' });
    });
    const hit = await other.getVersioned(1);
    expect(hit.from).toBe('cache');
    expectSame(hit.value, { ...expected, name: 'inside' });
    const [first, ...others] = await Promise.all(
      Array.from({ length: 5 }, (_, n) => other.patch(1, { name: `patch ${n}` })),
    );
    expect(others).toHaveLength(4);
    const patched = { ...expected, name: 'patch 4' };
    expectSame(first?.value, patched);
    for (const each of others) expectSame(each.value, patched);
    expectSame(await one.get(1), patched);
  });
});

/** JSON whose big numbers are kept as texts. */
const bigJson = (text: string): unknown => JSON.parse(text.replaceAll(/\b\d{17,}(?:\.\d+)?\b/g, '"$&"'));

test('processes of other parsers get what their own make of the row', async () => {
  const prefix = newPrefix();
  const pgTypes = (
    knex.client as { driver: { types: { getTypeParser(oid: number, format: 'text'): unknown } } }
  ).driver.types;
  const parsing = knexPackage({
    client: 'pg',
    connection: {
      connectionString: server.url,
      types: {
        getTypeParser: (oid: number) => {
          if (oid === 20 || oid === 1700) return Number;
          if (oid === 114 || oid === 3802) return bigJson;
          return oid === 1184 ? (text: string) => `moment ${text}` : pgTypes.getTypeParser(oid, 'text');
        },
      },
    } as Knex.PgConnectionConfig,
    searchPath: ['public'],
  });
  try {
    const [plain, other] = [process_(undefined, prefix), process_(undefined, prefix, parsing)];
    const { lockstep_version: _, ...expected } = await parsing('kinds').where({ id: 0 }).first();
    const usual = await driverRow(0);
    expect(expected).not.toEqual(usual);
    expectSame(await plain.get(0), usual);
    expectSame(await other.get(0), expected);
    expectSame(await plain.get(0), usual);
    expectSame(await other.get(0), expected);
    expect((await other.getVersioned(0)).from).toBe('cache');
  } finally {
    await parsing.destroy();
  }
});
