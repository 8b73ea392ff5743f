import { type LockstepError, StoreUnavailableError } from '@lockstep/core';
import { type Document, MongoClient } from 'mongodb';
import { describe, expect, test } from 'vitest';
import { assertShardKey } from '../src/install/sharding.js';
import { mongoStore } from '../src/store.js';
import { testServer } from './support/server.js';

const server = testServer();
const guarded = testServer({ auth: true });
const three = testServer({ members: 3 });

describe('the key that is recorded', () => {
  test('is the one that a collection is opened and attached with, or both are named', async () => {
    const client = await server.client();
    const raw = client.db(server.service.databaseName).collection<Document>('users');
    await raw.createIndex({ email: 1 }, { unique: true });
    const first = await server.store({ client });
    await first.attach(first.collection('users'));
    const second = await server.store({ client });
    const byEmail = second.collection('users', { key: 'email' });
    const both = /attached with key "_id" and version field "_lockstep", not "email" and "_lockstep"/;
    await expect(byEmail.open()).rejects.toThrow(both);
    await expect(second.attach(byEmail)).rejects.toThrow(both);
    // Nothing was changed on the way.
    const [info] = (await client
      .db(server.service.databaseName)
      .listCollections({ name: 'users' })
      .toArray()) as Document[];
    expect(info?.['options']).toEqual({});
    const third = await server.store({ client });
    const otherField = third.collection('users', { versionField: 'v' });
    await expect(otherField.open()).rejects.toThrow(
      /^collection\("users"\)\.versionField: .*, not "_id" and "v"/,
    );
    await expect(third.attach(otherField)).rejects.toThrow(/Detach it first/);
    expect((await raw.indexes()).map(({ name }) => name)).toEqual([
      '_id_',
      'email_1',
      'lockstep_version__lockstep',
    ]);
    await first.collection('users').open();

    // Detached, by whichever key it is bound, it may have another.
    await raw.insertOne({ _id: 'a', email: 'e', _lockstep: 2, v: 'mine' } as Document);
    await third.detach(otherField);
    expect(await raw.findOne()).toEqual({ _id: 'a', email: 'e', v: 'mine' });
    await second.attach(byEmail);
    await byEmail.open();
    await expect(first.collection('users').open()).rejects.toThrow(/with key "email".*not "_id"/);
  });

  test('of a collection that was dropped and made anew is nobody’s', async () => {
    const client = await server.client();
    const raw = client.db(server.service.databaseName).collection('anew');
    const first = await server.store({ client });
    await first.attach(first.collection('anew'));
    await raw.drop();
    await raw.createIndex({ email: 1 }, { unique: true });
    const second = await server.store({ client });
    const byEmail = second.collection('anew', { key: 'email' });
    await second.attach(byEmail);
    await byEmail.open();
  });

  test('is written once by many who attach at once', async () => {
    const stores = await Promise.all([0, 1, 2, 3].map(() => server.store()));
    const client = await server.client();
    await client.db(server.service.databaseName).collection('many').createIndex({ n: 1 }, { unique: true });
    const results = await Promise.allSettled(
      stores.map((store, at) => store.attach(store.collection('many', at % 2 === 0 ? {} : { key: 'n' }))),
    );
    // A new collection's key is free until its index is there; after that it is one of the two.
    const opened = await Promise.allSettled(
      stores.map((store, at) => store.collection('many', at % 2 === 0 ? {} : { key: 'n' }).open()),
    );
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(opened.map(({ status }) => status).sort()).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
  });

  test('that an earlier release did not write is written by attach', async () => {
    const client = await server.client();
    const store = await server.store({ client });
    const things = store.collection('earlier');
    await store.attach(things);
    await client.db(server.service.databaseName).collection('lockstep_feed_sources').deleteMany({});
    await expect(things.open()).rejects.toThrow(
      /was attached by an earlier release.*call mongo\.attach\(\) again/,
    );
    await store.attach(things);
    await things.open();
  });
});

