import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { Decimal128, ObjectId as Id, type ObjectId } from 'mongodb';
import { expect, test } from 'vitest';
import { until } from './support/consumer.js';
import { testServer } from './support/server.js';

interface User {
  readonly _id: ObjectId;
  readonly name: string;
  readonly logins: number;
  readonly balance: Decimal128;
  readonly seenAt: Date;
}

const server = testServer();

test('Lockstep on MongoDB: every kind of write, and a foreign one, is what the next read gives (G2, G6)', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  const store = mongo.collection<User>('users');
  await mongo.attach(store);
  const raw = client.db(server.service.databaseName).collection<User>('users');
  await using lockstep = createLockstep({ cache: memoryCache() });
  const users = lockstep.collection({ name: 'users', store });
  const relay = lockstep.startRelay();
  const id = new Id();
  const user = (name: string): User => ({
    _id: id,
    name,
    logins: 0,
    balance: Decimal128.fromString('1.50'),
    seenAt: new Date(0),
  });

  expect(await users.get(id)).toBeUndefined();
  expect(await users.put(id, user('put'))).toMatchObject({ cache: 'updated', value: user('put') });
  expect(await users.get(id)).toEqual(user('put'));
  await users.increment(id, 'logins', 2);
  expect((await users.get(id))?.logins).toBe(2);
  await users.update(id, (current) => (current === undefined ? undefined : { ...current, name: 'updated' }));
  expect((await users.get(id))?.name).toBe('updated');

  const written = await users.write(id, async (session) => {
    await raw.updateOne({ _id: id }, { $set: { name: 'by session' } }, { session });
    return 'returned';
  });
  expect(written).toMatchObject({ returned: 'returned', value: { name: 'by session', logins: 2 } });
  expect(await users.getVersioned(id)).toMatchObject({
    value: { name: 'by session' },
    version: written.version,
  });

  await lockstep.transaction(async (tx) => {
    await users.put(id, user('in a transaction'), { tx });
    expect((await users.get(id))?.name).toBe('by session');
  });
  expect((await users.get(id))?.name).toBe('in a transaction');

  await raw.updateOne({ _id: id }, { $set: { name: 'foreign' } });
  await until(async () => ((await users.get(id))?.name === 'foreign' ? true : undefined));
  await raw.deleteOne({ _id: id });
  await until(async () => ((await users.get(id)) === undefined ? true : undefined));

  await users.put(id, user('again'));
  await users.delete(id);
  expect(await users.get(id)).toBeUndefined();
  // The relay may still be dealing with the deletions above: it floors what it can't tell from older ones.
  const { cache } = await users.put(id, user('after'));
  expect(['updated', 'invalidated']).toContain(cache);
  expect(await users.get(id)).toEqual(user('after'));
  await relay.stop();
});
