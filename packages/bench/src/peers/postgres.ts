import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import pg from 'pg';
import { createProducts } from '../bursts/postgres.js';
import type { Product } from '../bursts/product.js';
import { type Database, OWN_TABLE, type OwnTable, type Table } from './database.js';
import { TEXTS, textsOf } from './row.js';

export function postgresDatabase(url: string): Database {
  const connect = (max: number): Knex =>
    knexPackage({ client: 'pg', connection: url, pool: { min: 0, max } });
  const knex = connect(2);
  const one = async (sql: string): Promise<number> => {
    const { rows } = await knex.raw<{ rows: { value: string }[] }>(sql);
    return Number(rows[0]?.value);
  };
  return {
    async create(name, products, valueBytes) {
      await createProducts(knex, name);
      await knex.raw(
        `INSERT INTO ?? (id, name, stock, price, attributes)
          SELECT n::text, 'Product ' || n, n % 100, (n % 10000) / 4.0, jsonb_build_object('colour', 'red',
            'sizes', jsonb_build_array(36, 38, 40 + n % 5), 'text', (?::text[])[1 + n % ${TEXTS}])
          FROM generate_series(0, ?::int - 1) AS n`,
        [name, [...textsOf(valueBytes)], products],
      );
      await knex.raw(
        'CREATE TABLE ?? (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL)',
        [outboxOf(name)],
      );
    },
    async attach(name) {
      const store = postgresStore({ knex });
      await store.attach(store.table<Product>(name, { key: 'id' }));
    },
    own(name, pool): OwnTable {
      const own = connect(pool);
      const store = postgresStore({ knex: own }).table<Product>(name, { key: 'id' });
      const same = (row: unknown): never => row as never;
      return { store: store as never, rowOf: same, productOf: same, close: () => own.destroy() };
    },
    table: (name, pool, style) =>
      style === 'plain' ? plainTable(connect(pool), name) : namedTable(url, name, pool, style === 'tuned'),
    async settle() {
      await knex.raw('VACUUM ANALYZE');
    },
    logBytes: () => one(`SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS value`),
    feedBytes: (name) =>
      one(
        `SELECT pg_total_relation_size(${name === OWN_TABLE ? "'lockstep.outbox'" : `'${pg.escapeIdentifier(outboxOf(name))}'`}) AS value`,
      ),
    close: () => knex.destroy(),
  };
}

const outboxOf = (name: string): string => `${name} outbox`;

/** As people write it: knex's query builder. */
function plainTable(knex: Knex, name: string): Table {
  const upsert = (on: Knex, rows: readonly Product[]) =>
    on(name)
      .insert(rows.map((row) => ({ ...row, attributes: JSON.stringify(row.attributes) })))
      .onConflict('id')
      .merge();
  return {
    load: async (id) => await knex<Product>(name).where({ id }).first(),
    save: async (row) => await upsert(knex, [row]),
    add: async (id, by) => (await knex<Product>(name).where({ id }).increment('stock', by).returning('*'))[0],
    patch: async (id, stock) => (await knex<Product>(name).where({ id }).update({ stock }).returning('*'))[0],
    remove: async (id) => await knex(name).where({ id }).delete(),
    saveAll: async (rows) =>
      await knex.transaction(async (trx) => {
        for (const row of rows) await upsert(trx, [row]);
      }),
    close: () => knex.destroy(),
  };
}

/**
 * Prepared once for each connection, sent by the driver alone. `recorded`: with a row of an outbox in the same statement,
 * which somebody else has to read and remove.
 */
function namedTable(connectionString: string, name: string, max: number, recorded: boolean): Table {
  const pool = new pg.Pool({ connectionString, max });
  const table = pg.escapeIdentifier(name);
  const record = `INSERT INTO ${pg.escapeIdentifier(outboxOf(name))} (key)`;
  const statement = (text: string) =>
    recorded
      ? `WITH written AS (${text} RETURNING *), record AS (${record} SELECT id FROM written) SELECT * FROM written`
      : `${text} RETURNING *`;
  const texts = {
    load: `SELECT * FROM ${table} WHERE id = $1`,
    save: statement(`INSERT INTO ${table} (id, name, stock, price, attributes) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (id) DO UPDATE SET name = $2, stock = $3, price = $4, attributes = $5`),
    add: statement(`UPDATE ${table} SET stock = stock + $2 WHERE id = $1`),
    patch: statement(`UPDATE ${table} SET stock = $2 WHERE id = $1`),
    remove: statement(`DELETE FROM ${table} WHERE id = $1`),
  };
  type On = Pick<pg.Pool | pg.PoolClient, 'query'>;
  const run = async (on: On, what: keyof typeof texts, values: unknown[]): Promise<Product | undefined> => {
    const { rows } = await on.query<Product>({ name: `${what} ${name}`, text: texts[what], values });
    return rows[0];
  };
  const save = (on: On, { attributes, id, price, stock, ...row }: Product) =>
    run(on, 'save', [id, row.name, stock, price, JSON.stringify(attributes)]);
  return {
    load: (id) => run(pool, 'load', [id]),
    save: (row) => save(pool, row),
    add: (id, by) => run(pool, 'add', [id, by]),
    patch: (id, stock) => run(pool, 'patch', [id, stock]),
    remove: (id) => run(pool, 'remove', [id]),
    async saveAll(rows) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        for (const row of rows) await save(client, row);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      } finally {
        client.release();
      }
    },
    close: () => pool.end(),
  };
}