describe('open checks what attach has made, and says what mends it', () => {
  async function attached(name: string, options = {}) {
    const client = await server.client();
    const db = client.db(server.service.databaseName);
    const raw = db.collection(name);
    await raw.createIndex({ email: 1 }, { unique: true });
    const store = await server.store({ client });
    const things = store.collection(name, options);
    await store.attach(things);
    await things.open();
    return { db, raw, store, things };
  }

  test('a version index that was dropped, or is hidden', async () => {
    const { raw, store, things } = await attached('indexes');
    await raw.dropIndex('lockstep_version__lockstep');
    await expect(things.open()).rejects.toThrow(/has no index on "_lockstep" any more.*mongo\.attach/);
    await raw.createIndex({ _lockstep: 1 }, { sparse: true, name: 'partial' });
    await expect(things.open()).rejects.toThrow(/has no index on "_lockstep" any more/);
    await raw.dropIndex('partial');
    await raw.createIndex({ _lockstep: 1 }, { name: 'mine', hidden: true });
    await expect(things.open()).rejects.toThrow(
      /"mine" of .* is hidden: db\.getCollection\("indexes"\)\.unhideIndex\("mine"\)/,
    );
    await raw.dropIndex('mine');
    // Anybody's will do.
    await raw.createIndex({ _lockstep: 1 }, { name: 'mine' });
    await store.attach(things);
    await things.open();
  });

  test('a key index that was dropped, or is hidden; pre-images that were turned off', async () => {
    const { db, raw, things } = await attached('keys', { key: 'email' });
    await db.command({ collMod: 'keys', index: { name: 'email_1', hidden: true } });
    await expect(things.open()).rejects.toThrow(/unhideIndex\("email_1"\)/);
    await raw.dropIndex('email_1');
    await expect(things.open()).rejects.toThrow(/createIndex\(\{ "email": 1 \}, \{ unique: true \}\)/);
    await raw.createIndex({ email: 1 }, { unique: true });
    await db.command({ collMod: 'keys', changeStreamPreAndPostImages: { enabled: false } });
    await expect(things.open()).rejects.toThrow(
      /collMod: "keys", changeStreamPreAndPostImages: \{ enabled: true \}/,
    );
  });

  test('tombstones that nothing removes any more', async () => {
    const { db, store, things } = await attached('graves');
    await db.collection('lockstep_tombstones').drop();
    await expect(things.open()).rejects.toThrow(
      /lockstep_tombstones has no index "lockstep_tombstone_ttl" any more/,
    );
    await store.attach(things);
    await things.open();
  });
});

