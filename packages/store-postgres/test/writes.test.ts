import { StoreRefusedError, StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';

interface Thing {
  readonly [property: string]: unknown;
}

const server = testServer();
let knex: Knex;
let pg: PostgresStore;
let things: PostgresTable<Thing, number>;

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw(`
    CREATE TYPE size AS ENUM ('S', 'M'); CREATE TYPE dims AS (w int, h int); CREATE DOMAIN blob AS jsonb;
    CREATE TABLE things (
      id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Full Name" text NOT NULL DEFAULT 'unnamed', price numeric(10,2),
      big int8, ratio float8, ok boolean, data jsonb, raw json, doc blob, tags text[], nums int[], docs jsonb[],
      bytes bytea, at timestamptz, wall timestamp, day date, size size, sizes size[], dims dims, span int4range,
      code char(4), seq int GENERATED ALWAYS AS IDENTITY, double int GENERATED ALWAYS AS (length("Full Name") * 2) STORED,
      CONSTRAINT cheap CHECK (price < 1000), CONSTRAINT named UNIQUE ("Full Name", price))`);
  things = pg.table<Thing, number>('things', { key: 'id', columns: { name: 'Full Name' } });
  await pg.attach(things);
  await things.open();
});

let lastId = 100;
const newKey = (): string => String(++lastId);

async function put(key: string, value: Thing): Promise<Thing> {
  const [outcome] = await things.write([{ kind: 'put', key, value, above: 0 }], CALL);
  if (outcome?.kind !== 'written' || outcome.value === null) throw new Error(JSON.stringify(outcome));
  return outcome.value;
}

const FULL: Thing = {
  name: 'Ü "quoted" \\ \'',
  price: '12.50',
  big: '9007199254740993',
  ratio: 0.1,
  ok: false,
  data: [1, { a: 'x"y' }, null],
  raw: 'a JSON string',
  doc: { d: [true] },
  tags: ['a', 'b,"c"', 'NULL', ''],
  nums: [1, 2],
  docs: [{ a: 1 }, [2]],
  bytes: Buffer.from([0, 255, 92]),
  at: new Date('2024-02-29T12:34:56.789Z'),
  wall: new Date(2024, 1, 29, 12, 34, 56, 789),
  day: new Date(2024, 1, 29),
  size: 'M',
  sizes: '{S,M}',
  dims: '(3,4)',
  span: '[1,5)',
  code: 'ab  ',
};

