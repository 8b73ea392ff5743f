import type { StoreCommand } from '@lockstep/core';
import { describe, expect, test } from 'vitest';
import type { PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';
import {
  type Call,
  type Client,
  connectTo,
  SentStatements,
  type Touched,
  touchedBy,
} from './support/statements.js';

const server = testServer({ autovacuum: false });
const sent = new SentStatements();

type Row = Record<string, unknown>;
type Table = PostgresTable<Row, unknown>;

interface Kind {
  readonly what: string;
  readonly create: string;
  readonly key: readonly string[];
  readonly keyOf: (n: number) => string;
  readonly rowsSql: string;
}

const KINDS: readonly Kind[] = [
  {
    what: 'plain',
    create: 'CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, data text)',
    key: ['id'],
    keyOf: String,
    rowsSql: `SELECT g, g, 'row ' || g`,
  },
  {
    what: 'wide',
    create: 'CREATE TABLE t (id text PRIMARY KEY, n int NOT NULL, data text)',
    key: ['id'],
    keyOf: (n) => `k${n}`,
    rowsSql: `SELECT 'k' || g, g, repeat('x', 900)`,
  },
  {
    what: 'composite and partitioned',
    create: `CREATE TABLE t (a int, b text, n int NOT NULL, data text, PRIMARY KEY (a, b)) PARTITION BY HASH (a);
      CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
    key: ['a', 'b'],
    keyOf: (n) => `${n % 10}:b${n}`,
    rowsSql: `SELECT g % 10, 'b' || g, g, 'row ' || g`,
  },
];

/** Small: a scan must show beside it. */
const BATCH = 3;

interface Sent {
  readonly rows: number;
  readonly calls: readonly Call[];
}

/** What each command of a table sends, of one row and of a batch. `restore` undoes what they have done. */
async function sentBy(
  table: Table,
  { keyOf }: Kind,
  store: ReturnType<typeof server.store>['pg'],
  restore: () => Promise<unknown>,
): Promise<Map<string, Sent>> {
  const found = new Map<string, Sent>();
  const [one] = await table.read([keyOf(7)], READ);
  const ifVersion = one?.version ?? 4;
  const version = Date.now() * 1000 + 1;
  const ABSENT = 1_000_000;
  const put = (n: number) => ({ kind: 'put', key: keyOf(n), value: { n, data: 'new' }, above: 0 }) as const;
  const commands: Record<string, (n: number) => StoreCommand<Row>> = {
    put,
    replace: (n) => ({ ...put(n), ifVersion }),
    'replace at another version': (n) => ({ ...put(n), ifVersion: 4 }),
    restamp: (n) => ({ kind: 'restamp', key: keyOf(n), above: 0, ifVersion: 4 }),
    insert: (n) => ({ ...put(n + ABSENT), ifVersion: null }),
    'insert of a row that is there': (n) => ({ ...put(n), ifVersion: null }),
    increment: (n) => ({ kind: 'increment', key: keyOf(n), field: 'n', by: 1, above: 0 }),
    delete: (n) => ({ kind: 'delete', key: keyOf(n), above: 0 }),
    'delete of no row': (n) => ({ kind: 'delete', key: keyOf(n + ABSENT), above: 0 }),
    'flush of a put': (n) => ({ kind: 'flush', key: keyOf(n), value: { n, data: 'new' }, version }),
    'flush of a delete': (n) => ({ kind: 'flush', key: keyOf(n), value: null, version }),
    'flush of a delete of no row': (n) => ({ kind: 'flush', key: keyOf(n + ABSENT), value: null, version }),
  };
  for (const rows of [1, BATCH]) {
    const numbers = Array.from({ length: rows }, (_, n) => n + 7);
    const note = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      sent.calls = [];
      await work();
      const calls = sent.calls.filter(({ text }) => !text.includes('SAVEPOINT'));
      found.set(`${what} of ${rows}`, { rows, calls });
      await restore();
    };
    await note('read', () => table.read(numbers.map(keyOf), READ));
    for (const [what, command] of Object.entries(commands)) {
      await note(what, () => table.write(numbers.map(command), CALL));
    }
    // No settings of ours are sent with these.
    for (const what of ['put', 'replace', 'increment', 'delete', 'flush of a delete']) {
      await note(`${what} in a transaction`, () =>
        store.transactions.transaction(async (tx) => {
          sent.calls = [];
          await table.write(
            numbers.map((n) => commands[what]?.(n) ?? put(n)),
            { ...CALL, tx },
          );
        }, CALL),
      );
    }
  }
  return found;
}

/** What the calls touch. Nothing stays of them. */
function touched(client: Client, name: string, calls: readonly Call[]): Promise<Touched> {
  return touchedBy(client, async () => {
    for (const [index, { text, values }] of calls.entries()) {
      await client.query({ name: `${name} ${index}`, text, values: [...values] });
    }
  });
}

const MODES = ['force_custom_plan', 'force_generic_plan'] as const;

describe.each(KINDS)('on a $what table', (kind) => {
  async function prepared(rows: number) {
    if (server.service === undefined) throw new Error('no server');
    const { url } = await server.service.database();
    const { pg: store, knex } = server.store({ knex: server.knex(url) });
    await knex.raw(kind.create);
    const table = store.table<Row, unknown>('t', { key: kind.key });
    await store.attach(table);
    await table.open();
    const fill = (from: number, to: number): Promise<unknown> =>
      Promise.resolve(
        knex.raw(`DELETE FROM t WHERE n > 1000000; INSERT INTO t ${kind.rowsSql} FROM generate_series(${from}, ${to}) g ON CONFLICT DO NOTHING;
          DELETE FROM lockstep.outbox; DELETE FROM lockstep.tombstone`),
      );
    const sentByAll = () => sentBy(table, kind, store, () => fill(1, 50));
    await fill(1, rows);
    const clients: Client[] = [];
    for (const mode of MODES) clients.push(await connectTo(url, `plan_cache_mode = ${mode}`));
    const end = (): Promise<unknown> => Promise.all(clients.map((client) => client.end()));
    return { knex, fill, clients, end, sentByAll };
  }

  async function expectFew(clients: readonly Client[], statements: ReadonlyMap<string, Sent>): Promise<void> {
    const many: string[] = [];
    for (const [index, client] of clients.entries()) {
      for (const [what, { rows, calls }] of statements) {
        const { feed, table } = await touched(client, what, calls);
        // Of each row up to two lookups, past its dead versions, and a write with its index entry.
        if (table > 20 + 20 * rows) many.push(`${MODES[index]}: ${what}: ${table} blocks of the table`);
        // A delete writes a tombstone, with two indexes, and a record; buffered, and of no row, it looks twice.
        if (feed > 20 + 25 * rows) many.push(`${MODES[index]}: ${what}: ${feed} blocks of the feed`);
      }
    }
    expect(many).toEqual([]);
  }

  test.each([100, 1_000, 10_000, 100_000])(
    'of %d rows no statement touches more than it needs',
    async (rows) => {
      const { clients, end, knex, sentByAll } = await prepared(rows);
      const statements = await sentByAll();
      await expectFew(clients, statements);
      await knex.raw('VACUUM ANALYZE t');
      await knex.raw('ANALYZE');
      await expectFew(clients, statements);
      await end();
    },
  );

  test('that is bloated, beside many tombstones', async () => {
    const { clients, end, knex, sentByAll } = await prepared(5_000);
    for (let i = 0; i < 4; i++) await knex.raw('UPDATE t SET n = n + 1');
    const statements = await sentByAll();
    await knex.raw(
      `INSERT INTO lockstep.tombstone SELECT 'public.t', 'gone' || g, g FROM generate_series(1, 20000) g`,
    );
    await expectFew(clients, statements);
    await end();
  });

  test('that has grown since its plans were made', async () => {
    const { clients, end, fill, knex, sentByAll } = await prepared(50);
    await knex.raw('VACUUM ANALYZE');
    const all = await sentByAll();
    // Inside transactions a plan for a tiny table lasts until its statistics are renewed.
    const statements = new Map([...all].filter(([what]) => !/(?<!^put) in a transaction/.test(what)));
    await expectFew(clients, statements);
    await fill(51, 20_000);
    await expectFew(clients, statements);
    await end();
  });
});
