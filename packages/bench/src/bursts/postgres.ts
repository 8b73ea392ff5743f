import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage from 'knex';
import { counted } from './counted.js';
import { PRODUCTS, type Product, product } from './product.js';
import type { Bench, Side } from './sides.js';

const TTL_S = 3_600;

/** Both sides on one Postgres and one Redis, a table each. */
export async function postgresBench(): Promise<Bench> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 20 } });
  for (const table of ['ours', 'theirs']) {
    await knex.schema.createTable(table, (columns) => {
      columns.text('id').primary();
      columns.text('name').notNullable();
      columns.integer('stock').notNullable();
      columns.double('price').notNullable();
      columns.jsonb('attributes').notNullable();
    });
  }
  const pg = postgresStore({ knex });
  const table = pg.table<Product>('ours', { key: 'id' });
  await pg.attach(table);
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const { store, take } = counted(table);
  const products = lockstep.collection({ name: 'products', store, ttlMs: TTL_S * 1_000 });
  const client = new Redis(redis.url);

  const ours: Side = {
    put: (value) => products.put(value.id, value),
    increment: (id, by) => products.increment(id, 'stock', by),
    stock: async (id) => (await products.get(id, { fresh: true }))?.stock ?? Number.NaN,
  };
  const set = (value: Product): Promise<unknown> =>
    client.setex(`products:${value.id}`, TTL_S, JSON.stringify(value));
  const theirs: Side = {
    async put(value) {
      const row = { ...value, attributes: JSON.stringify(value.attributes) };
      await knex('theirs').insert(row).onConflict('id').merge();
      await set(value);
    },
    async increment(id, by) {
      const [row] = await knex<Product>('theirs').where({ id }).increment('stock', by).returning('*');
      if (row !== undefined) await set(row);
    },
    stock: async (id) => (await knex<Product>('theirs').where({ id }).first())?.stock ?? Number.NaN,
  };
  for (const side of [ours, theirs]) {
    for (let from = 0; from < PRODUCTS; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => side.put(product(from + i))));
    }
  }
  take();
  return {
    ours,
    theirs,
    takeWrites: take,
    async close() {
      await lockstep.close();
      client.disconnect();
      await knex.destroy();
      await Promise.all([postgres.stop(), redis.stop()]);
    },
  };
}
