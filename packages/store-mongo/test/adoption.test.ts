import type { Collection, Document } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

const server = testServer();
let store: MongoStore;
let things: MongoCollection<Thing, string>;
let raw: Collection<Thing>;
let consumer: Consumer;

beforeAll(async () => {
  const client = await server.client();
  store = await server.store({ client });
  things = store.collection<Thing>('things');
  await store.attach([things]);
  raw = client.db(server.service.databaseName).collection<Thing>('things');
  consumer = new Consumer(store.feed, [things.source]);
});

afterAll(async () => {
  await consumer.stop();
  expect(consumer.errors).toEqual([]);
});

async function put(key: string, n: number, above = 0): Promise<number> {
  const [outcome] = await things.write([{ kind: 'put', key, value: { _id: key, n }, above }], CALL);
  if (outcome?.kind !== 'written') throw new Error(`not written: ${JSON.stringify(outcome)}`);
  return outcome.version;
}

/** Puts a row, lets the feed tell of it, has another program do something, and gives the adopted version. */
async function adopted(key: string, foreign: () => Promise<unknown>, above = 0): Promise<[number, number]> {
  await put(key, 1, above);
  // Whatever the feed makes of that is told before this.
  const marker = await put('marker', 1);
  await consumer.tookAbove('marker', marker - 1);
  const before = consumer.newest(key)?.version ?? 0;
  expect(before).toBeGreaterThan(above);
  await foreign();
  return [before, (await consumer.tookAbove(key, before)).version];
}

const FOREIGN: Record<string, (key: string) => Promise<unknown>> = {
  updateOne: (key) => raw.updateOne({ _id: key }, { $set: { n: 2 } }),
  'updateMany with a pipeline': (key) => raw.updateMany({ _id: key }, [{ $set: { n: { $add: ['$n', 1] } } }]),
  'replaceOne that drops the version': (key) => raw.replaceOne({ _id: key }, { n: 2 }),
  'replaceOne that puts the old version back': async (key) => {
    const document = await raw.findOne({ _id: key });
    await raw.replaceOne({ _id: key }, { ...document, n: 2 });
  },
  'updateOne that sets every field, the version included': async (key) => {
    const { _id, ...fields } = (await raw.findOne({ _id: key })) ?? { _id: '' };
    await raw.updateOne({ _id: key }, { $set: { ...fields, n: 2 } });
  },
  findOneAndUpdate: (key) => raw.findOneAndUpdate({ _id: key }, { $inc: { n: 1 } }),
  findOneAndReplace: (key) => raw.findOneAndReplace({ _id: key }, { n: 2 }),
  bulkWrite: (key) => raw.bulkWrite([{ updateOne: { filter: { _id: key }, update: { $set: { n: 2 } } } }]),
  'garbage in the version field': (key) => raw.updateOne({ _id: key }, { $set: { n: 2, _lockstep: 'x' } }),
};

