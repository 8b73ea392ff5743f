import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Document } from 'mongodb';
import { afterEach, expect, test } from 'vitest';
import { Consumer, until } from './support/consumer.js';
import { CALL, testServer } from './support/server.js';

interface User extends Document {
  readonly _id: string;
  readonly n: number;
}

const server = testServer();
const closing: (() => Promise<void>)[] = [];
let names = 0;

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** An application that runs on a collection of three users of its own. */
async function application({ relayed = true } = {}) {
  const name = `users_${++names}`;
  const client = await server.client();
  const raw = client.db(server.service.databaseName).collection<User>(name);
  await raw.insertMany(['a', 'b', 'c'].map((_id) => ({ _id, email: _id, n: 0 })));
  const mongo = await server.store({ client, feed: { leaseMs: 400 } });
  const store = mongo.collection<User>(name);
  await mongo.attach(store);
  const lockstep = createLockstep({ cache: memoryCache() });
  const users = lockstep.collection({ name: 'users', store });
  const relay = relayed ? lockstep.startRelay() : undefined;
  const alterations: Document[] = [];
  lockstep.events.on('alteration', (event) => void alterations.push(event));
  const suspensions: Document[] = [];
  lockstep.events.on('suspension', (event) => void suspensions.push(event));
  const warnings: string[] = [];
  const onWarning = (warning: Error & { code?: string }): void => {
    if (warning.code === 'LOCKSTEP_CHANGES_UNSEEN' && warning.message.includes(`.${name} `)) {
      warnings.push(warning.message);
    }
  };
  process.on('warning', onWarning);
  closing.push(async () => {
    process.off('warning', onWarning);
    await relay?.stop();
    await lockstep.close();
  });
  /** Waits until a read is answered by the cache, or by the store. */
  const readFrom = (key: string, from: 'cache' | 'store') =>
    until(async () => ((await users.getVersioned(key)).from === from ? true : undefined));
  await readFrom('a', 'cache');
  return { alterations, client, lockstep, name, raw, readFrom, store, suspensions, users, warnings };
}

test('detached under a running application: it warns, reads from the store, and every call goes on; until it is attached', async () => {
  const { alterations, raw, readFrom, name, store, suspensions, users, warnings } = await application();
  const deploy = await server.store();
  await deploy.detach(deploy.collection(name));
  await until(async () => {
    await users.get('a');
    return warnings.length > 0 || undefined;
  });
  expect(warnings).toEqual([expect.stringContaining(`${store.source} was detached`)]);
  expect(await until(() => alterations[0])).toMatchObject({ source: store.source, kind: 'detached' });

  // What others write is read at once, whatever the caches held.
  for (let n = 1; n <= 3; n += 1) {
    await raw.updateOne({ _id: 'a' }, { $set: { n } });
    expect(await users.getVersioned('a')).toMatchObject({ value: { n }, from: 'store' });
  }
  await users.put('b', { _id: 'b', n: 1 });
  await users.increment('b', 'n', 1);
  await users.update('b', (user) => ({ ...(user as User), n: (user?.n ?? 0) + 1 }));
  await users.patch('b', { m: 1 });
  expect(await users.get('b')).toEqual({ _id: 'b', n: 3, m: 1 });
  await users.delete('c');
  expect(await users.get('c')).toBeUndefined();
  await users.put('d', { _id: 'd', n: 1 });
  expect(await raw.findOne({ _id: 'd' })).toMatchObject({ n: 1 });

  await deploy.attach(deploy.collection(name));
  await readFrom('a', 'cache');
  await raw.updateOne({ _id: 'a' }, { $set: { n: 9 } });
  await until(async () => ((await users.get('a'))?.n === 9 ? true : undefined));
  expect(warnings).toHaveLength(1);
  const { source } = store;
  expect(suspensions).toEqual([
    { source, state: 'suspended', reason: warnings[0] },
    { source, state: 'resumed' },
  ]);
});

test('a relay that still runs gives no row of a detached collection a version again, and tells of its changes', async () => {
  const client = await server.client();
  const raw = client.db(server.service.databaseName).collection<User>('relayed');
  const mongo = await server.store({ client, feed: { leaseMs: 400 } });
  const relayed = mongo.collection<User>('relayed');
  await raw.insertMany(Array.from({ length: 50 }, (_, n) => ({ _id: String(n), n })));
  await mongo.attach(relayed);
  const consumer = new Consumer(mongo.feed, [relayed.source]);
  const [outcome] = await relayed.write(
    [{ kind: 'put', key: 'a', value: { _id: 'a', n: 1 }, above: 0 }],
    CALL,
  );
  const version = outcome?.kind === 'written' ? outcome.version : 0;
  await consumer.tookAbove('a', version - 1);
  const deploy = await server.store();
  await deploy.detach(deploy.collection('relayed'));
  // The reader goes on behind all that detach has done.
  await raw.updateOne({ _id: 'a' }, { $set: { n: 2 } });
  await consumer.tookAbove('a', version);
  await raw.deleteOne({ _id: '7' });
  await until(() => (consumer.newest('7')?.op === 'delete' ? true : undefined));
  expect(await raw.countDocuments({ _lockstep: { $exists: true } })).toBe(0);
  await consumer.stop();
  expect(consumer.errors).toEqual([]);
});

test('attached by another key, as another release does, it is not the application’s any more, nor without a relay', async () => {
  const { name, raw, store, users, warnings } = await application({ relayed: false });
  await raw.createIndex({ email: 1 }, { unique: true });
  const deploy = await server.store();
  const byEmail = deploy.collection<User>(name, { key: 'email' });
  await deploy.detach(byEmail);
  await deploy.attach(byEmail);
  await until(async () => {
    await users.get('a');
    return warnings.length > 0 || undefined;
  });
  expect(warnings[0]).toContain(`${store.source} was detached, or attached by another key`);
  expect((await users.getVersioned('a')).from).toBe('store');
});

test('dropped, made anew, renamed away and replaced under a running application: no row of before is read, and calls go on', async () => {
  const { client, name, raw, readFrom, users, warnings } = await application();
  const db = client.db(server.service.databaseName);
  const gone = (key: string) => until(async () => ((await users.get(key)) === undefined ? true : undefined));
  await raw.drop();
  await gone('a');
  await users.put('a', { _id: 'a', n: 1 });
  await readFrom('a', 'cache');
  await raw.drop();
  await db.createCollection(name);
  await raw.insertOne({ _id: 'a', n: 2 });
  await until(async () => ((await users.get('a'))?.n === 2 ? true : undefined));
  await readFrom('a', 'cache');
  await raw.rename(`${name}_old`);
  await gone('a');
  await users.put('b', { _id: 'b', n: 5 });
  await db.collection<User>(`${name}_next`).insertMany([{ _id: 'a', n: 3 }]);
  await db.renameCollection(`${name}_next`, name, { dropTarget: true });
  await until(async () => ((await users.get('a'))?.n === 3 ? true : undefined));
  await gone('b');
  await users.update('a', (user) => ({ ...(user as User), n: 4 }));
  expect((await db.collection<User>(name).findOne({ _id: 'a' }))?.n).toBe(4);
  expect(warnings).toEqual([]);
});
