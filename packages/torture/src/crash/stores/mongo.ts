import { mongoStore } from '@lockstep/store-mongo';
import { type Document, Long, MongoClient } from 'mongodb';
import type { FinalRow } from '../history.js';
import { type CrashRow, TABLE } from '../rows.js';
import type { CrashStore } from './store.js';

const BOUND_MS = 10_000;

/**
 * How long the server keeps the locks of a transaction whose process was killed, in seconds; it looks now and
 * then. By default that is a minute, in which writes of its rows time out: this run kills processes all the time.
 */
const TRANSACTION_LIFETIME_S = 2;

interface Stamped extends CrashRow {
  readonly _lockstep?: Long | number;
}

/**
 * The stamp of a foreign program that stamps as the store does: the server's clock in µs, above the old version,
 * even. One that does not is ordered only once the relay has adopted its write.
 */
const STAMP: Document = {
  $max: [
    { $multiply: [{ $toLong: '$$NOW' }, Long.fromNumber(1_000)] },
    {
      $subtract: [{ $add: ['$_lockstep', Long.fromNumber(2)] }, { $mod: ['$_lockstep', Long.fromNumber(2)] }],
    },
  ],
};

export function openMongo(url: string): CrashStore {
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: BOUND_MS,
    socketTimeoutMS: BOUND_MS * 3,
    maxPoolSize: 10,
  });
  const mongo = mongoStore({ client, db: new URL(url).pathname.slice(1) });
  const adapter = mongo.collection<CrashRow>(TABLE);
  const collection = client.db(new URL(url).pathname.slice(1)).collection<Stamped>(TABLE);

  async function rows(): Promise<Map<string, FinalRow>> {
    const found = await collection.find({}, { readConcern: 'majority', timeoutMS: BOUND_MS }).toArray();
    return new Map(
      found.map(({ _id, _lockstep = 0, counter, token }) => [
        _id,
        { token, counter, version: Number(_lockstep) },
      ]),
    );
  }

  async function update({ _id, ...set }: CrashRow, stamp: Document): Promise<number | undefined> {
    const changed = await collection.findOneAndUpdate({ _id }, [{ $set: { ...set, ...stamp } }], {
      returnDocument: 'after',
      writeConcern: { w: 'majority' },
      maxTimeMS: BOUND_MS,
    });
    if (changed === null) return undefined;
    return 'counter' in set && '_lockstep' in stamp ? Number(changed._lockstep ?? 0) : 0;
  }

  return {
    adapter: adapter as unknown as CrashStore['adapter'],
    async prepare(seeds) {
      await client
        .db('admin')
        .command({ setParameter: 1, transactionLifetimeLimitSeconds: TRANSACTION_LIFETIME_S });
      await collection.insertMany([...seeds]);
      await mongo.attach(adapter);
      return await rows();
    },
    foreignUpdate: (row) => update(row, { _lockstep: STAMP }),
    foreignPlainUpdate: (row) => update(row, {}),
    rows,
    pending: async () => (await mongo.feed?.status([adapter.source]))?.pending ?? 0,
    async close() {
      await mongo.close();
      await client.close();
    },
  };
}
