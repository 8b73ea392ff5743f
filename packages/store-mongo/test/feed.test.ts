import type { Document } from 'mongodb';
import { describe, expect, test } from 'vitest';
import type { PositionDocument } from '../src/feed/positions.js';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

const server = testServer();
let databases = 0;

/** A database of the test's own, with one attached collection. */
async function setUp() {
  databases += 1;
  const client = await server.client();
  const name = `${server.service.databaseName}_${databases}`;
  const db = client.db(name);
  const process = async (): Promise<{ store: MongoStore; things: MongoCollection<Thing, string> }> => {
    const store = await server.store({ client: await server.client(), db: name, feed: { leaseMs: 400 } });
    return { store, things: store.collection<Thing>('things') };
  };
  const first = await process();
  await first.store.attach([first.things]);
  const raw = db.collection<Thing>('things');
  const positions = db.collection<PositionDocument>('lockstep_feed');
  const group = `feed:${first.things.source}`;
  /** Change streams of the database that the server holds open; one that is just being read may be missed by one look. */
  const streams = async (): Promise<number> => {
    const open = { 'cursor.originatingCommand.pipeline.$changeStream': { $exists: true } };
    const found = await client
      .db('admin')
      .aggregate([
        { $currentOp: { idleCursors: true } },
        { $match: { ns: { $in: [`${name}.$cmd`, `${name}.$cmd.aggregate`] }, ...open } },
      ])
      .toArray();
    return found.length;
  };
  const put = async (key: string, n: number): Promise<number> => {
    const command = { kind: 'put', key, value: { _id: key, n }, above: 0 } as const;
    const [outcome] = await first.things.write([command], CALL);
    if (outcome?.kind !== 'written') throw new Error('not written');
    return outcome.version;
  };
  const { source } = first.things;
  return { ...first, client, db, raw, positions, group, put, process, source, streams };
}

describe('one reader', () => {
  test('of two consumers in two processes only one is handed changes', async () => {
    const { store, source, put, process } = await setUp();
    const consumers = [
      new Consumer(store.feed, [source]),
      new Consumer((await process()).store.feed, [source]),
    ];
    const version = await put('a', 1);
    await until(() => consumers.find((consumer) => consumer.newest('a')?.version === version));
    const next = await put('a', 2);
    const reader = await until(() => consumers.find((consumer) => consumer.newest('a')?.version === next));
    const other = consumers.find((consumer) => consumer !== reader);
    expect(other?.taken).toEqual([]);
    await Promise.all(consumers.map((consumer) => consumer.stop()));
  });

  test('when it stops, the other goes on; when it hangs, once its lease has run out', async () => {
    const { store, source, put, process, positions, group } = await setUp();
    const first = new Consumer(store.feed, [source]);
    await first.tookAbove('a', (await put('a', 1)) - 1);
    const second = new Consumer((await process()).store.feed, [source]);
    await first.stop();
    await second.tookAbove('a', (await put('a', 2)) - 1);
    await second.stop();
    // A killed process leaves its lease behind; nobody gives it back.
    const epoch = (await positions.findOne({ _id: group }))?.epoch;
    await positions.updateOne({ _id: group }, [
      { $set: { owner: 'killed', expiresAt: { $add: ['$$NOW', 400] } } },
    ]);
    const version = await put('a', 3);
    const third = new Consumer((await process()).store.feed, [source]);
    await third.tookAbove('a', version - 1);
    expect(Number((await positions.findOne({ _id: group }))?.epoch)).toBeGreaterThan(Number(epoch));
    await third.stop();
  });

  test('a reader whose lease went to another stops reading, and does not move the position', async () => {
    const { store, source, put, positions, group, streams } = await setUp();
    const consumer = new Consumer(store.feed, [source]);
    await consumer.tookAbove('a', (await put('a', 1)) - 1);
    await until(async () => ((await streams()) === 1 ? true : undefined));
    const token = { _data: 'ff' };
    await positions.updateOne({ _id: group }, [
      { $set: { owner: 'other', epoch: { $add: ['$epoch', 1] }, expiresAt: { $add: ['$$NOW', 60_000] } } },
    ]);
    await positions.updateOne({ _id: group }, { $set: { token } });
    await until(async () => {
      for (let look = 0; look < 5; look += 1) if ((await streams()) > 0) return undefined;
      return true;
    });
    await put('b', 1);
    expect(consumer.newest('b')).toBeUndefined();
    expect((await positions.findOne({ _id: group }))?.token).toEqual(token);
    await consumer.stop();
  });
});

