import { type Collection, DBRef, type Document } from 'mongodb';
import { beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
let store: MongoStore;
let things: MongoCollection<Document, string>;
let others: MongoCollection<Document, string>;
let raw: Collection<Document>;
let openCursors: () => Promise<number>;

beforeAll(async () => {
  const client = await server.client();
  store = await server.store({ client });
  [things, others] = ['things', 'others'].map((name) => store.collection<Document, string>(name)) as [
    MongoCollection<Document, string>,
    MongoCollection<Document, string>,
  ];
  await store.attach([things, others]);
  raw = client.db(server.service.databaseName).collection('things');
  openCursors = async () => {
    const status = await client.db('admin').command({ serverStatus: 1 });
    return status['metrics'].cursor.open.total as number;
  };
});

async function put(key: string, n: number): Promise<number> {
  const [outcome] = await things.write([{ kind: 'put', key, value: { _id: key, n }, above: 0 }], CALL);
  if (outcome?.kind !== 'written') throw new Error(`not written: ${outcome?.kind}`);
  return outcome.version;
}

/** Ids that MongoDB takes and that can't be keys. */
const ODD: Record<string, unknown> = {
  'too long a text': 'x'.repeat(2_000),
  'a document with integer names': new Map([
    ['a', 1],
    ['1', 2],
  ]),
  'a reference': new DBRef('other', 1 as never),
  'a document with an operator’s name deep inside': { a: { b: { $c: 1 } } },
  'a huge document': { text: 'y'.repeat(100_000) },
};

test('a document whose id can’t be a key is set aside: the others of its batch are told, no reader is left behind', async () => {
  const consumer = new Consumer(store.feed, [things.source, others.source]);
  const versions = new Map<string, number>();
  for (const key of ['before', 'after']) versions.set(key, await put(key, 1));
  await consumer.tookAbove('after', 0);
  const cursors = await openCursors();
  let odd = 0;
  for (const id of Object.values(ODD)) {
    await raw.updateOne({ _id: 'before' as never }, { $inc: { n: 1 } });
    odd += await raw.insertOne({ _id: id as never, n: 1 }).then(
      () => 1,
      () => 0,
    );
    await raw.updateOne({ _id: 'after' as never }, { $inc: { n: 1 } });
  }
  expect(odd).toBeGreaterThan(3);
  for (const [key, version] of versions) {
    const change = await until(async () => {
      const [row] = await things.read([key], PRIMARY);
      const told = consumer.newest(key);
      return row?.value['n'] === 1 + Object.keys(ODD).length && told?.version === row.version
        ? told
        : undefined;
    });
    expect(change.version).toBeGreaterThan(version);
  }
  const sources = [things.source, others.source];
  await until(async () => (await store.feed.status(sources)).setAside === odd || undefined);
  expect(consumer.errors.map(String)).toEqual(
    Array.from({ length: odd }, () => expect.stringContaining('set aside')),
  );
  // A later change of another row, and deletions of the odd ones: still one reader, one version each.
  const marker = await put('marker', 1);
  await consumer.tookAbove('marker', marker - 1);
  const told = consumer.taken.length;
  await raw.deleteMany({ _id: { $nin: ['before', 'after', 'marker'] as never[] } });
  await until(async () => (await store.feed.status(sources)).setAside === 2 * odd || undefined);
  expect(consumer.taken.length).toBe(told);
  expect(await openCursors()).toBeLessThanOrEqual(cursors);
  await consumer.stop();
});

test('a rescan and a replay pass by rows whose ids can’t be keys', async () => {
  const sinceMs = Date.now() - 1_000;
  await raw.insertOne({ _id: 'z'.repeat(3_000) as never, n: 1, _lockstep: (Date.now() + 1) * 1_000 });
  const version = await put('beside', 1);
  const replayed: string[] = [];
  const options = { signal: new AbortController().signal, sources: [things.source] };
  const take = async (changes: readonly { readonly key: string }[]): Promise<void> => {
    replayed.push(...changes.map(({ key }) => key));
  };
  await store.feed.replay(new Map([[things.source, [String(sinceMs)]]]), take, options);
  expect(replayed).toContain('beside');
  // Without a position, everything is scanned.
  await (await server.client()).db(server.service.databaseName).collection('lockstep_feed').deleteMany({});
  const consumer = new Consumer(store.feed, [things.source]);
  await consumer.tookAbove('beside', version);
  await consumer.stop();
  expect(consumer.errors).toEqual([]);
});

test('a document that the driver reads as a reference is a row as it reads it, and no other reader’s trouble', async () => {
  const document = { _id: 'ref', $ref: 'others', $id: 7, n: 1 };
  await raw.insertOne(document as never);
  await put('plain', 1);
  const [driver] = await raw.find({ _id: 'ref' as never }).toArray();
  expect(driver).toBeInstanceOf(DBRef);
  for (const keys of [['ref'], ['plain', 'ref']]) {
    const rows = await things.read(keys, PRIMARY);
    expect(rows.map((row) => row?.key)).toEqual(keys);
    const value = rows.at(-1)?.value;
    expect(value).toEqual(new DBRef('others', 7 as never, undefined, { _id: 'ref', n: 1 }));
    expect(rows.at(-1)?.version).toBeGreaterThan(0);
    const { serializer } = things;
    expect(serializer?.deserialize(serializer.serialize(value))).toEqual(value);
  }
  const [patched] = await things.write([{ kind: 'patch', key: 'ref', set: { n: 2 }, above: 0 }], CALL);
  expect(patched).toMatchObject({ kind: 'written', value: { fields: { _id: 'ref', n: 2 } } });
});