describe('values', () => {
  test.each(['alone', 'in a batch'])('every type comes back as it was written, %s', async (how) => {
    const [key, other] = [newKey(), newKey()];
    const commands = [key, ...(how === 'alone' ? [] : [other])].map((each, n) => ({
      kind: 'put' as const,
      key: each,
      value: { ...FULL, price: `${n}.50`, name: `${how} ${n}` },
      above: 0,
    }));
    const outcomes = await things.write(commands, CALL);
    const expected = {
      ...FULL,
      price: '0.50',
      name: `${how} 0`,
      id: Number(key),
      double: how.length * 2 + 4,
    };
    expect(outcomes[0]).toMatchObject({ kind: 'written', value: expected });
    const [row] = await things.read([key], READ);
    expect(row?.value).toMatchObject(expected);
    expect(row?.value).not.toHaveProperty('lockstep_version');
    // What was read can be written back, unchanged.
    expect(await put(key, row?.value ?? {})).toEqual(row?.value);
  });

  test('values that are nearly alike are told apart: one property more, undefined or null, another order', async () => {
    const key = newKey();
    const values: Thing[] = [
      { name: 'n', ok: undefined },
      { name: 'n', ok: true },
      { name: 'n', ok: undefined },
      { name: 'n', ok: false, ratio: 1 },
      { ratio: 2, ok: true, name: 'm' },
      { name: 'n', ok: null },
      { name: 'n' },
      {},
    ];
    for (const value of values) {
      const { name = 'unnamed', ok = null, ratio = null } = value;
      expect(await put(key, value)).toMatchObject({ name, ok, ratio });
    }
  });

  test('scalars take the same way without arrays in the row', async () => {
    const { tags, nums, docs, sizes, dims, ...scalars } = FULL;
    expect([tags, nums, docs, sizes, dims]).toBeDefined();
    const value = { ...scalars, name: 'scalars', big: 5n, ratio: Number.POSITIVE_INFINITY, code: 'x' };
    expect(await put(newKey(), value)).toMatchObject({ ...value, big: '5', code: 'x   ' });
    expect(await put(newKey(), { ...value, name: 'nan', ratio: Number.NaN })).toMatchObject({
      ratio: Number.NaN,
    });
  });

  test('a put replaces the whole row: what is left out takes its default, null is NULL', async () => {
    const key = newKey();
    await put(key, { ...FULL, name: 'whole' });
    const value = await put(key, { price: '1.00', data: null });
    expect(value).toMatchObject({
      name: 'unnamed',
      price: '1.00',
      data: null,
      tags: null,
      at: null,
      double: 14,
    });
    const [row] = await things.read([key], READ);
    const [cas] = await things.write(
      [{ kind: 'put', key, value: { ok: true }, above: 0, ifVersion: row?.version ?? 0 }],
      CALL,
    );
    expect(cas).toMatchObject({ kind: 'written', value: { name: 'unnamed', price: null, ok: true } });
  });

  test.each([
    ['an unknown property', { nam: 1 }, /"nam".*known are id, name/],
    ['the version column', { lockstep_version: 5 }, /Lockstep's own/],
    ['the key of another row', { id: 3 }, /key is "3"/],
    ['a function', { name: () => 1 }, /function/],
    ['an invalid Date', { at: new Date(Number.NaN) }, /"at".*invalid Date/],
    ['text that is not Unicode', { name: '\ud800' }, /well-formed/],
    ['JSON that is none', { data: { n: 1n } }, /BigInt/],
  ])('%s is refused before anything is sent, its neighbours are written', async (_, value, message) => {
    const [bad, good] = [newKey(), newKey()];
    const outcomes = await things.write(
      [
        { kind: 'put', key: bad, value, above: 0 },
        { kind: 'put', key: good, value: { ok: true, name: good }, above: 0 },
      ],
      CALL,
    );
    expect(outcomes[1]?.kind).toBe('written');
    const [failed] = outcomes;
    expect(failed?.kind === 'failed' && failed.error).toBeInstanceOf(StoreRefusedError);
    expect(failed?.kind === 'failed' && failed.error.message).toMatch(message);
  });
});

describe('batches', () => {
  test('rows that a constraint refuses fail alone, each with its own reason (G1)', async () => {
    const keys = Array.from({ length: 30 }, newKey);
    const outcomes = await things.write(
      keys.map((key, n) => ({
        kind: 'put',
        key,
        above: 0,
        value: {
          name: n === 4 ? null : n === 21 ? `row ${keys[20]}` : `row ${key}`,
          price: n === 11 ? '1000' : '1',
        },
      })),
      CALL,
    );
    const failed = outcomes.flatMap((outcome, n) =>
      outcome.kind === 'failed' ? [[n, outcome.error.message]] : [],
    );
    expect(failed.map(([n]) => n)).toEqual([4, 11, 21]);
    expect(failed.map(([, message]) => message).join()).toMatch(/Full Name.*not-null.*cheap.*named/);
    const rows = await things.read(keys, READ);
    expect(rows.flatMap((row, n) => (row === undefined ? [n] : []))).toEqual([4, 11, 21]);
  });

  test('texts of any length and alphabet, empty ones and nulls keep their places', async () => {
    const texts = [
      null,
      '',
      'null',
      'NULL',
      '{}',
      '"',
      '\\',
      '  ',
      'ß'.repeat(70_000),
      '👩‍👩‍👧',
      'a\nb',
      "it's",
    ];
    await knex.raw('CREATE TABLE texts (id int PRIMARY KEY, text text)');
    const table = pg.table<{ text: string | null }, number>('texts', { key: 'id' });
    await pg.attach(table);
    await table.open();
    const outcomes = await table.write(
      texts.map((text, id) => ({ kind: 'put', key: String(id), above: 0, value: { text } })),
      CALL,
    );
    expect(outcomes.map((outcome) => outcome.kind === 'written' && outcome.value?.text)).toEqual(texts);
  });

  test('a text that the server cannot hold fails alone', async () => {
    const keys = [newKey(), newKey(), newKey()];
    const outcomes = await things.write(
      keys.map((key, n) => ({ kind: 'put', key, above: 0, value: { name: n === 1 ? 'a\0b' : key } })),
      CALL,
    );
    expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'failed', 'written']);
    const [, failed] = outcomes;
    expect(failed?.kind === 'failed' && failed.error).toBeInstanceOf(StoreRefusedError);
  });

  test('batches over the same rows in any order never deadlock', async () => {
    const keys = Array.from({ length: 40 }, newKey);
    const batch = (order: readonly string[], kind: 'put' | 'increment') =>
      things.write(
        order.map((key) =>
          kind === 'put'
            ? { kind, key, value: { name: key, big: 1 }, above: 0 }
            : { kind, key, field: 'big', by: 1, above: 0 },
        ),
        CALL,
      );
    await batch(keys, 'put');
    const before = await knex.raw<{ rows: unknown }>(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    const rounds = Array.from({ length: 12 }, (_, n) =>
      batch(n % 2 === 0 ? keys : [...keys].reverse(), n % 3 === 0 ? 'put' : 'increment'),
    );
    for (const outcomes of await Promise.all(rounds)) {
      expect(outcomes.every((outcome) => outcome.kind === 'written')).toBe(true);
    }
    const after = await knex.raw<{ rows: unknown }>(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    expect(after.rows).toEqual(before.rows);
  });

  test('one lone put is one round trip', async () => {
    const { knex: own, pg: store } = server.store();
    const table = store.table<Thing, number>('things', { key: 'id', columns: { name: 'Full Name' } });
    await table.open();
    const connection = await own.client.acquireConnection();
    let sent = 0;
    const query = connection.query.bind(connection);
    connection.query = (...args: unknown[]): unknown => {
      sent++;
      return query(...args);
    };
    await own.client.releaseConnection(connection);
    const key = newKey();
    await table.write([{ kind: 'put', key, value: { name: key }, above: 0 }], CALL);
    expect(sent).toBe(1);
  });

  test('increments are exact, refuse NULL and other types, and say when there is no row', async () => {
    const key = newKey();
    await put(key, { name: key, big: 10, price: '1.25' });
    const add = (field: string, by: number) =>
      things.write([{ kind: 'increment', key, field, by, above: 0 }], CALL);
    await Promise.all(Array.from({ length: 20 }, (_, n) => add('big', n)));
    expect((await things.read([key], READ))[0]?.value['big']).toBe('200');
    expect((await add('price', 0.5))[0]).toMatchObject({ kind: 'written', value: { price: '1.75' } });
    expect((await add('ratio', 1))[0]).toMatchObject({
      kind: 'failed',
      error: { message: expect.stringMatching(/NULL/) },
    });
    expect((await add('big', 0.5))[0]).toMatchObject({ kind: 'failed' });
    expect((await add('name', 1))[0]).toMatchObject({
      kind: 'failed',
      error: { message: expect.stringMatching(/numeric/) },
    });
    expect((await add('id', 1))[0]).toMatchObject({
      kind: 'failed',
      error: { message: expect.stringMatching(/key/) },
    });
  });
});

describe('time and connections', () => {
  test('a write that waits too long is cancelled by the server and never commits later (G1)', async () => {
    const key = newKey();
    await put(key, { name: key });
    const holder = await knex.transaction();
    await holder.raw('SELECT 1 FROM things WHERE id = ? FOR UPDATE', [key]);
    const [outcome] = await things.write([{ kind: 'put', key, value: { name: 'late' }, above: 0 }], {
      timeoutMs: 300,
    });
    expect(outcome?.kind === 'failed' && outcome.error).toBeInstanceOf(StoreTimeoutError);
    const waiters = async (): Promise<number> =>
      (
        await knex.raw<{ rows: { n: number }[] }>(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        )
      ).rows[0]?.n ?? 0;
    expect(await waiters()).toBe(0);
    await holder.commit();
    expect((await things.read([key], READ))[0]?.value['name']).toBe(key);
  });

  test('the statement time-out stays with the statement: the user’s own queries have none', async () => {
    const { knex: own, pg: store } = server.store({ knex: server.knex(server.url, 1) });
    const table = store.table<Thing, number>('things', { key: 'id', columns: { name: 'Full Name' } });
    await table.open();
    await table.read(['1'], { ...READ, timeoutMs: 1000 });
    const { rows } = await own.raw<{ rows: unknown[] }>('SHOW statement_timeout');
    expect(rows).toEqual([{ statement_timeout: '0' }]);
  });

  test('a pool that is busy is waited for no longer than the call’s time, and nothing was sent', async () => {
    const { knex: own, pg: store } = server.store({ knex: server.knex(server.url, 1) });
    const table = store.table<Thing, number>('things', { key: 'id', columns: { name: 'Full Name' } });
    await table.open();
    const holder = await own.transaction();
    const key = newKey();
    const [outcome] = await table.write([{ kind: 'put', key, value: { name: key }, above: 0 }], {
      timeoutMs: 100,
    });
    expect(outcome?.kind === 'failed' && outcome.error).toMatchObject({ outcome: 'not-committed' });
    const reason = new Error('gone');
    const reading = table.read([key], { ...READ, signal: AbortSignal.abort(reason) });
    await expect(reading).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = table.read([key], { ...READ, signal: controller.signal });
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await holder.rollback();
    // Connections that came for those who had gone went back.
    expect(await table.read([key], READ)).toEqual([undefined]);
  });

  test('a connection cut while a write is under way leaves its outcome open, and the next call works', async () => {
    const key = newKey();
    await put(key, { name: key });
    const holder = await knex.transaction();
    await holder.raw('SELECT 1 FROM things WHERE id = ? FOR UPDATE', [key]);
    const writing = things.write([{ kind: 'put', key, value: { name: 'cut' }, above: 0 }], CALL);
    for (let killed = 0; killed === 0; ) {
      const { rows } = await knex.raw<{ rows: unknown[] }>(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      killed = rows.length;
    }
    const [outcome] = await writing;
    expect(outcome?.kind === 'failed' && outcome.error).toBeInstanceOf(StoreUnavailableError);
    expect(outcome).toMatchObject({ error: { outcome: 'unknown' } });
    await holder.rollback();
    expect(await put(key, { name: 'after' })).toMatchObject({ name: 'after' });
  });

  test('a server that is not there is unavailable, and nothing was committed', async () => {
    const { pg: store } = server.store({ knex: server.knex('postgres://nobody@127.0.0.1:1/none') });
    const table = store.table('things', { key: 'id' });
    await expect(table.open()).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'not-committed',
    });
  });

  test('columns that are added, and plans that go stale with them, do not disturb writers', async () => {
    await knex.raw('CREATE TABLE changing (id int PRIMARY KEY, n int)');
    const table = pg.table<Thing, number>('changing', { key: 'id' });
    await pg.attach(table);
    await table.open();
    const write = (value: Thing) => table.write([{ kind: 'put', key: '1', value, above: 0 }], CALL);
    for (let n = 0; n < 8; n++) expect((await write({ n }))[0]?.kind).toBe('written');
    await knex.raw('ALTER TABLE changing ADD COLUMN m int DEFAULT 7; ALTER TABLE changing ALTER n TYPE int8');
    expect((await write({ n: 9 }))[0]).toMatchObject({ kind: 'written', value: { n: '9' } });
    const { rows } = await knex.raw<{ rows: unknown[] }>('SELECT m FROM changing');
    expect(rows).toEqual([{ m: 7 }]);
  });

  test('reads go to the replica only when they may lag', async () => {
    const replica = server.knex();
    const { pg: store } = server.store({ knex, replica });
    const table = store.table<Thing, number>('things', { key: 'id', columns: { name: 'Full Name' } });
    expect(table.capabilities.replicaReads).toBe(true);
    expect(things.capabilities.replicaReads).toBe(false);
    await table.open();
    await table.read(['1'], READ);
    expect(replica.client.pool.numUsed() + replica.client.pool.numFree()).toBe(0);
    await table.read(['1'], { ...READ, primary: false });
    expect(replica.client.pool.numUsed() + replica.client.pool.numFree()).toBe(1);
  });
});
