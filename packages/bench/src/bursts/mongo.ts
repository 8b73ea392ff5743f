import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startMongo, startRedis } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { counted } from './counted.js';
import { fill, oursOn, TTL_S } from './ours.js';
import { processorTimes } from './processor.js';
import type { Product } from './product.js';
import type { Bench, Side } from './sides.js';

/** A product under MongoDB's name for its key. */
export type ProductDocument = Omit<Product, 'id'> & { readonly _id: string };

export function documentOf({ id, ...rest }: Product): ProductDocument {
  return { _id: id, ...rest };
}

/** Both sides on one replica set and one Redis, a collection and a pool of connections each. */
export async function mongoBench(pool: number): Promise<Bench> {
  const [mongo, redis] = await Promise.all([startMongo({ owned: true }), startRedis({ owned: true })]);
  // Writes of both sides survive a failover: the majority has them in its journal.
  const connect = () => new MongoClient(mongo.url, { maxPoolSize: pool, writeConcern: { w: 'majority' } });
  const client = connect();
  const clientOfTheirs = connect();
  const db = client.db();
  await db.createCollection('ours');
  const store = mongoStore({ client, db });
  const bound = store.collection<ProductDocument>('ours');
  await store.attach(bound);
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const take = counted(bound);
  const products = lockstep.collection({ name: 'products', store: bound, ttlMs: TTL_S * 1_000 });
  const ours = oursOn(products, documentOf);

  const documents = clientOfTheirs.db().collection<ProductDocument>('theirs');
  const cache = new Redis(redis.url);
  const set = (value: ProductDocument): Promise<unknown> =>
    cache.setex(`products:${value._id}`, TTL_S, JSON.stringify(value));
  const theirs: Side = {
    async put(value) {
      const document = documentOf(value);
      const { _id, ...fields } = document;
      await documents.updateOne({ _id }, { $set: fields }, { upsert: true });
      await set(document);
    },
    async increment(_id, by) {
      const document = await documents.findOneAndUpdate(
        { _id },
        { $inc: { stock: by } },
        { returnDocument: 'after' },
      );
      if (document !== null) await set(document);
    },
    stock: async (_id) => (await documents.findOne({ _id }))?.stock ?? Number.NaN,
  };
  await fill([ours, theirs]);
  take();
  return {
    ours,
    theirs,
    settings: { writeConcern: 'majority', members: mongo.members.length, version: mongo.version, pool },
    takeWrites: take,
    processor: () => processorTimes({ mongo: mongo.members[0]?.pid, redis: redis.process?.pid }),
    async close() {
      await lockstep.close();
      cache.disconnect();
      await Promise.all([client.close(), clientOfTheirs.close()]);
      await Promise.all([mongo.stop(), redis.stop()]);
    },
  };
}
