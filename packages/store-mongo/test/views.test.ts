import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { type ClientSession, Decimal128, ObjectId as Id, type ObjectId } from 'mongodb';
import { expect, test } from 'vitest';
import { until } from './support/consumer.js';
import { testServer } from './support/server.js';

interface Order {
  readonly _id: ObjectId;
  readonly status: string;
  readonly total: Decimal128;
}

const server = testServer();

test('views on MongoDB follow every kind of write, transactions, and foreign writes (G2, G6)', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  const store = mongo.collection<Order>('orders');
  await mongo.attach(store);
  const raw = client.db(server.service.databaseName).collection<Order>('orders');
  await using lockstep = createLockstep({ cache: memoryCache() });
  const orders = lockstep.collection({ name: 'orders', store, tags: [] });
  let loads = 0;
  const open = lockstep.view<string, Order[], ClientSession | undefined>({
    name: 'open',
    load: async (status, { client: session }) => {
      loads++;
      const projection = { status: 1, total: 1 };
      return await raw.find({ status }, { projection, ...(session && { session }) }).toArray();
    },
    dependsOn: () => orders.any(),
  });
  const one = lockstep.view<ObjectId | string, string | undefined>({
    name: 'one',
    load: async (id) => (await raw.findOne({ _id: new Id(id) }))?.status,
    dependsOn: (id) => orders.id(new Id(id)),
  });
  const relay = lockstep.startRelay();
  const [first, second] = [new Id(), new Id()];
  const order = (id: ObjectId): Order => ({ _id: id, status: 'open', total: Decimal128.fromString('1.50') });
  const ids = async () => (await open.get('open')).map(({ _id }) => String(_id)).sort();

  expect(await ids()).toEqual([]);
  await orders.put(first, order(first));
  expect(await ids()).toEqual([String(first)]);
  await until(async () => {
    await lockstep.drain();
    loads = 0;
    // As the driver gives it, from the cache, too.
    expect(await open.get('open')).toEqual([order(first)]);
    return loads === 0 || undefined;
  });
  expect(await one.get(String(first))).toBe('open');
  await orders.patch(first, { status: 'paid' });
  expect(await ids()).toEqual([]);
  expect(await one.get(String(first))).toBe('paid');

  await lockstep.transaction(async (tx) => {
    await orders.put(second, order(second), { tx });
    await raw.updateOne(
      { _id: first },
      { $set: { status: 'open' } },
      { session: tx.client as ClientSession },
    );
    expect((await open.get('open', { tx })).length).toBe(2);
    expect(await ids()).toEqual([]);
  });
  expect((await ids()).length).toBe(2);

  await raw.deleteOne({ _id: second });
  await until(async () => (await ids()).length === 1 || undefined);
  await orders.delete(first);
  expect(await ids()).toEqual([]);
  await relay.stop();
});
