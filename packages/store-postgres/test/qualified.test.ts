import { createRequire } from 'node:module';
import type { StoreCommand } from '@lockstep/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CALL, positionsOf, READ, testServer } from './support/database.js';
import { unqualified } from './support/unqualified.js';

const server = testServer();

interface Sent {
  readonly text: string;
  /** Sent in a transaction whose `search_path` is Lockstep's own. */
  readonly safe: boolean;
}

interface Connection {
  parse(message: { text: string }): void;
  query(text: string): void;
  sync(): void;
}

const { prototype } = (createRequire(import.meta.url)('pg') as { Connection: { prototype: Connection } })
  .Connection;
const { parse, query, sync } = prototype;
const sent: Sent[] = [];

const SETS_PATH =
  /set_config\('search_path', 'pg_catalog, pg_temp', true\)|SET LOCAL search_path = pg_catalog, pg_temp/;

/** Notes what goes to the server, on all connections. */
beforeAll(() => {
  const safe = new WeakSet<Connection>();
  const inTransaction = new WeakSet<Connection>();
  const note = (connection: Connection, text: string): void => {
    if (/^BEGIN/i.test(text)) inTransaction.add(connection);
    if (/^(?:COMMIT|ROLLBACK;?$)/i.test(text)) {
      inTransaction.delete(connection);
      safe.delete(connection);
    }
    sent.push({ text, safe: safe.has(connection) });
    if (SETS_PATH.test(text)) safe.add(connection);
    if (text.includes("current_setting('lockstep.search_path'), true)")) safe.delete(connection);
  };
  prototype.parse = function (message) {
    note(this, message.text);
    parse.call(this, message);
  };
  prototype.query = function (text) {
    note(this, text);
    query.call(this, text);
  };
  prototype.sync = function () {
    if (!inTransaction.has(this)) safe.delete(this);
    sync.call(this);
  };
});

afterAll(() => {
  Object.assign(prototype, { parse, query, sync });
});

type Row = Record<string, unknown>;

function commands(key: (n: number) => string, value: (n: number) => Row, n: number): StoreCommand<Row>[] {
  const version = Date.now() * 1000 + 1;
  return [
    { kind: 'put', key: key(n), value: value(n), above: 0 },
    { kind: 'put', key: key(n + 1), value: value(n + 1), above: 0, ifVersion: null },
    { kind: 'put', key: key(n), value: value(n), above: 0, ifVersion: 4 },
    { kind: 'increment', key: key(n), field: 'n', by: 1, above: 0 },
    { kind: 'restamp', key: key(n), above: 0, ifVersion: 4 },
    { kind: 'flush', key: key(n + 2), value: value(n + 2), version },
    { kind: 'flush', key: key(n + 3), value: null, version },
    { kind: 'delete', key: key(n), above: 0 },
  ];
}

test('no name in what is sent or installed is left to the search_path', async () => {
  if (server.service === undefined) throw new Error('no server');
  const { pg, knex } = server.store({ knex: server.knex((await server.service.database()).url) });
  await knex.raw(`CREATE TYPE mood AS ENUM ('sad', 'fine'); CREATE DOMAIN few AS int;
    CREATE TABLE one (id varchar PRIMARY KEY, n few, data jsonb, tags text[], m mood);
    CREATE TABLE two (a mood, b timestamptz, "c:" char(3), n numeric, PRIMARY KEY (a, b, "c:"))`);
  const one = pg.table<Row>('one', { key: 'id' });
  const two = pg.table<Row>('two', { key: ['a', 'b', 'c:'] });
  sent.length = 0;
  await pg.attach([one, two]);
  await pg.attach(one, { grantTo: ['pg_database_owner'] });
  const bindings = [
    {
      table: one,
      key: (n: number) => `k${n}`,
      value: (n: number): Row => ({ n, data: { n }, tags: ['a'], m: 'sad' }),
    },
    {
      table: two,
      key: (n: number) => `fine:2026-01-01T00%3A00%3A00.000000Z:${n}`,
      value: (n: number): Row => ({ n: String(n) }),
    },
  ];
  for (const { table, key, value } of bindings) {
    await table.open();
    for (const command of commands(key, value, 1)) await table.write([command], CALL);
    await table.write(
      [4, 5].map((n) => ({ kind: 'put', key: key(n), value: value(n), above: 0 })),
      CALL,
    );
    await table.write(
      [4, 5].map((n) => ({ kind: 'put', key: key(n), value: { n }, above: 0 })),
      CALL,
    );
    await pg.transactions.transaction(async (tx) => {
      for (const command of commands(key, value, 6)) await table.write([command], { ...CALL, tx });
      await table.write(
        [8, 9].map((n) => ({ kind: 'put', key: key(n), value: value(n), above: 0 })),
        { ...CALL, tx },
      );
      await tx.changes();
    }, CALL);
    await table.read([key(1)], READ);
    await table.read([key(1), key(2)], READ);
  }
  const sources = [one.source, two.source];
  const positions = await positionsOf(pg, ...sources);
  await pg.feed.registry.lease('test', new Map([[one.source, 1]]), 'holder', 1_000);
  await pg.feed.registry.replayed('test', new Map([[one.source, 1]]), 'holder');
  await pg.feed.registry.release('test', 'holder');
  await pg.feed.status(sources);
  const stop = new AbortController();
  await pg.feed.consume(
    async (changes) => {
      pg.feed.acknowledge(changes);
      stop.abort();
    },
    { sources, signal: stop.signal },
  );
  await pg.feed.replay(positions, async () => {}, {
    sources,
    signal: new AbortController().signal,
  });
  await pg.feed.close();
  const installed = await knex.raw<{ rows: { body: string }[] }>(
    `SELECT prosrc AS body FROM pg_catalog.pg_proc WHERE pronamespace = 'lockstep'::regnamespace`,
  );
  const exposed = sent.filter(({ safe }) => !safe).map(({ text }) => text);
  await pg.detach([one, two]);
  expect(exposed.length).toBeGreaterThan(40);
  const own = exposed.filter((text) => !text.startsWith('SELECT prosrc'));
  expect(own.flatMap((text) => unqualified(text))).toEqual([]);
  // Their path is the catalogue's: operators come from nowhere else.
  expect(installed.rows.flatMap(({ body }) => unqualified(body, { operators: true }))).toEqual([]);
});

test.each([
  ['SELECT max(version) FROM lockstep.outbox', 'max('],
  ['SELECT $1::text', '::text'],
  ['SELECT * FROM "public"."t" t WHERE t."a" = $1::pg_catalog.int4', '='],
  ['SELECT * FROM a JOIN b USING ("#n")', 'USING ('],
  ['SELECT * FROM t WHERE a IN (SELECT 1)', 'IN ('],
  ['UPDATE t SET a = b + 1', '+'],
  ["SELECT a || ':'", '||'],
])('the check finds %s', (sql, found) => {
  expect(unqualified(sql).join()).toContain(found);
});