describe('position', () => {
  test('after a restart the reader goes on where it was, own and foreign writes included (G4, G6)', async () => {
    const { store, source, put, raw, process } = await setUp();
    const first = new Consumer(store.feed, [source]);
    const seen = await put('a', 1);
    await first.tookAbove('a', seen - 1);
    await first.stop();
    const missed = await put('b', 1);
    await raw.updateOne({ _id: 'a' }, { $set: { n: 2 } });
    await raw.insertOne({ _id: 'c', n: 1 });
    const second = new Consumer((await process()).store.feed, [source]);
    expect((await second.tookAbove('b', missed - 1)).version).toBe(missed);
    await second.tookAbove('a', seen);
    await second.tookAbove('c', 0);
    await second.stop();
  });

  test('is not moved past what the handler has not taken (G9)', async () => {
    const { store, source, put, process, positions, group } = await setUp();
    const failing = new Consumer(store.feed, [source]);
    const before = await put('a', 1);
    await failing.tookAbove('a', before - 1);
    await failing.stop();
    const saved = (await positions.findOne({ _id: group }))?.token;
    const errors: unknown[] = [];
    const abort = new AbortController();
    const version = await put('b', 1);
    const done = (await process()).store.feed.consume(
      async () => {
        throw new Error('not taken');
      },
      { sources: [source], signal: abort.signal, onError: (error) => errors.push(error) },
    );
    await until(() => (errors.length >= 2 ? true : undefined));
    abort.abort();
    await done;
    expect((await positions.findOne({ _id: group }))?.token).toEqual(saved);
    const next = new Consumer((await process()).store.feed, [source]);
    await next.tookAbove('b', version - 1);
    await next.stop();
  });

  test('says what is left before a new reader has even read it', async () => {
    const { store, client, db, source, put, positions, group } = await setUp();
    const first = new Consumer(store.feed, [source]);
    await first.tookAbove('a', (await put('a', 1)) - 1);
    await first.stop();
    for (let i = 0; i < 50; i += 1) await put(`key-${i}`, i);
    const feed = { leaseMs: 400, maxBuffered: 1 };
    const slow = await server.store({ client, db: db.databaseName, feed });
    slow.collection<Thing>('things');
    const [held, reached] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const abort = new AbortController();
    const done = slow.feed.consume(
      async () => {
        reached.resolve();
        await held.promise;
      },
      { sources: [source], batchSize: 1, signal: abort.signal },
    );
    await reached.promise;
    const beatAt = async (): Promise<number> => Number((await positions.findOne({ _id: group }))?.['beatAt']);
    for (let beats = 0; beats < 2; beats += 1) {
      const before = await beatAt();
      await until(async () => (await beatAt()) > before || undefined);
    }
    expect((await store.feed.status([source])).pending).toBe(50);
    held.resolve();
    await until(async () => (await store.feed.status([source])).pending === 0 || undefined);
    abort.abort();
    await done;
  });

  test('of a new set of sources is taken over from sets that had them', async () => {
    const { store, source, put, process, db } = await setUp();
    const first = new Consumer(store.feed, [source]);
    await first.tookAbove('a', (await put('a', 1)) - 1);
    await first.stop();
    const missed = await put('b', 1);
    const { store: larger } = await process();
    const others = larger.collection<Thing>('others');
    await larger.attach([others]);
    const second = new Consumer(larger.feed, [source, others.source]);
    expect((await second.tookAbove('b', missed - 1)).version).toBe(missed);
    expect(second.newest('a')).toBeUndefined();
    expect(second.resets).toEqual([]);
    await second.stop();
    expect(db.databaseName).toBeDefined();
  });

  for (const [name, token] of [
    // An event's token that no oplog holds: what is left of one that has been truncated.
    [
      'truncated',
      {
        _data:
          '8200000001000000012B022C0100296E5A1004C7990FE052C9446DBB6E472ECDED3B7A46645F696400646B03ECC25D66814C25A261250004',
      },
    ],
    ['invalid', { _data: 'zz' }],
  ] as const) {
    test(`that is lost (${name}) has every row told above its version, and the rest by onReset; then it goes on`, async () => {
      const { store, source, put, raw, positions, group, process } = await setUp();
      const first = new Consumer(store.feed, [source]);
      const versions = [await put('a', 1), await put('b', 1), await put('gone', 1)];
      const newest = Math.max(...versions);
      await first.tookAbove('gone', 0);
      await first.stop();
      await raw.updateOne({ _id: 'a' }, { $set: { n: 2 } });
      await raw.deleteOne({ _id: 'gone' });
      await positions.updateMany({}, { $set: { token, warm: token } });
      const { store: other, things } = await process();
      const second = new Consumer(other.feed, [source], { batchSize: 1 });
      for (const key of ['a', 'b']) await second.tookAbove(key, newest);
      expect(second.resets).toHaveLength(1);
      const [reset] = second.resets;
      expect(reset?.source).toBe(source);
      expect(reset?.version).toBeGreaterThan(newest);
      // What was deleted unseen can't be told by key; a late flush of it is refused all the same.
      const flush = {
        kind: 'flush',
        key: 'gone',
        value: { _id: 'gone', n: 9 },
        version: newest + 1,
      } as const;
      expect(await things.write([flush], CALL)).toEqual([{ kind: 'superseded', version: reset?.version }]);
      const again = await put('gone', 2);
      expect(again).toBeGreaterThan(reset?.version ?? 0);
      await second.tookAbove('gone', again - 1);
      await until(async () => {
        const saved = await positions.findOne({ _id: group });
        return JSON.stringify(saved?.token) !== JSON.stringify(token) ? true : undefined;
      });
      await second.stop();
      expect(group).toContain(source);
    });
  }
});

