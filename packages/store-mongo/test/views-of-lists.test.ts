import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import { testServer } from './support/server.js';

interface Good {
  readonly _id: number;
  readonly labels?: readonly (string | null)[] | string | null;
  readonly shelf: number;
}

const PATIENCE = { timeout: 60_000 };
const server = testServer();

test('a list by a value that rows hold among others follows own writes, and foreign ones (G2, G6)', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  const store = mongo.collection<Good, number>('goods');
  await mongo.attach(store, { tags: ['labels', ['labels', 'shelf']] });
  await using lockstep = createLockstep({ cache: memoryCache() });
  const goods = lockstep.collection({ name: 'goods', store, tags: ['labels', ['labels', 'shelf']] });
  const raw = client.db(server.service.databaseName).collection<Good>('goods');
  let loads = 0;
  const idsOf = async (query: object): Promise<number[]> => {
    loads++;
    return (await raw.find(query).sort({ _id: 1 }).toArray()).map(({ _id }) => _id);
  };
  const lists = lockstep.view<string | null, number[], unknown>({
    name: 'lists',
    load: (labels) => idsOf({ labels }),
    dependsOn: (labels) => goods.where({ labels }),
  });
  const shelves = lockstep.view<{ labels: string; shelf: number }, number[], unknown>({
    name: 'shelves',
    load: idsOf,
    dependsOn: (query) => goods.where(query),
  });
  const cached = async (read: () => Promise<number[]>): Promise<number[]> => {
    for (;;) {
      loads = 0;
      const list = await read();
      if (loads === 0) return list;
      await lockstep.drain();
    }
  };
  const all = (): Promise<number[][]> =>
    Promise.all([
      ...['a', 'b', 'c', 'l0', null].map((label) => cached(() => lists.get(label))),
      cached(() => shelves.get({ labels: 'a', shelf: 1 })),
    ]);

  expect(await all()).toEqual([[], [], [], [], [], []]);
  await goods.put(1, { _id: 1, labels: ['a', 'b', 'a'], shelf: 1 });
  expect(await all()).toEqual([[1], [1], [], [], [], [1]]);
  await goods.patch(1, { labels: ['b', 'c', null] });
  expect(await all()).toEqual([[], [1], [1], [], [1], []]);
  await goods.patch(1, { labels: 'a' });
  expect(await all()).toEqual([[1], [], [], [], [], [1]]);
  // More than are told one by one.
  const many = Array.from({ length: 100 }, (_, n) => `l${n}`);
  await goods.patch(1, { labels: many });
  expect(await all()).toEqual([[], [], [], [1], [], []]);
  await raw.updateOne({ _id: 1 }, { $set: { labels: ['a', 'c'] } });
  expect(await cached(() => lists.get('c'))).toEqual([]);
  // What was kept of the row tells of no value, and so of all.
  await goods.patch(1, { labels: ['b'] });
  expect(await all()).toEqual([[], [1], [], [], [], []]);
  await lockstep.transaction((tx) => goods.patch(1, { labels: [] }, { tx }));
  expect(await all()).toEqual([[], [], [], [], [], []]);

  const relay = lockstep.startRelay();
  await raw.updateOne({ _id: 1 }, { $set: { labels: ['a', 'b'] } });
  await expect.poll(all, PATIENCE).toEqual([[1], [1], [], [], [], [1]]);
  await raw.deleteOne({ _id: 1 });
  await expect.poll(all, PATIENCE).toEqual([[], [], [], [], [], []]);
  await relay.stop();
});

test('tags are refused where queries compare otherwise than their names', async () => {
  const client = await server.client();
  const mongo = await server.store({ client });
  const folded = await client
    .db(server.service.databaseName)
    .createCollection('folded', { collation: { locale: 'en', strength: 2 } });
  await folded.createIndex({ name: 1 }, { unique: true, collation: { locale: 'simple' } });
  const users = mongo.collection<{ _id: string; name: string }>('folded', { key: 'name' });
  await expect(mongo.attach(users, { tags: ['name'] })).rejects.toThrow(/by the collation en/);
  await mongo.attach(users);
});
