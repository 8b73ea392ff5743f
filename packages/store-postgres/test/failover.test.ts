import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PostgresService, startPostgres } from '@lockstep/dev-services';
import knexPackage, { type Knex } from 'knex';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type PostgresStore, type PostgresTable, postgresStore } from '../src/index.js';
import { CALL, READ } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

const POOL = 4;

let servers: PostgresService[] = [];
let admins: Knex[] = [];
let primary = 0;
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, number>;

beforeAll(async () => {
  servers = await Promise.all([startPostgres({ owned: true }), startPostgres({ owned: true })]);
  admins = servers.map(({ url }) =>
    knexPackage.knex({ client: 'pg', connection: url, searchPath: ['public'] }),
  );
  for (const admin of admins) {
    await admin.raw('CREATE TABLE items (id int PRIMARY KEY, n int)');
    const store = postgresStore({ knex: admin });
    await store.attach(store.table('items', { key: 'id' }));
  }
});

afterAll(async () => {
  for (const admin of admins) await admin.destroy();
  for (const server of servers) await server.stop();
});

/** As a name does whose address changes: connections that are made lead to where the primary is then. */
beforeEach(async () => {
  primary = 0;
  knex = knexPackage.knex({
    client: 'pg',
    connection: async () => {
      const at = primary;
      const url = new URL(servers[at]?.url ?? '');
      return {
        host: url.hostname,
        port: Number(url.port),
        user: url.username,
        password: decodeURIComponent(url.password),
        database: url.pathname.slice(1),
        // Otherwise knex keeps the first answer.
        expirationChecker: () => at !== primary,
      };
    },
    pool: { min: 0, max: POOL },
    searchPath: ['public'],
  });
  pg = postgresStore({ knex });
  items = pg.table<Item, number>('items', { key: 'id' });
  await items.open();
  await admins[0]?.raw('TRUNCATE items');
  await admins[1]?.raw('TRUNCATE items');
  await admins[0]?.raw('INSERT INTO items VALUES (1, 10)');
  await admins[1]?.raw('INSERT INTO items VALUES (1, 20)');
  // Every connection of the pool leads to the old primary.
  await Promise.all(Array.from({ length: POOL }, () => knex.raw('SELECT pg_sleep(0.05)')));
  await Promise.all(Array.from({ length: POOL }, () => items.read(['1'], READ)));
});

afterEach(async () => {
  await pg.close();
  await knex.destroy();
  await setReadOnly(admins[0] as Knex, 'off');
});

async function setReadOnly(admin: Knex, value: 'on' | 'off'): Promise<void> {
  await admin.raw(`ALTER SYSTEM SET default_transaction_read_only = ${value}`);
  await admin.raw('SELECT pg_reload_conf()');
  // A session reads its settings anew before its next statement, once it has been told.
  for (;;) {
    const { rows } = await admin.raw<{ rows: { default_transaction_read_only: string }[] }>(
      'SHOW default_transaction_read_only',
    );
    if (rows[0]?.default_transaction_read_only === value) return;
  }
}

/** The old primary turns read-only, and the other server is the primary from now on. */
async function failOver(): Promise<void> {
  await setReadOnly(admins[0] as Knex, 'on');
  // Every pooled session has been told as well.
  for (;;) {
    const states = await Promise.all(
      Array.from({ length: POOL }, () =>
        knex.raw<{ rows: { state: string }[] }>(
          "SELECT current_setting('default_transaction_read_only') AS state, pg_sleep(0.02)",
        ),
      ),
    );
    if (states.every(({ rows }) => rows[0]?.state === 'on')) break;
  }
  primary = 1;
}

const put = { kind: 'put', key: '1', value: { id: 1, n: 2 }, above: 0 } as const;

async function onPrimary(): Promise<number | undefined> {
  const rows = await (admins[1] as Knex)('items').select<{ n: number }[]>('n');
  return rows[0]?.n;
}

