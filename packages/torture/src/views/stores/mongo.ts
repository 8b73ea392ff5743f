import { mongoStore } from '@lockstep/store-mongo';
import { type ChangeStream, type ClientSession, type Long, MongoClient } from 'mongodb';
import { TABLE, type ViewRow } from '../rows.js';
import { type RecordedChange, statesOf } from './states.js';
import type { ViewsStore } from './store.js';

const BOUND_MS = 10_000;
/** How long the server keeps the locks of a transaction whose process was killed, in seconds; a minute by default. */
const TRANSACTION_LIFETIME_S = 2;
const LAST = 'the last change';

interface Stamped extends ViewRow {
  readonly _lockstep?: Long | number;
}

export function openMongo(url: string): ViewsStore {
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: BOUND_MS,
    socketTimeoutMS: BOUND_MS * 3,
    maxPoolSize: 12,
  });
  const db = new URL(url).pathname.slice(1);
  const mongo = mongoStore({ client, db });
  const adapter = mongo.collection<ViewRow>(TABLE);
  const collection = client.db(db).collection<Stamped>(TABLE);
  const bound = { maxTimeMS: BOUND_MS, writeConcern: { w: 'majority' } } as const;
  const inside = (session: unknown) => (session === undefined ? {} : { session: session as ClientSession });
  const changes: RecordedChange[] = [];
  let stream: ChangeStream<Stamped> | undefined;
  let recording: Promise<void> | undefined;

  /** Follows the collection's own stream of changes until the last one. */
  async function record(from: ChangeStream<Stamped>): Promise<void> {
    for await (const change of from) {
      if (!('documentKey' in change)) continue;
      const key = change.documentKey._id as unknown as string;
      if (key === LAST) return;
      const row = 'fullDocument' in change ? (change.fullDocument ?? null) : null;
      const atMs = change.wallTime?.getTime() ?? 0;
      changes.push({ key, row, version: Number(row?._lockstep ?? 0), atMs });
    }
  }

  return {
    adapter: adapter as unknown as ViewsStore['adapter'],
    async prepare(rows) {
      await client
        .db('admin')
        .command({ setParameter: 1, transactionLifetimeLimitSeconds: TRANSACTION_LIFETIME_S });
      await mongo.attach(adapter, { tags: ['category', ['category', 'shelf']] });
      stream = collection.watch([], { fullDocument: 'required' });
      // The first question opens it.
      await stream.tryNext();
      recording = record(stream);
      await collection.insertMany([...rows], bound);
    },
    async find({ view, ...query }, session) {
      return await collection.find(view === 'all' ? {} : query, inside(session)).toArray();
    },
    one: async (key, session) => (await collection.findOne({ _id: key }, inside(session))) ?? undefined,
    foreign: {
      put: (row) => collection.replaceOne({ _id: row._id }, row, { ...bound, upsert: true }),
      update: ({ _id, ...set }) => collection.updateOne({ _id }, { $set: set }, bound),
      remove: (_id) => collection.deleteOne({ _id }, bound),
      move: (from, to, mark) => {
        const set = { category: { $literal: to }, token: { $concat: ['$token', mark] } };
        return collection.updateMany({ category: from }, [{ $set: set }], bound);
      },
      removeAll: () => collection.deleteMany({}, bound),
    },
    async states() {
      await collection.insertOne({ _id: LAST, category: null, shelf: 0, ref: '', token: LAST }, bound);
      await recording;
      return statesOf(changes);
    },
    pending: async () => (await mongo.feed?.status([adapter.source]))?.pending ?? 0,
    async close() {
      await stream?.close();
      await recording?.catch(() => undefined);
      await mongo.close();
      await client.close();
    },
  };
}
