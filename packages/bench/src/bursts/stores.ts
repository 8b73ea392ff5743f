import type { Collection, StoreAdapter } from '@lockstep/core';
import { startMongo, startPostgres, startProxy } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { MongoClient } from 'mongodb';
import { documentOf, type ProductDocument } from './mongo.js';
import { oursOn } from './ours.js';
import { createProducts, DURABLE } from './postgres.js';
import type { Product } from './product.js';
import type { Side } from './sides.js';

/** A database of the benchmark's own, and our adapter on it. */
export interface OpenedStore {
  /** Our adapter of a new table of products. */
  table(name: string): Promise<StoreAdapter<never, string>>;
  /** A collection of such a table, as the benchmark calls it. */
  side(collection: Collection<never, string>): Side;
  /** From now on each answer of the database comes so much later. Only behind a proxy. */
  delay(ms: number): void;
  close(): Promise<void>;
}

const POOL = 20;

/** `proxied`: behind a proxy in this process, which can delay what the database answers. */
export const OPEN_STORES = { postgres: openPostgres, mongo: openMongo } satisfies Record<
  string,
  (proxied: boolean) => Promise<OpenedStore>
>;

async function openPostgres(proxied: boolean): Promise<OpenedStore> {
  const postgres = await startPostgres({ settings: DURABLE, owned: true });
  const proxy = proxied ? await startProxy({ target: postgres.url }) : undefined;
  const connection = proxy?.url ?? postgres.url;
  const knex = knexPackage({ client: 'pg', connection, pool: { min: 0, max: POOL } });
  const pg = postgresStore({ knex });
  return {
    async table(name) {
      await createProducts(knex, name);
      const table = pg.table<Product>(name, { key: 'id' });
      await pg.attach(table);
      return table as unknown as StoreAdapter<never, string>;
    },
    side: (collection) => oursOn(collection as unknown as Collection<Product, string>, (value) => value),
    delay: (ms) => proxy?.delay(ms, 'reply'),
    async close() {
      await knex.destroy();
      await proxy?.stop();
      await postgres.stop();
    },
  };
}

async function openMongo(proxied: boolean): Promise<OpenedStore> {
  const mongo = await startMongo({ owned: true });
  const proxy = proxied ? await startProxy({ target: mongo.url }) : undefined;
  // Told of the replica set's members the driver would pass the proxy by.
  const client = new MongoClient(proxy?.url ?? mongo.url, { directConnection: true, maxPoolSize: POOL });
  const db = client.db();
  const store = mongoStore({ client, db });
  return {
    async table(name) {
      await db.createCollection(name);
      const bound = store.collection<ProductDocument>(name);
      await store.attach(bound);
      return bound as unknown as StoreAdapter<never, string>;
    },
    side: (collection) => oursOn(collection as unknown as Collection<ProductDocument, string>, documentOf),
    delay: (ms) => proxy?.delay(ms, 'reply'),
    async close() {
      await client.close();
      await proxy?.stop();
      await mongo.stop();
    },
  };
}