describe('a collection that is', () => {
  test('dropped has all told by onReset, and what is written next as ever', async () => {
    const { store, source, put, raw } = await setUp();
    const consumer = new Consumer(store.feed, [source]);
    const version = await put('a', 1);
    await consumer.tookAbove('a', version - 1);
    await raw.drop();
    const reset = await until(() => consumer.resets[0]);
    expect(reset.version).toBeGreaterThan(version);
    const next = await put('a', 2);
    expect(next).toBeGreaterThan(reset.version);
    expect((await consumer.tookAbove('a', next - 1)).version).toBe(next);
    await consumer.stop();
  });

  test('renamed away, or replaced by a renamed one, has all told by onReset, and the new rows', async () => {
    const { store, source, put, raw, db, things } = await setUp();
    const consumer = new Consumer(store.feed, [source]);
    const version = await put('a', 1);
    await consumer.tookAbove('a', version - 1);
    await raw.rename('elsewhere');
    const first = await until(() => consumer.resets[0]);
    expect(first.version).toBeGreaterThan(version);
    await db.collection<Thing>('prepared').insertOne({ _id: 'a', n: 7 });
    await db.collection('prepared').rename('things', { dropTarget: true });
    await consumer.tookAbove('a', first.version);
    const [row] = await things.read(['a'], PRIMARY);
    expect(row?.value).toEqual({ _id: 'a', n: 7 });
    await consumer.stop();
  });

  test('gone with its database is told by onReset, and the feed finds its feet again', async () => {
    const { store, source, put, db } = await setUp();
    const consumer = new Consumer(store.feed, [source]);
    const version = await put('a', 1);
    await consumer.tookAbove('a', version - 1);
    await db.dropDatabase();
    await until(() => consumer.resets.find((reset) => reset.version > version));
    const next = await put('a', 2);
    await consumer.tookAbove('a', next - 1);
    await consumer.stop();
  });
});

test('what this process has acknowledged is not told, anything newer is', async () => {
  const { store, source, put } = await setUp();
  const first = await put('a', 1);
  store.feed.acknowledge([{ source, key: 'a', version: first }]);
  const marker = await put('b', 1);
  const consumer = new Consumer(store.feed, [source]);
  await consumer.tookAbove('b', marker - 1);
  expect(consumer.newest('a')).toBeUndefined();
  const second = await put('a', 2);
  expect((await consumer.tookAbove('a', first)).version).toBe(second);
  await consumer.stop();
});

test('the median lag is far below a second (G4)', async () => {
  const { store, source, put, raw } = await setUp();
  const consumer = new Consumer(store.feed, [source]);
  await consumer.tookAbove('warm', (await put('warm', 1)) - 1);
  const lags: number[] = [];
  for (let n = 0; n < 60; n += 1) {
    const key = `k${n}`;
    const startedMs = performance.now();
    if (n % 2 === 0) await put(key, n);
    else await raw.insertOne({ _id: key, n });
    await consumer.tookAbove(key, 0);
    lags.push(performance.now() - startedMs);
  }
  lags.sort((a, b) => a - b);
  expect(lags[lags.length / 2]).toBeLessThan(1_000);
  await consumer.stop();
});
