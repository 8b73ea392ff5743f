import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type Lockstep } from '@lockstep/core';
import { startPostgres } from '@lockstep/dev-services';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';

interface Product {
  id: number;
  name: string;
}

/** A database with attached products, and foreign SQL on it. */
export interface Shop extends AsyncDisposable {
  readonly url: string;
  readonly knex: Knex;
}

export async function startShop(rows: number): Promise<Shop> {
  const postgres = await startPostgres();
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 10 } });
  await knex.raw('CREATE TABLE public.products (id int PRIMARY KEY, name text NOT NULL)');
  await knex.raw("INSERT INTO public.products SELECT n, 'first' FROM generate_series(1, ?) AS n", [rows]);
  const pg = postgresStore({ knex });
  await pg.attach(pg.table<Product>('products', { schema: 'public', key: 'id' }));
  await pg.close();
  return {
    url: postgres.url,
    knex,
    async [Symbol.asyncDispose]() {
      await knex.destroy();
      await postgres.stop();
    },
  };
}

export interface ShopAddresses {
  readonly knex: Knex;
  readonly redis: string;
  readonly prefix: string;
  readonly queue?: { readonly url: string; readonly name?: string; readonly attempts?: number };
}

/** The application's side: the same collection as the worker's. The caller closes the Lockstep. */
export function openShop({ knex, prefix, queue, redis }: ShopAddresses): {
  readonly lockstep: Lockstep;
  readonly products: Collection<Product, number>;
} {
  const { url, ...options } = queue ?? {};
  const lockstep = createLockstep({
    cache: redisCache({ url: redis }),
    prefix,
    ...(url === undefined ? {} : { queue: bullmqQueue({ connection: { url }, quickTries: 1, ...options }) }),
  });
  const store = postgresStore({ knex }).table<Product, number>('products', { schema: 'public', key: 'id' });
  return { lockstep, products: lockstep.collection({ name: 'products', store, additional: true }) };
}
