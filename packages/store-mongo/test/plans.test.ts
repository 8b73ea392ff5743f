import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Db, Document } from 'mongodb';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { Consumer } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly email: string;
  readonly n: number;
}

/** A row of the server's profiler: what one statement looked at. */
interface Profiled extends Document {
  readonly op: string;
  readonly ns: string;
  readonly command: Document;
  readonly planSummary?: string;
  readonly docsExamined?: number;
  readonly keysExamined?: number;
  readonly nreturned?: number;
}

const ROWS = 3_000;
/** Documents or index keys that a statement may look at beyond its own. */
const SPARE = 20;
const PER_ROW = 10;

const server = testServer({ owned: true });
let db: Db;
let store: MongoStore;
let byId: MongoCollection<Thing, string>;
let byEmail: MongoCollection<Thing, string>;

beforeAll(async () => {
  const client = await server.client();
  db = client.db(server.service.databaseName);
  store = await server.store({ client, feed: { leaseMs: 600 } });
  byId = store.collection<Thing>('things');
  byEmail = store.collection<Thing, string>('people', { key: 'email' });
  for (const name of ['things', 'people', 'others']) {
    const rows = Array.from({ length: ROWS }, (_, n) => ({ _id: `${n}`, email: `${n}@x`, n }));
    await db.collection<Thing>(name).insertMany(rows);
  }
  await db.collection('people').createIndex({ email: 1 }, { unique: true });
  const others = store.collection<Thing>('others');
  await store.attach([byId, byEmail, others]);
  await seed(others.source);
});

afterEach(async () => {
  await db.command({ profile: 0 });
  await db.collection('system.profile').drop();
});

/** What other collections and consumers leave in the collections of Lockstep's own. */
async function seed(source: string): Promise<void> {
  const at = new Date();
  const v = at.getTime() * 1_000;
  const fill = async (name: string, document: (n: number) => Document): Promise<void> => {
    await db.collection<Document>(name).insertMany(Array.from({ length: ROWS }, (_, n) => document(n)));
  };
  await fill('lockstep_tombstones', (n) => ({ _id: { s: source, k: `gone ${n}` }, v, at }));
  await fill('lockstep_feed', (n) => ({ _id: `feed:elsewhere.${n}`, sources: [`elsewhere.${n}`] }));
  await fill('lockstep_feed_consumers', (n) => ({ _id: { consumer: `c ${n}`, source: `elsewhere.${n}` } }));
}

/** The statements of `work` that look at more than the rows that they are about. */
async function wasteful(work: () => Promise<unknown>, rows: number): Promise<string[]> {
  await db.command({ profile: 2 });
  await work();
  await db.command({ profile: 0 });
  const all = await db.collection<Profiled>('system.profile').find().toArray();
  const ours = all.filter(({ command, ns, originatingCommand }) => {
    // The server finds the start of a change stream in its log by the time.
    const stream = JSON.stringify((originatingCommand as Document | undefined) ?? command).includes(
      '$changeStream',
    );
    return !stream && !ns.endsWith('system.profile') && command['profile'] === undefined;
  });
  expect(ours.length).toBeGreaterThan(0);
  return ours
    .filter(({ docsExamined = 0, keysExamined = 0, nreturned = 0, planSummary = '' }) => {
      const looked = Math.max(docsExamined, keysExamined);
      return planSummary.includes('COLLSCAN') || looked > SPARE + PER_ROW * Math.max(rows, nreturned);
    })
    .map(({ command, docsExamined, keysExamined, ns, op, planSummary }) => {
      const looked = `${planSummary} docs ${docsExamined} keys ${keysExamined}`;
      return `${op} ${ns}: ${looked}: ${JSON.stringify(command).slice(0, 400)}`;
    });
}

