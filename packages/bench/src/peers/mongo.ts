import { mongoStore } from '@lockstep/store-mongo';
import { MongoClient, type UpdateFilter } from 'mongodb';
import { documentOf, type ProductDocument } from '../bursts/mongo.js';
import type { Product } from '../bursts/product.js';
import type { Database, OwnTable, Table } from './database.js';
import { rowOf } from './row.js';

const AT_ONCE = 2_000;

export function mongoDatabase(url: string): Database {
  // Writes of all sides survive a failover: the majority has them in its journal.
  const connect = (maxPoolSize: number): MongoClient =>
    new MongoClient(url, { maxPoolSize, writeConcern: { w: 'majority' } });
  const client = connect(4);
  return {
    async create(name, products, valueBytes) {
      const documents = client.db().collection<ProductDocument>(name);
      for (let from = 0; from < products; from += AT_ONCE) {
        const length = Math.min(AT_ONCE, products - from);
        await documents.insertMany(
          Array.from({ length }, (_, i) => documentOf(rowOf(from + i, valueBytes))),
          { ordered: false },
        );
      }
    },
    async attach(name) {
      const store = mongoStore({ client, db: client.db() });
      await store.attach(store.collection<ProductDocument>(name));
    },
    own(name, pool): OwnTable {
      const own = connect(pool);
      const store = mongoStore({ client: own, db: own.db() }).collection<ProductDocument>(name);
      return {
        store: store as never,
        rowOf: (product) => documentOf(product) as never,
        productOf,
        close: () => own.close(),
      };
    },
    table: (name, pool, style) => (style === 'tuned' ? undefined : table(connect(pool), name)),
    settle: async () => undefined,
    async logBytes() {
      const [found] = await client
        .db('local')
        .collection('oplog.rs')
        .aggregate<{ bytes: number }>([{ $group: { _id: null, bytes: { $sum: { $bsonSize: '$$ROOT' } } } }])
        .toArray();
      return found?.bytes ?? 0;
    },
    // Its changes are in the log itself.
    feedBytes: async () => 0,
    close: () => client.close(),
  };
}

function productOf(document: ProductDocument): Product {
  const { _id: id, ...row } = document;
  return { id, ...row };
}

function table(client: MongoClient, name: string): Table {
  const documents = client.db().collection<ProductDocument>(name);
  const changed = async (
    _id: string,
    update: UpdateFilter<ProductDocument>,
  ): Promise<Product | undefined> => {
    const found = await documents.findOneAndUpdate({ _id }, update, { returnDocument: 'after' });
    return found === null ? undefined : productOf(found);
  };
  return {
    async load(_id) {
      const found = await documents.findOne({ _id });
      return found === null ? undefined : productOf(found);
    },
    async save(row) {
      const { _id, ...fields } = documentOf(row);
      await documents.updateOne({ _id }, { $set: fields }, { upsert: true });
    },
    add: (_id, by) => changed(_id, { $inc: { stock: by } }),
    patch: (_id, stock) => changed(_id, { $set: { stock } }),
    remove: (_id) => documents.deleteOne({ _id }),
    saveAll: (rows) =>
      client.withSession((session) =>
        session.withTransaction(async () => {
          for (const row of rows) {
            const { _id, ...fields } = documentOf(row);
            await documents.updateOne({ _id }, { $set: fields }, { upsert: true, session });
          }
        }),
      ),
    close: () => client.close(),
  };
}