describe('a server that was the primary', () => {
  test('is left with the first write that it refuses, and so are the other connections to it', async () => {
    await failOver();
    expect(await items.write([put], CALL)).toMatchObject([{ kind: 'written' }]);
    expect(await onPrimary()).toBe(2);
    const reads = Array.from({ length: POOL }, () => items.read(['1'], READ));
    for (const [row] of await Promise.all(reads)) expect(row?.value).toEqual({ id: 1, n: 2 });
  });

  test('answers no read, which might fill the cache with what is old', async () => {
    await failOver();
    expect(await items.read(['1'], READ)).toMatchObject([{ value: { n: 20 } }]);
    const reads = Array.from({ length: 3 * POOL }, () => items.read(['1'], { ...READ, primary: false }));
    for (const [row] of await Promise.all(reads)) expect(row?.value.n).toBe(20);
  });

  test('fails calls while there is no other, certainly without having written', async () => {
    await failOver();
    primary = 0;
    const error = { code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome: 'not-committed' };
    expect(await items.write([put], CALL)).toMatchObject([{ kind: 'failed', error }]);
    await expect(items.read(['1'], READ)).rejects.toMatchObject(error);
    primary = 1;
    expect(await items.write([put], CALL)).toMatchObject([{ kind: 'written' }]);
  });

  test('is left by a transaction that it refused, whatever statement it was', async () => {
    await failOver();
    const transaction = () =>
      pg.transactions.transaction(async ({ client }) => {
        await (client as Knex.Transaction).raw('UPDATE items SET n = 3');
      }, CALL);
    await expect(transaction()).rejects.toThrow(/read-only/);
    await transaction();
    expect(await onPrimary()).toBe(3);
  });

  test('is left by the feed', async () => {
    const ending = new AbortController();
    const seen: string[] = [];
    const errors: unknown[] = [];
    await failOver();
    await admins[1]?.raw('DELETE FROM lockstep.outbox; INSERT INTO items VALUES (7, 7)');
    const { promise: arrived, resolve } = Promise.withResolvers<void>();
    const consuming = pg.feed.consume(
      async (changes) => {
        seen.push(...changes.map(({ key }) => key));
        if (seen.includes('7')) resolve();
      },
      { signal: ending.signal, sources: ['public.items'], onError: (error) => errors.push(error) },
    );
    await arrived;
    ending.abort();
    await consuming;
    expect(errors.length).toBeLessThanOrEqual(1);
  });
});

test('a transaction that is read-only itself, on a primary, costs no connection', async () => {
  const pids = async (): Promise<unknown> =>
    (await knex.raw<{ rows: unknown }>('SELECT pg_backend_pid()')).rows;
  await setReadOnly(admins[0] as Knex, 'off');
  const before = await pids();
  const writing = pg.transactions.transaction(async ({ client }) => {
    await (client as Knex.Transaction).raw('SET TRANSACTION READ ONLY; UPDATE items SET n = 3');
  }, CALL);
  await expect(writing).rejects.toThrow(/read-only/);
  expect(await pids()).toEqual(before);
});

test('a role that only wants to read is on a primary still', async () => {
  const admin = admins[1] as Knex;
  const url = new URL(servers[1]?.url ?? '');
  url.searchParams.set('options', '-c default_transaction_read_only=on');
  const reader = knexPackage.knex({ client: 'pg', connection: url.href, searchPath: ['public'] });
  const store = postgresStore({ knex: reader });
  try {
    const table = store.table<Item, number>('items', { key: 'id' });
    await table.open();
    expect(await table.read(['1'], READ)).toMatchObject([{ value: { n: 20 } }]);
    await admin.raw('UPDATE items SET n = 21');
    expect(await table.read(['1'], READ)).toMatchObject([{ value: { n: 21 } }]);
  } finally {
    await store.close();
    await reader.destroy();
  }
});

test('the doctor names a server that is set to read only, and a standby', async () => {
  const isWell = false;
  await setReadOnly(admins[0] as Knex, 'on');
  const readOnly = expect.stringContaining('default_transaction_read_only is on');
  expect(await items.installation?.examine?.()).toContainEqual({ what: 'server', isWell, says: readOnly });
  const [, server] = servers as [PostgresService, PostgresService];
  const { rows } = await (admins[1] as Knex).raw<{ rows: { data_directory: string }[] }>(
    'SHOW data_directory',
  );
  writeFileSync(join(rows[0]?.data_directory ?? '', 'standby.signal'), '');
  await server.process?.restart();
  const standby = knexPackage.knex({ client: 'pg', connection: server.url, searchPath: ['public'] });
  const there = postgresStore({ knex: standby }).table<Item, number>('items', { key: 'id' });
  try {
    const says = expect.stringContaining('a standby takes no writes: connect to the primary');
    expect(await there.installation?.examine?.()).toContainEqual({ what: 'server', isWell, says });
    await expect(there.open()).rejects.toThrow(/read-only, and so no primary: a standby/);
  } finally {
    await standby.destroy();
  }
});
