import { InvalidOptionError } from '@lockstep/core';
import { describe, expect, test } from 'vitest';
import { mongoStore } from '../src/store.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
const lone = testServer({ standalone: true });

describe('attach', () => {
  test('may run again and again, stamps what is there, and detach takes all of it away', async () => {
    const client = await server.client();
    const raw = client.db(server.service.databaseName).collection('old');
    await raw.insertMany([{ n: 1 }, { n: 2 }]);
    const store = await server.store({ client });
    const old = store.collection('old');
    await expect(old.open()).rejects.toThrow(/is not attached: call mongo.attach\(\)/);
    await store.attach([old]);
    const versions = await raw.distinct('_lockstep');
    await store.attach([old]);
    await old.open();
    expect(await raw.distinct('_lockstep')).toEqual(versions);
    expect(await raw.countDocuments({ _lockstep: { $type: 'long' } })).toBe(2);
    await store.detach([old]);
    await store.detach([old]);
    expect(await raw.countDocuments({ _lockstep: { $exists: true } })).toBe(0);
    expect((await raw.indexes()).map(({ name }) => name)).toEqual(['_id_']);
    await expect(old.open()).rejects.toThrow(InvalidOptionError);
  });

  test('changes the tombstones’ time to live in place', async () => {
    const client = await server.client();
    const seconds = async (): Promise<unknown> =>
      (await client.db(server.service.databaseName).collection('lockstep_tombstones').indexes()).find(
        ({ name }) => name === 'lockstep_tombstone_ttl',
      )?.['expireAfterSeconds'];
    for (const tombstoneTtlMs of [3_600_000, 7_200_000]) {
      const store = await server.store({ client, tombstoneTtlMs });
      await store.attach([store.collection('graves')]);
      expect(await seconds()).toBe(tombstoneTtlMs / 1000);
    }
  });

  test('another key needs a unique index that covers every row, byte by byte, and pre-images', async () => {
    const client = await server.client();
    const db = client.db(server.service.databaseName);
    const store = await server.store({ client });
    const users = store.collection<{ email: string }, string>('users', { key: 'email' });
    const raw = await db.createCollection('users');
    await expect(store.attach([users])).rejects.toThrow(/needs a unique index on "email"/);
    for (const options of [
      { unique: false },
      { unique: true, partialFilterExpression: { active: true } },
      { unique: true, collation: { locale: 'en', strength: 2 } },
    ]) {
      await raw.createIndex({ email: 1 }, { ...options, name: 'e' });
      await expect(store.attach([users])).rejects.toThrow(/needs a unique index on "email"/);
      await raw.dropIndex('e');
    }
    await raw.createIndex({ email: 1 }, { unique: true });
    await store.attach([users]);
    await users.open();
    await db.command({ collMod: 'users', changeStreamPreAndPostImages: { enabled: false } });
    await expect(users.open()).rejects.toThrow(/changeStreamPreAndPostImages/);
  });

  test('a collection whose ids are compared by a collation is refused', async () => {
    const client = await server.client();
    const store = await server.store({ client });
    const db = client.db(server.service.databaseName);
    await db.createCollection('loose', { collation: { locale: 'en', strength: 2 } });
    await expect(store.attach([store.collection('loose')])).rejects.toThrow(/compared by the collation en/);
  });
});

describe('options', () => {
  test('each bad one is named', async () => {
    const client = await server.client();
    const store = mongoStore({ client, db: 'x' });
    const bad: [() => unknown, RegExp][] = [
      [() => mongoStore({ client: {} as never, db: 'x' }), /^mongoStore.client: /],
      [() => mongoStore({ client, db: '' }), /^mongoStore.db: /],
      [() => mongoStore({ client, db: 'x', other: 1 } as never), /^mongoStore.other: unknown option/],
      [() => mongoStore(undefined as never), /^mongoStore: must be an object of options, got undefined/],
      [() => mongoStore({ client, db: 'x', feed: { leaseMs: 1 } }), /^mongoStore.feed.leaseMs: /],
      [() => store.collection(''), /^mongoStore.collection: /],
      [() => store.collection('c', { key: 'a.b' }), /^collection\("c"\).key: /],
      [() => store.collection('c', { versionField: '_id' }), /^collection\("c"\).versionField: /],
      [() => store.collection('c', { writeConcern: { w: 0 } }), /^collection\("c"\).writeConcern: /],
    ];
    for (const [make, message] of bad) expect(make).toThrow(message);
    store.collection('c');
    expect(() => store.collection('c', { key: 'email' })).toThrow(/bound already/);
  });

  test('reads may be behind where the read preference lets them', async () => {
    const store = await server.store();
    expect(store.collection('p').capabilities.replicaReads).toBe(false);
    const replica = store.collection('s', { readPreference: 'secondaryPreferred' });
    expect(replica.capabilities.replicaReads).toBe(true);
  });
});

describe('a standalone server', () => {
  test('is refused with a word on what is lost', async () => {
    const store = await lone.store();
    await expect(store.collection('things').open()).rejects.toThrow(
      /standalone.*G4.*G6.*--replSet.*allowStandalone/s,
    );
  });

  test('with allowStandalone has rows, versions and deletions, and says what it has not', async () => {
    const store = await lone.store({ allowStandalone: true });
    const things = store.collection<{ _id: string; n: number }>('things');
    await store.attach([things]);
    await things.open();
    expect(things.capabilities).toMatchObject({
      transactions: false,
      changeFeed: false,
      flush: false,
      restamp: true,
    });
    expect([things.transactions, things.feed]).toEqual([undefined, undefined]);
    const put = (n: number) => ({ kind: 'put', key: 'a', value: { _id: 'a', n }, above: 0 }) as const;
    const [first] = await things.write([put(1)], CALL);
    const [gone] = await things.write([{ kind: 'delete', key: 'a', above: 0 }], CALL);
    const [again] = await things.write([put(2)], CALL);
    const versions = [first, gone, again].map((outcome) =>
      outcome?.kind === 'written' ? outcome.version : 0,
    );
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
    expect((await things.read(['a'], PRIMARY))[0]?.value).toEqual({ _id: 'a', n: 2 });
  });
});

describe('what no change stream tells of is refused by name', () => {
  test.each([
    ['a view', { viewOn: 'old', pipeline: [] }, /is a view/],
    ['a time-series collection', { timeseries: { timeField: 'at' } }, /is a time-series collection/],
    ['a capped collection', { capped: true, size: 4096 }, /is capped/],
  ])('%s', async (what, options, message) => {
    const client = await server.client();
    await client.db(server.service.databaseName).createCollection(what, options);
    const store = await server.store({ client });
    const things = store.collection(what);
    await expect(store.attach([things])).rejects.toThrow(message);
    await expect(things.open()).rejects.toThrow(InvalidOptionError);
  });

  test.each(['admin', 'config', 'local'])('the database %s', async (db) => {
    const client = await server.client();
    expect(() => mongoStore({ client, db })).toThrow(/no change streams/);
  });
});
