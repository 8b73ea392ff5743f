import { redisCache } from '@lockstep/cache-redis';
import { type BurstOptions, type Collection, createLockstep, type StoreAdapter } from '@lockstep/core';
import { startMongo, startPostgres, startProxy, startRedis } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { MongoClient } from 'mongodb';
import { documentOf, type ProductDocument } from './mongo.js';
import { fill, oursOn, TTL_S } from './ours.js';
import { createProducts } from './postgres.js';
import { PRODUCTS, type Product, product } from './product.js';
import type { Side } from './sides.js';
import { median, turn } from './turn.js';

/** How long a write waits for its acknowledgement with a slow store behind the buffer, in ms. */
export interface BufferAck {
  readonly p50: number;
  readonly p99: number;
  /** What each statement is slowed down by. */
  readonly storeDelayMs: number;
  readonly perSecond: number;
  /** The share of the writes that the buffer took; the others tried the store, and waited for it. */
  readonly buffered: number;
  /** Whether afterwards the store had the newest of every key. */
  readonly flushedExact: boolean;
}

interface SlowStore {
  readonly store: StoreAdapter<never, string>;
  readonly side: (collection: Collection<never, string>) => Side;
  delay(ms: number): void;
  close(): Promise<void>;
}

const STORE_DELAY_MS = 50;
const WRITERS = 32;
const WRITES = 20_000;
const BURST: BurstOptions = { storeLatencyMs: 20 };

/** Writes to 10,000 keys through the buffer while each answer of the store comes 50 ms late. */
export async function bufferAck(
  name: 'postgres' | 'mongo',
  turns: number,
  progress: (line: string) => void,
): Promise<BufferAck> {
  const slow = await (name === 'postgres' ? slowPostgres() : slowMongo());
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const collection = lockstep.collection({
    name: 'products',
    store: slow.store,
    ttlMs: TTL_S * 1_000,
    burst: BURST,
  });
  const counts = { buffered: 0, committed: 0 };
  lockstep.events.on('write', ({ store }) => {
    counts[store]++;
  });
  try {
    const side = slow.side(collection);
    await fill([side]);
    slow.delay(STORE_DELAY_MS);
    const measured: { p50Ms: number; p99Ms: number; perSecond: number }[] = [];
    const newest = new Map<string, number>();
    for (let round = 0; round <= turns; round++) {
      if (round === 1) Object.assign(counts, { buffered: 0, committed: 0 });
      const result = await turn(WRITERS, { calls: WRITES }, (n) => {
        const value = { ...product((n * 7_919) % PRODUCTS), stock: round * WRITES + n };
        newest.set(value.id, value.stock);
        return side.put(value);
      });
      if (round > 0) measured.push(result);
    }
    const { buffered, committed } = counts;
    slow.delay(0);
    await collection.flush();
    const stocks = await Promise.all(
      [...newest].map(async ([id, stock]) => (await side.stock(id)) === stock),
    );
    const result = {
      p50: median(measured.map((one) => one.p50Ms)),
      p99: median(measured.map((one) => one.p99Ms)),
      storeDelayMs: STORE_DELAY_MS,
      perSecond: median(measured.map((one) => one.perSecond)),
      buffered: buffered / (buffered + committed),
      flushedExact: stocks.every(Boolean),
    };
    progress(
      `bufferAck: p50 ${result.p50.toFixed(2)} p99 ${result.p99.toFixed(2)} ms, ${Math.round(result.perSecond)}/s, ${(result.buffered * 100).toFixed(2)} % buffered`,
    );
    return result;
  } finally {
    await lockstep.close();
    await Promise.all([slow.close(), redis.stop()]);
  }
}

async function slowPostgres(): Promise<SlowStore> {
  const postgres = await startPostgres({ owned: true });
  const proxy = await startProxy({ target: postgres.url });
  const knex = knexPackage({ client: 'pg', connection: proxy.url, pool: { min: 0, max: 20 } });
  await createProducts(knex, 'products');
  const pg = postgresStore({ knex });
  const table = pg.table<Product>('products', { key: 'id' });
  await pg.attach(table);
  return {
    store: table as unknown as StoreAdapter<never, string>,
    side: (collection) => oursOn(collection as unknown as Collection<Product, string>, (value) => value),
    delay: (ms) => proxy.delay(ms, 'reply'),
    async close() {
      await knex.destroy();
      await proxy.stop();
      await postgres.stop();
    },
  };
}

async function slowMongo(): Promise<SlowStore> {
  const mongo = await startMongo({ owned: true });
  const proxy = await startProxy({ target: mongo.url });
  // Told of the replica set's members the driver would pass the proxy by.
  const client = new MongoClient(proxy.url, { directConnection: true, maxPoolSize: 20 });
  const db = client.db();
  await db.createCollection('products');
  const store = mongoStore({ client, db });
  const bound = store.collection<ProductDocument>('products');
  await store.attach(bound);
  return {
    store: bound as unknown as StoreAdapter<never, string>,
    side: (collection) => oursOn(collection as unknown as Collection<ProductDocument, string>, documentOf),
    delay: (ms) => proxy.delay(ms, 'reply'),
    async close() {
      await client.close();
      await proxy.stop();
      await mongo.stop();
    },
  };
}
