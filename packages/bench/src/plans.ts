import { createRequire } from 'node:module';
import type { StoreCommand } from '@lockstep/core';
import { startPostgres } from '@lockstep/dev-services';
import { type PostgresTable, postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { DURABLE } from './bursts/postgres.js';

/** The part of pg's client that is used. */
interface Client {
  connect(): Promise<void>;
  end(): Promise<void>;
  escapeLiteral(text: string): string;
  query<T>(sql: string): Promise<{ rows: T[] }>;
}

interface Connection {
  parse(message: { name: string; text: string }): void;
  bind(message: { statement: string; values: readonly unknown[] }): void;
}

const pg = createRequire(import.meta.url)('pg') as {
  Client: new (url: string) => Client;
  Connection: { prototype: Connection };
};

type Row = Record<string, unknown>;

interface Call {
  readonly text: string;
  readonly values: readonly unknown[];
}

interface Kind {
  readonly create: string;
  readonly key: readonly string[];
  readonly keyOf: (n: number) => string;
  readonly rowsSql: string;
}

export const KINDS: Readonly<Record<string, Kind>> = {
  plain: {
    create: 'CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, data text)',
    key: ['id'],
    keyOf: String,
    rowsSql: `SELECT g, g, repeat('x', 100)`,
  },
  partitioned: {
    create: `CREATE TABLE t (a int, b text, n int NOT NULL, data text, PRIMARY KEY (a, b)) PARTITION BY HASH (a);
      CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
    key: ['a', 'b'],
    keyOf: (n) => `${n % 10}:b${n}`,
    rowsSql: `SELECT g % 10, 'b' || g, g, repeat('x', 100)`,
  },
};

/** The state that a table, its statistics and the feed's own tables are in when the statements are explained. */
export const STATES = ['not analyzed', 'analyzed', 'bloated', 'beside a full feed'] as const;
type State = (typeof STATES)[number];

export interface PlansOptions {
  /** Rows of the tables. */
  readonly sizes: readonly number[];
  /** Records of the outbox, and tombstones, of a full feed. */
  readonly feed: number;
}

export const PLANS: PlansOptions = { sizes: [100, 1_000, 10_000, 100_000, 1_000_000], feed: 1_000_000 };

/** A statement that touches more than it needs. */
export interface Excess {
  readonly where: string;
  readonly buffers: number;
  readonly allowed: number;
  readonly text: string;
}

export interface PlansResult {
  readonly settings: Readonly<Record<string, unknown>>;
  /** Plans that were looked at. */
  readonly explained: number;
  /** The most buffers of a statement, by what it does, beside the number that it may touch. */
  readonly most: Readonly<Record<string, { readonly buffers: number; readonly allowed: number }>>;
  readonly excesses: readonly Excess[];
}

const BATCH = 3;
const READ = { timeoutMs: 60_000, primary: true } as const;
const MODES = ['force_custom_plan', 'force_generic_plan'] as const;
const allowedOf = (rows: number): number => 20 + 10 * rows;

/** Explains each statement that a store sends for commands on tables of many sizes and states, with `ANALYZE` and `BUFFERS`. */
export async function runPlans(
  { feed, sizes }: PlansOptions,
  progress: (line: string) => void,
): Promise<PlansResult> {
  const postgres = await startPostgres({ settings: { autovacuum: false }, owned: true });
  const recorder = recordCalls();
  const most: Record<string, { buffers: number; allowed: number }> = {};
  const excesses: Excess[] = [];
  let explained = 0;
  try {
    for (const [name, kind] of Object.entries(KINDS)) {
      for (const size of sizes) {
        const { url } = await postgres.database();
        const knex = knexPackage({ client: 'pg', connection: url, pool: { min: 0, max: 4 } });
        const explainer = new pg.Client(url);
        await explainer.connect();
        try {
          const { statements } = await prepare(knex, kind, size, recorder);
          for (const state of STATES) {
            await bring(knex, state, feed);
            for (const mode of MODES) {
              // The first time the server reads its catalogue, and the triggers' functions.
              for (const { calls } of statements.values()) await explain(explainer, mode, calls);
              for (const [what, { calls, rows }] of statements) {
                const allowed = allowedOf(rows);
                for (const { buffers, text } of await explain(explainer, mode, calls)) {
                  explained++;
                  if (buffers > (most[what]?.buffers ?? -1)) most[what] = { buffers, allowed };
                  if (buffers <= allowed) continue;
                  excesses.push({
                    where: `${name} ${size} ${state} ${mode} ${what}`,
                    buffers,
                    allowed,
                    text,
                  });
                }
              }
            }
          }
          progress(
            `${name} of ${size} rows: ${explained} plans, ${excesses.length} touch more than they need`,
          );
        } finally {
          await explainer.end();
          await knex.destroy();
        }
      }
    }
  } finally {
    recorder.end();
    await postgres.stop();
  }
  return { settings: { ...DURABLE, version: postgres.version, sizes, feed }, explained, most, excesses };
}

interface Recorder {
  calls: Call[];
  end(): void;
}

/** Notes what is sent to the server, on all connections of this process. */
function recordCalls(): Recorder {
  const { prototype } = pg.Connection;
  const { bind, parse } = prototype;
  const texts = new Map<string, string>();
  const recorder: Recorder = { calls: [], end: () => Object.assign(prototype, { bind, parse }) };
  prototype.parse = function (message) {
    texts.set(message.name, message.text);
    parse.call(this, message);
  };
  prototype.bind = function (message) {
    recorder.calls.push({ text: texts.get(message.statement) ?? '', values: message.values });
    bind.call(this, message);
  };
  return recorder;
}

/** A table of that many rows, and what each command on it sends. */
async function prepare(knex: Knex, kind: Kind, size: number, recorder: Recorder) {
  await knex.raw(kind.create);
  const store = postgresStore({ knex });
  const table: PostgresTable<Row, unknown> = store.table<Row, unknown>('t', { key: kind.key });
  await store.attach(table);
  await table.open();
  const fill = (to: number): Promise<unknown> =>
    Promise.resolve(
      knex.raw(`DELETE FROM t WHERE n > 10000000; INSERT INTO t ${kind.rowsSql} FROM generate_series(1, ${to}) g ON CONFLICT DO NOTHING;
        TRUNCATE lockstep.outbox, lockstep.tombstone`),
    );
  await fill(size);
  const version = Date.now() * 1_000 + 1;
  const { keyOf } = kind;
  const put = (n: number) => ({ kind: 'put', key: keyOf(n), value: { n, data: 'new' }, above: 0 }) as const;
  const commands: Record<string, (n: number) => StoreCommand<Row>> = {
    put,
    replace: (n) => ({ ...put(n), ifVersion: 4 }),
    restamp: (n) => ({ kind: 'restamp', key: keyOf(n), above: 0, ifVersion: 4 }),
    insert: (n) => ({ ...put(n + 20_000_000), ifVersion: null }),
    increment: (n) => ({ kind: 'increment', key: keyOf(n), field: 'n', by: 1, above: 0 }),
    delete: (n) => ({ kind: 'delete', key: keyOf(n), above: 0 }),
    'flush of a put': (n) => ({ kind: 'flush', key: keyOf(n), value: { n, data: 'new' }, version }),
    'flush of a delete': (n) => ({ kind: 'flush', key: keyOf(n), value: null, version }),
  };
  const statements = new Map<string, { readonly rows: number; readonly calls: readonly Call[] }>();
  for (const rows of [1, BATCH]) {
    const numbers = Array.from({ length: rows }, (_, n) => n + 7);
    const note = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      recorder.calls = [];
      await work();
      // Not the looks at the catalogue that an open table takes every ten seconds.
      const calls = recorder.calls.filter(({ text }) => /"public"\."t"|lockstep\./.test(text));
      statements.set(`${what} of ${rows}`, { rows, calls });
      await fill(50);
    };
    await note('read', () => table.read(numbers.map(keyOf), READ));
    for (const [what, command] of Object.entries(commands)) {
      await note(what, () => table.write(numbers.map(command), { timeoutMs: 60_000 }));
    }
  }
  return { statements };
}

async function bring(knex: Knex, state: State, feed: number): Promise<void> {
  if (state === 'analyzed') await knex.raw('VACUUM ANALYZE t');
  if (state === 'bloated') for (let i = 0; i < 3; i++) await knex.raw('UPDATE t SET n = n WHERE n <= 10000');
  if (state === 'beside a full feed') {
    await knex.raw(`INSERT INTO lockstep.outbox (version, source, key, op) SELECT 4 * g, 'public.t', 'k' || g, 'p' FROM generate_series(1, ${feed}) g;
      INSERT INTO lockstep.tombstone SELECT 'public.t', 'k' || g, 4 * g FROM generate_series(1, ${feed}) g`);
  }
}

interface Explained {
  readonly text: string;
  readonly buffers: number;
}

interface PlanNode {
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
}

/** A parameter as SQL. Arrays of texts travel in binary. */
function literalOf(client: Client, value: unknown): string {
  if (value === null) return 'NULL';
  if (!Buffer.isBuffer(value)) return client.escapeLiteral(String(value));
  const HEADER_BYTES = 20;
  const elements: string[] = [];
  for (let at = HEADER_BYTES; at < value.length; ) {
    const bytes = value.readInt32BE(at);
    at += 4;
    elements.push(bytes < 0 ? 'NULL' : client.escapeLiteral(value.toString('utf8', at, at + bytes)));
    at += Math.max(0, bytes);
  }
  return `ARRAY[${elements.join(', ')}]::text[]`;
}

/** The buffers that each of the calls touches, one after the other, in a transaction of which nothing stays. */
async function explain(client: Client, mode: string, calls: readonly Call[]): Promise<Explained[]> {
  const found: Explained[] = [];
  await client.query(`BEGIN; SET LOCAL plan_cache_mode = ${mode}`);
  try {
    for (const { text, values } of calls) {
      await client.query(`PREPARE explained AS ${text}`);
      const literals = values.map((value) => literalOf(client, value));
      const execute = `EXECUTE explained${literals.length === 0 ? '' : `(${literals.join(', ')})`}`;
      const { rows } = await client.query<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${execute}`,
      );
      await client.query('DEALLOCATE explained');
      const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
      const buffers = (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0);
      found.push({ text, buffers });
    }
    return found;
  } finally {
    await client.query('ROLLBACK');
  }
}
