import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { counted } from './counted.js';
import { fill, oursOn, TTL_S } from './ours.js';
import { processorTimes } from './processor.js';
import type { Product } from './product.js';
import type { Bench, Side } from './sides.js';

/** As a server comes that keeps what it has acknowledged: the ones for tests do not wait for their disk. */
export const DURABLE = { fsync: true, full_page_writes: true, synchronous_commit: 'on' };

/** A table of products. */
export async function createProducts(knex: Knex, table: string): Promise<void> {
  await knex.schema.createTable(table, (columns) => {
    columns.text('id').primary();
    columns.text('name').notNullable();
    columns.integer('stock').notNullable();
    columns.double('price').notNullable();
    columns.jsonb('attributes').notNullable();
  });
}

/** Both sides on one Postgres and one Redis, a table and a pool of connections each. */
export async function postgresBench(pool: number): Promise<Bench> {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const connect = () => knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: pool } });
  const knex = connect();
  const knexOfTheirs = connect();
  for (const table of ['ours', 'theirs']) await createProducts(knex, table);
  const pg = postgresStore({ knex });
  const table = pg.table<Product>('ours', { key: 'id' });
  await pg.attach(table);
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const take = counted(table);
  const products = lockstep.collection({ name: 'products', store: table, ttlMs: TTL_S * 1_000 });
  const client = new Redis(redis.url);

  const ours = oursOn(products, (value) => value);
  const set = (value: Product): Promise<unknown> =>
    client.setex(`products:${value.id}`, TTL_S, JSON.stringify(value));
  const theirs: Side = {
    async put(value) {
      const row = { ...value, attributes: JSON.stringify(value.attributes) };
      await knexOfTheirs('theirs').insert(row).onConflict('id').merge();
      await set(value);
    },
    async increment(id, by) {
      const [row] = await knexOfTheirs<Product>('theirs').where({ id }).increment('stock', by).returning('*');
      if (row !== undefined) await set(row);
    },
    stock: async (id) => (await knexOfTheirs<Product>('theirs').where({ id }).first())?.stock ?? Number.NaN,
  };
  await fill([ours, theirs]);
  take();
  return {
    ours,
    theirs,
    settings: { ...DURABLE, version: postgres.version, pool },
    takeWrites: take,
    processor: () => processorTimes({ postgres: postgres.process?.pid, redis: redis.process?.pid }),
    async close() {
      await lockstep.close();
      client.disconnect();
      await Promise.all([knex.destroy(), knexOfTheirs.destroy()]);
      await Promise.all([postgres.stop(), redis.stop()]);
    },
  };
}