describe('rights', () => {
  async function root() {
    const client = await guarded.client();
    return { client, name: guarded.service.databaseName, db: client.db(guarded.service.databaseName) };
  }

  /** A client of a user of the database's own. */
  async function userClient(user: string): Promise<MongoClient> {
    const url = new URL(guarded.service.url);
    url.username = user;
    url.password = 'secret';
    url.searchParams.set('authSource', guarded.service.databaseName);
    return new MongoClient(url.href);
  }

  test('that open needs, and the user lacks, are named with the command that grants them', async () => {
    const { db, name } = await root();
    const setUp = await guarded.store();
    await setUp.attach(setUp.collection('users'));
    await db.command({ createUser: 'reader', pwd: 'secret', roles: [{ role: 'read', db: name }] });
    await using client = await userClient('reader');
    const store = mongoStore({ client, db: name });
    const error = (await store
      .collection('users')
      .open()
      .catch((cause: unknown) => cause)) as LockstepError;
    expect(error).toMatchObject({ code: 'LOCKSTEP_INVALID_OPTION' });
    const grant = `db.getSiblingDB("${name}").grantRolesToUser("reader", [{ role: "readWrite", db: "${name}" }])`;
    expect(error.message).toContain(
      `the user "reader" of "${name}" lacks insert, update, remove on ${name}.users; `,
    );
    expect(error.message).toContain(`update on ${name}.lockstep_feed_sources`);
    expect(error.message).toContain(grant);
    // As it says.
    await db.command({ grantRolesToUser: 'reader', roles: [{ role: 'readWrite', db: name }] });
    await store.collection('users').open();
    await store.close();
  });

  test('to the change stream, and those that attach needs', async () => {
    const { db, name } = await root();
    const setUp = await guarded.store();
    await setUp.attach(setUp.collection('users'));
    const actions = [
      'find',
      'insert',
      'update',
      'remove',
      'listIndexes',
      'listCollections',
      'createIndex',
      'createCollection',
    ];
    await db.command({
      createRole: 'noStream',
      privileges: [{ resource: { db: name, collection: '' }, actions }],
      roles: [],
    });
    await db.command({ createUser: 'app', pwd: 'secret', roles: ['noStream'] });
    await using client = await userClient('app');
    const store = mongoStore({ client, db: name });
    await expect(store.collection('users').open()).rejects.toThrow(
      `lacks changeStream on the database ${name}: `,
    );
    await db.command({ grantRolesToUser: 'app', roles: ['readWrite'] });
    await store.collection('users').open();
    await db.collection('byEmail').createIndex({ email: 1 }, { unique: true });
    const byEmail = store.collection('byEmail', { key: 'email' });
    await expect(store.attach(byEmail)).rejects.toThrow(/lacks collMod on .*byEmail: .*role: "dbAdmin"/);
    await db.command({ grantRolesToUser: 'app', roles: ['dbAdmin'] });
    await store.attach(byEmail);
    await byEmail.open();
    await store.close();
  });

  test('are not asked for where the server checks none', async () => {
    const client = await server.client();
    const db = client.db(server.service.databaseName);
    await db.command({ createUser: 'nobody', pwd: 'secret', roles: [] });
    const url = new URL(server.service.url);
    url.username = 'nobody';
    url.password = 'secret';
    await using own = new MongoClient(url.href);
    const store = mongoStore({ client: own, db: server.service.databaseName });
    await store.attach(store.collection('free'));
    await store.collection('free').open();
    await store.close();
  });
});

test('a client that is bound to a secondary is told so', async () => {
  const primary = await three.service.primary();
  const secondary = three.service.members.find(({ port }) => port !== primary.port);
  await using client = new MongoClient(
    `mongodb://${secondary?.host}:${secondary?.port}/?directConnection=true`,
  );
  const store = mongoStore({ client, db: 'shop' });
  const opening = store.collection('users').open();
  await expect(opening).rejects.toThrow(StoreUnavailableError);
  await expect(opening).rejects.toThrow(/alone, which is no primary: leave directConnection out/);
  await store.close();
});

test('a collection whose shard key is another than its rows’ key is refused', () => {
  const binding = { keyField: '_id', source: 'shop.users', primary: { collectionName: 'users' } } as never;
  const sharded = (key: Document, more = {}) => assertShardKey({ _id: 'shop.users', key, ...more }, binding);
  sharded({ _id: 1 });
  sharded({ _id: 'hashed' });
  sharded({ region: 1 }, { unsplittable: true });
  for (const key of [{ region: 1 }, { region: 1, _id: 1 }, { _id: 1, region: 1 }]) {
    expect(() => sharded(key)).toThrow(/shop\.users is sharded by \{ .*region: 1.* \}, .*reshardCollection/);
  }
});

test('tools attach and detach a collection by what it tells of its installation', async () => {
  const store = await server.store();
  const items = store.collection('installed');
  await expect(items.open()).rejects.toThrow('attach');
  await items.installation?.install();
  await items.open();
  await items.installation?.uninstall();
  await expect(store.collection('installed').open()).rejects.toThrow('attach');
});