describe('another program’s write is adopted: it gets a version, which the feed tells (G6)', () => {
  for (const [name, write] of Object.entries(FOREIGN)) {
    test(name, async () => {
      const key = `by ${name}`;
      const [before, version] = await adopted(key, () => write(key));
      const [row] = await things.read([key], PRIMARY);
      expect(row?.value.n).toBe(2);
      expect(row?.version).toBe(version);
      expect(version).toBeGreaterThan(before);
      expect(version % 2).toBe(0);
    });
  }

  test('an old copy put back over a newer row goes above the newer one', async () => {
    await put('old copy', 1);
    const old = await raw.findOne({ _id: 'old copy' });
    const newer = await put('old copy', 2);
    await raw.replaceOne({ _id: 'old copy' }, old ?? { n: 0 });
    const change = await consumer.tookAbove('old copy', newer);
    expect((await things.read(['old copy'], PRIMARY))[0]).toMatchObject({
      value: { n: 1 },
      version: change.version,
    });
  });

  test.each([
    ['replaced', (key: string) => put(key, 2)],
    ['deleted', (key: string) => things.write([{ kind: 'delete', key, above: 0 }], CALL)],
  ])('an old copy whose version the feed itself gave, put back over what was %s', async (what, then) => {
    const key = `adopted, ${what}`;
    await adopted(key, () => raw.updateOne({ _id: key }, { $set: { n: 5 } }));
    const copy = (await raw.findOne({ _id: key })) ?? { n: 0 };
    await then(key);
    const newer = await put('marker', 1);
    await consumer.tookAbove('marker', newer - 1);
    const last = consumer.newest(key)?.version ?? 0;
    await raw.replaceOne({ _id: key }, copy, { upsert: true });
    const change = await consumer.tookAbove(key, last);
    const [row] = await things.read([key], PRIMARY);
    expect(row).toMatchObject({ value: { n: 5 }, version: change.version });
  });

  test('of a row that was ahead of the clock, too', async () => {
    const ahead = (Date.now() + 60_000) * 1000;
    for (const [name, foreign] of [
      ['replaced', () => raw.replaceOne({ _id: 'ahead replaced' }, { n: 2 })],
      ['deleted', () => raw.deleteOne({ _id: 'ahead deleted' })],
    ] as const) {
      const [, version] = await adopted(`ahead ${name}`, foreign, ahead);
      expect(version).toBeGreaterThan(ahead);
    }
  });

  test('deleteOne, findOneAndDelete and deleteMany leave tombstones that a late flush finds', async () => {
    for (const [name, foreign] of [
      ['one', () => raw.deleteOne({ _id: 'gone one' })],
      ['found', () => raw.findOneAndDelete({ _id: 'gone found' })],
      ['many', () => raw.deleteMany({ _id: 'gone many' })],
    ] as const) {
      const key = `gone ${name}`;
      const [before, version] = await adopted(key, foreign);
      expect(consumer.newest(key)?.op).toBe('delete');
      const [late] = await things.write(
        [{ kind: 'flush', key, value: { _id: key, n: 9 }, version: before + 1 }],
        CALL,
      );
      expect(late).toEqual({ kind: 'superseded', version });
      expect(await put(key, 3)).toBeGreaterThan(version);
    }
  });

  test('a row without a version can be read before anybody adopted it, and keeps what it got', async () => {
    await consumer.stop();
    await raw.insertOne({ _id: 'fresh', n: 1 });
    const [row] = await things.read(['fresh'], PRIMARY);
    expect(row?.value).toEqual({ _id: 'fresh', n: 1 });
    expect(row?.version).toBeGreaterThan(0);
    expect((await things.read(['fresh'], PRIMARY))[0]?.version).toBe(row?.version);
    consumer = new Consumer(store.feed, [things.source]);
    await consumer.tookAbove('fresh', 0);
  });
});

test('our own writes are told at their own versions, and adopted by nobody', async () => {
  const keys = Array.from({ length: 20 }, (_, n) => `own ${n}`);
  const versions = new Map<string, number>();
  for (const n of [1, 2]) for (const key of keys) versions.set(key, await put(key, n));
  const deletes = await things.write(
    keys.slice(0, 5).map((key) => ({ kind: 'delete' as const, key, above: 0 })),
    CALL,
  );
  deletes.forEach((outcome, at) => {
    if (outcome.kind === 'written') versions.set(keys[at] ?? '', outcome.version);
  });
  const last = await put('own last', 1);
  await consumer.tookAbove('own last', last - 1);
  for (const [key, version] of versions) expect(consumer.newest(key)?.version).toBe(version);
  const rows = await things.read(keys.slice(5), PRIMARY);
  expect(rows.map((row) => row?.version)).toEqual(keys.slice(5).map((key) => versions.get(key)));
});

test('an adopted row is bumped once: its own event does not loop', async () => {
  const [, version] = await adopted('loop', () => raw.replaceOne({ _id: 'loop' }, { n: 2 }));
  const marker = await put('loop marker', 1);
  await consumer.tookAbove('loop marker', marker - 1);
  await until(async () => (await things.read(['loop'], PRIMARY))[0]?.version === version || undefined);
  const second = await put('loop marker', 2);
  await consumer.tookAbove('loop marker', second - 1);
  expect((await things.read(['loop'], PRIMARY))[0]?.version).toBe(version);
});

test('with another key field a changed key is a deletion and an insertion, and a deletion has its key', async () => {
  const users = store.collection<{ email: string; n: number }>('users', { key: 'email' });
  const rawUsers = (await server.client())
    .db(server.service.databaseName)
    .collection<{ email: string; n: number }>('users');
  await rawUsers.createIndex({ email: 1 }, { unique: true });
  await store.attach([users]);
  await users.open();
  const listener = new Consumer(store.feed, [users.source]);
  const [outcome] = await users.write(
    [{ kind: 'put', key: 'a@x', value: { email: 'a@x', n: 1 }, above: 0 }],
    CALL,
  );
  const version = outcome?.kind === 'written' ? outcome.version : 0;
  await rawUsers.updateOne({ email: 'a@x' }, { $set: { email: 'b@x' } });
  expect(await listener.tookAbove('a@x', version)).toMatchObject({ op: 'delete' });
  const moved = await listener.tookAbove('b@x', version);
  expect(moved.op).toBe('put');
  await rawUsers.deleteOne({ email: 'b@x' });
  expect(await listener.tookAbove('b@x', moved.version)).toMatchObject({ op: 'delete' });
  await listener.stop();
  expect(listener.errors).toEqual([]);
});
