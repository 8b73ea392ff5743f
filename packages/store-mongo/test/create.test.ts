import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { ObjectId as Id, type ObjectId } from 'mongodb';
import { expect, test } from 'vitest';
import { testServer } from './support/server.js';

interface User {
  readonly _id: ObjectId;
  readonly name: string;
  readonly email?: string;
}

const server = testServer();

test('a document without an _id gets an ObjectId, in transactions, too, and is cached', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  const store = mongo.collection<User>('users');
  const raw = client.db(server.service.databaseName).collection<User>('users');
  await raw.createIndex({ email: 1 }, { unique: true, sparse: true });
  await mongo.attach(store);
  await using lockstep = createLockstep({ cache: memoryCache() });
  const users = lockstep.collection({ name: 'users', store });

  const created = await users.create({ name: 'Ada', email: 'a@example.org' });
  expect(created).toMatchObject({ value: { name: 'Ada' }, cache: 'updated', store: 'committed' });
  const { _id } = created.value ?? { _id: undefined };
  expect(_id).toBeInstanceOf(Id);
  expect(await raw.findOne({ name: 'Ada' }, { projection: { _lockstep: 0 } })).toMatchObject({ _id });
  expect(await users.getVersioned(_id as ObjectId)).toEqual({
    value: created.value,
    version: created.version,
    from: 'cache',
  });

  const own = new Id();
  expect(await users.create({ _id: own, name: 'own' })).toMatchObject({ value: { _id: own, name: 'own' } });
  await expect(users.create({ _id: own, name: 'again' })).rejects.toMatchObject({
    code: 'LOCKSTEP_CONFLICT',
    collection: 'users',
    key: own.toHexString(),
  });
  await expect(users.create({ name: 'Bob', email: 'a@example.org' })).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_REFUSED',
  });
  await expect(users.create([] as never)).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED' });

  const many = await Promise.all(Array.from({ length: 20 }, (_, n) => users.create({ name: `user ${n}` })));
  expect(new Set(many.map(({ value }) => value?._id.toHexString())).size).toBe(20);

  const inside = await lockstep.transaction(
    async (tx) => {
      const result = await users.create({ name: 'inside' }, { tx });
      expect(result).toMatchObject({ store: 'pending', value: { name: 'inside' } });
      expect(await raw.findOne({ name: 'inside' }, { session: tx.client })).not.toBeNull();
      return result.value?._id as ObjectId;
    },
    { on: mongo },
  );
  expect(await users.getVersioned(inside)).toMatchObject({ value: { name: 'inside' }, from: 'cache' });
});

test('a collection that is bound by another field makes no keys, and says so', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  await client
    .db(server.service.databaseName)
    .collection('keyed')
    .createIndex({ email: 1 }, { unique: true });
  const store = mongo.collection<User, string>('keyed', { key: 'email' });
  await mongo.attach(store);
  await using lockstep = createLockstep({ cache: memoryCache() });
  const keyed = lockstep.collection({ name: 'keyed', store });
  await expect(keyed.create({ name: 'Ada' })).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
});