test.each([
  ['_id', () => byId, (n: number) => `${n}`],
  ['another field', () => byEmail, (n: number) => `${n}@x`],
])('no statement scans: rows by %s, alone, together and in transactions', async (_, collection, keyOf) => {
  const rows = collection();
  const value = (n: number): Thing => ({ _id: `${n}`, email: `${n}@x`, n });
  const keys = [1, 2, 3, ROWS + 1].map(keyOf);
  const commands = [1, 2, 3].map((n) => ({ kind: 'put', key: keyOf(n), value: value(n), above: 0 }) as const);
  const found = await wasteful(async () => {
    await rows.read(keys, PRIMARY);
    await rows.read(keys.slice(0, 1), PRIMARY);
    const [first] = await rows.write(commands.slice(0, 1), CALL);
    if (first?.kind !== 'written') throw new Error('not written');
    await rows.write(commands, CALL);
    const flush = { kind: 'flush', value: value(4), version: Date.now() * 1_000 + 999_999 } as const;
    const key = keyOf(4);
    for (const command of [
      { kind: 'put', key: keyOf(ROWS + 1), value: value(ROWS + 1), above: 0 },
      { kind: 'put', key: keyOf(1), value: value(1), above: 0, ifVersion: first.version },
      { kind: 'increment', key, field: 'n', by: 1, above: 0 },
      { kind: 'restamp', key, above: 0, ifVersion: 1 },
      { ...flush, key },
      { ...flush, key: keyOf(ROWS + 2), value: value(ROWS + 2) },
      { ...flush, key: keyOf(ROWS + 2), value: null, version: flush.version + 2 },
      { kind: 'delete', key: keyOf(ROWS + 1), above: 0 },
    ] as const) {
      await rows.write([command], CALL);
    }
    await store.transactions.transaction(async (tx) => {
      await rows.read(keys, { ...PRIMARY, tx, flushed: true });
      await rows.write([commands[0] as (typeof commands)[number]], { ...CALL, tx });
      await db.collection<Thing>(rows.source.split('.')[1] ?? '').updateOne(
        { _id: '2' },
        { $inc: { n: 1 } },
        {
          session: tx.client as never,
        },
      );
      return await tx.changes();
    }, CALL);
    await rows.fence?.settle(keyOf(1), CALL);
  }, 10);
  expect(found).toEqual([]);
});

test('no statement scans: the feed, its positions and its registry, a replay, the status, a repair', async () => {
  const found = await wasteful(async () => {
    const sources = [byId.source, byEmail.source];
    const cache = memoryCache();
    const lockstep = createLockstep({ cache });
    const own = (await server.store()).collection<Thing>('things');
    const things = lockstep.collection({ name: 'things', store: own });
    const relay = lockstep.startRelay();
    await things.get('1');
    await things.put('1', { _id: '1', email: '1@x', n: 1 });
    await db.collection<Thing>('things').updateOne({ _id: '5' }, { $inc: { n: 1 } });
    await db.collection<Thing>('things').deleteOne({ _id: '6' });
    await lockstep.switchOff();
    await lockstep.switchOn();
    await relay.stop();
    await lockstep.close();
    const consumer = new Consumer(store.feed, sources);
    const { version } = (await byId.read(['7'], PRIMARY))[0] ?? { version: 0 };
    await db.collection<Thing>('things').updateOne({ _id: '7' }, { $inc: { n: 1 } });
    await consumer.tookAbove('7', version);
    await consumer.stop();
    await store.feed.status(sources);
    await store.repair([byId, byEmail]);
    const since = new Map(sources.map((source) => [source, [String(Date.now() - 1_000)]]));
    await store.feed.replay(since, async () => undefined, { sources, signal: AbortSignal.timeout(60_000) });
  }, 10);
  expect(found).toEqual([]);
});

test('no statement scans what it has no business with: attach once more, and detach', async () => {
  const again = await wasteful(() => store.attach([byId, byEmail]), 10);
  expect(again).toEqual([]);
  const gone = store.collection<Thing>('gone');
  await store.attach(gone);
  await gone.write([{ kind: 'put', key: 'a', value: { _id: 'a', email: 'a', n: 1 }, above: 0 }], CALL);
  const detached = await wasteful(() => store.detach(gone), 10);
  // Its own rows lose their versions, all of them.
  expect(detached.filter((each) => !each.includes('.gone:'))).toEqual([]);
});
