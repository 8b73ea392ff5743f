import { startPostgres } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { createProducts, DURABLE } from './bursts/postgres.js';
import { median } from './bursts/turn.js';

/**
 * The tables: one without triggers; one whose rows a trigger stamps and nobody records, which is the least that keeping in
 * step could cost; one that is attached with `bulk`, and one without.
 */
export const TABLES = ['plain', 'stamped', 'bulk', 'attached'] as const;
type Table = (typeof TABLES)[number];

export const STATEMENTS = ['update', 'insert', 'delete'] as const;
type Statement = (typeof STATEMENTS)[number];

export interface BulkOptions {
  readonly rows: number;
  readonly turns: number;
}

export const BULK: BulkOptions = { rows: 20_000, turns: 7 };

/** Of one statement of all rows, its commit included. */
export interface BulkFigures {
  readonly ms: Readonly<Record<Table, number>>;
  /** Processor time of the connection's server process for each row, in µs; `null` where there is no `/proc`. */
  readonly processorUs: Readonly<Record<Table, number | null>>;
  /** How many times as long as on the plain table: medians of the turns' own ratios. */
  readonly ratio: Readonly<Record<Exclude<Table, 'plain'>, number>>;
}

export interface BulkResult {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly statements: Readonly<Record<Statement, BulkFigures>>;
  /** Changes that the outbox has recorded, less those that were made: 0, unless one was lost. */
  readonly lost: number;
}

const STAMP = `CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.lockstep_version := (((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1e6)::int8) | 3) + 1;
  RETURN NEW;
END $$`;

/** Statements of others that write many rows at once, with one connection, on the tables in turn. */
export async function runBulk(
  { rows, turns }: BulkOptions,
  progress: (line: string) => void,
): Promise<BulkResult> {
  const postgres = await startPostgres({ settings: { ...DURABLE, autovacuum: false }, owned: true });
  const connect = () => knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 1, max: 1 } });
  const [knex, knexOfStore] = [connect(), connect()];
  const samples = new Map<string, { ms: number; us: number | null }[]>();
  const of = (table: Table, statement: Statement) => {
    const name = `${table} ${statement}`;
    const found = samples.get(name) ?? [];
    samples.set(name, found);
    return found;
  };
  let lost = 0;
  try {
    for (const table of TABLES) {
      await createProducts(knex, table);
      await knex.raw(insert(table, 'kept', rows));
    }
    const store = postgresStore({ knex: knexOfStore });
    await store.attach(store.table('attached', { key: 'id' }));
    await store.attach(store.table('bulk', { key: 'id' }), { bulk: true });
    await knex.raw(`ALTER TABLE stamped ADD COLUMN lockstep_version int8 NOT NULL DEFAULT 4; ${STAMP};
      CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()`);
    await knex.raw('CHECKPOINT');
    for (let turn = 0; turn <= turns; turn++) {
      const order = turn % 2 === 0 ? TABLES : TABLES.toReversed();
      for (const statement of STATEMENTS) {
        for (const table of order) {
          const sample = await measure(knex, sqlOf(statement, table, rows), rows);
          // The first turn warms up.
          if (turn > 0) of(table, statement).push(sample);
        }
      }
      lost += 2 * 3 * rows - (await recorded(knex));
      await knex.raw('TRUNCATE lockstep.outbox, lockstep.tombstone');
      for (const table of TABLES) await knex.raw(`VACUUM ${table}`);
    }
    const statements = Object.fromEntries(
      STATEMENTS.map((statement) => {
        const figures = figuresOf((table) => of(table, statement));
        progress(`${statement}: ${JSON.stringify(figures)}`);
        return [statement, figures];
      }),
    ) as Record<Statement, BulkFigures>;
    return { settings: { ...DURABLE, version: postgres.version, rows, turns }, statements, lost };
  } finally {
    await Promise.all([knex.destroy(), knexOfStore.destroy()]);
    await postgres.stop();
  }
}

function insert(table: Table, prefix: string, rows: number): string {
  return `INSERT INTO ${table} (id, name, stock, price, attributes)
    SELECT '${prefix}' || g, 'Product ' || g, g % 100, g / 4.0, jsonb_build_object('colour', 'red', 'text', repeat('a catalogue text ', 8)) FROM generate_series(1, ${rows}) g`;
}

function sqlOf(statement: Statement, table: Table, rows: number): string {
  if (statement === 'update') return `UPDATE ${table} SET stock = stock + 1`;
  if (statement === 'insert') return insert(table, 'new', rows);
  return `DELETE FROM ${table} WHERE id LIKE 'new%'`;
}

async function measure(knex: Knex, sql: string, rows: number): Promise<{ ms: number; us: number | null }> {
  const before = await processorUs(knex);
  const startedAt = performance.now();
  await knex.raw(sql);
  const ms = performance.now() - startedAt;
  const after = await processorUs(knex);
  return { ms, us: before === null || after === null ? null : (after - before) / rows };
}

/** What the connection's server process has used so far. */
async function processorUs(knex: Knex): Promise<number | null> {
  const { rows } = await knex.raw<{ rows: { text: string | null }[] }>(
    `SELECT pg_read_file('/proc/self/schedstat', 0, 100, true) AS text`,
  );
  const text = rows[0]?.text ?? null;
  return text === null ? null : Number(text.split(' ')[0]) / 1_000;
}

async function recorded(knex: Knex): Promise<number> {
  const { rows } = await knex.raw<{ rows: { n: number }[] }>(
    'SELECT sum(coalesce(cardinality(keys), 1))::int AS n FROM lockstep.outbox',
  );
  return rows[0]?.n ?? 0;
}

function figuresOf(samples: (table: Table) => readonly { ms: number; us: number | null }[]): BulkFigures {
  const each = <T>(figure: (table: Table) => T): Record<Table, T> =>
    Object.fromEntries(TABLES.map((table) => [table, figure(table)])) as Record<Table, T>;
  const plain = samples('plain');
  const ratio = (table: Table): number =>
    median(samples(table).map(({ ms }, turn) => ms / (plain[turn]?.ms ?? Number.NaN)));
  return {
    ms: each((table) => median(samples(table).map(({ ms }) => ms))),
    processorUs: each((table) => {
      const used = samples(table).flatMap(({ us }) => us ?? []);
      return used.length === 0 ? null : median(used);
    }),
    ratio: { stamped: ratio('stamped'), bulk: ratio('bulk'), attached: ratio('attached') },
  };
}
