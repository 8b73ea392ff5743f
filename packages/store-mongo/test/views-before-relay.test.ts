import { createLockstep, type Collection as Rows } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { ClientSession, Collection } from 'mongodb';
import { expect, test } from 'vitest';
import { until } from './support/consumer.js';
import { testServer } from './support/server.js';

interface Good {
  readonly _id: number;
  readonly category: string;
  readonly price: number;
}
type Goods = Rows<Good, number>;

const server = testServer();

/** An application with a list of each category, and no relay unless the test starts one. */
async function shop(name: string) {
  const client = await server.client();
  const mongo = await server.store({ client });
  const store = mongo.collection<Good, number>(name);
  await mongo.attach(store, { tags: ['category'] });
  const lockstep = createLockstep({ cache: memoryCache() });
  const goods = lockstep.collection({ name, store, tags: ['category'] });
  const db = client.db(server.service.databaseName);
  const raw = db.collection<Good>(name);
  let loads = 0;
  const lists = lockstep.view<string, number[], unknown>({
    name: `${name}-lists`,
    load: async (category) => {
      loads++;
      return (await raw.find({ category }).sort({ _id: 1 }).toArray()).map(({ _id }) => _id);
    },
    dependsOn: (category) => goods.where({ category }),
  });
  /** Read until it is cached. */
  const cached = async (category: string): Promise<number[]> => {
    for (;;) {
      loads = 0;
      const list = await lists.get(category);
      if (loads === 0) return list;
      await lockstep.drain();
    }
  };
  return {
    cached,
    goods,
    lists,
    lockstep,
    mongo,
    raw,
    store,
    source: store.source,
    kept: db.collection('lockstep_tombstones'),
  };
}

const FOREIGN: Record<string, (raw: Collection<Good>, id: number) => Promise<unknown>> = {
  update: (raw, _id) => raw.updateOne({ _id }, { $set: { category: 'b' } }),
  pipeline: (raw, _id) => raw.updateMany({ _id }, [{ $set: { category: 'b' } }]),
  replace: (raw, _id) => raw.replaceOne({ _id }, { category: 'b', price: 1 }),
  'bulk write': (raw, _id) =>
    raw.bulkWrite([{ updateOne: { filter: { _id }, update: { $set: { category: 'b' } } } }]),
  'delete and insert': async (raw, _id) => {
    await raw.deleteOne({ _id });
    await raw.insertOne({ _id, category: 'b', price: 1 });
  },
};

const OWN: Record<string, (goods: Goods, id: number) => Promise<unknown>> = {
  put: (goods, _id) => goods.put(_id, { _id, category: 'c', price: 2 }),
  patch: (goods, _id) => goods.patch(_id, { category: 'c' }),
  'put that leaves it where it was moved to': (goods, _id) =>
    goods.put(_id, { _id, category: 'b', price: 2 }),
  increment: (goods, _id) => goods.increment(_id, 'price', 1),
  delete: (goods, _id) => goods.delete(_id),
};

test('a list that another program took a row out of has it no more once an own write of the row is acknowledged, before the relay has seen the first change (G2)', async () => {
  const { cached, goods, lists, lockstep, raw } = await shop('goods');
  let id = 0;
  for (const [foreignName, foreign] of Object.entries(FOREIGN)) {
    for (const [ownName, own] of Object.entries(OWN)) {
      id += 1;
      await goods.put(id, { _id: id, category: 'a', price: 1 });
      expect(await cached('a')).toEqual([id]);
      await foreign(raw, id);
      await cached('b');
      await own(goods, id);
      const what = `${foreignName}, then ${ownName}`;
      for (const category of ['a', 'b', 'c']) {
        const ids = await raw.find({ category }).sort({ _id: 1 }).toArray();
        expect(await lists.get(category), `${what}: ${category}`).toEqual(ids.map(({ _id }) => _id));
      }
    }
  }
  await lockstep.close();
});

test('so it is where the other program has deleted the row, and in transactions', async () => {
  const { cached, goods, lists, lockstep, raw } = await shop('others');
  await goods.put(1, { _id: 1, category: 'a', price: 1 });
  expect(await cached('a')).toEqual([1]);
  await raw.deleteOne({ _id: 1 });
  await goods.put(1, { _id: 1, category: 'c', price: 2 });
  expect(await lists.get('a')).toEqual([]);

  expect(await cached('c')).toEqual([1]);
  await raw.updateOne({ _id: 1 }, { $set: { category: 'b' } });
  expect(await cached('b')).toEqual([1]);
  await lockstep.transaction(async (tx) => {
    await goods.patch(1, { category: 'd' }, { tx });
  });
  expect([await lists.get('b'), await lists.get('c')]).toEqual([[], []]);

  // A transaction has left `d`, and the next one is by the caller's own statement.
  expect(await cached('d')).toEqual([1]);
  await raw.replaceOne({ _id: 1 }, { category: 'b', price: 1 });
  await lockstep.transaction(async (tx) => {
    await goods.get(1, { tx });
    await raw.deleteOne({ _id: 1 }, { session: tx.client as ClientSession });
  });
  expect(await lists.get('d')).toEqual([]);
  await lockstep.close();
});

test('what the relay has adopted is known to the next own write, and little is kept', async () => {
  const { cached, goods, kept, lists, lockstep, raw, source } = await shop('adopted');
  const relay = lockstep.startRelay();
  await goods.put(1, { _id: 1, category: 'z', price: 1 });
  const states = async () => (await kept.findOne({ '_id.s': `$tags:${source}` }))?.['had'] as string[];
  for (const category of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
    await raw.updateOne({ _id: 1 }, { $set: { category } });
    await until(async () => (await states()).at(-1)?.includes(`"=${category}"`) || undefined);
  }
  expect(await states()).toHaveLength(4);
  await relay.stop();
  expect(await cached('g')).toEqual([1]);
  await raw.updateOne({ _id: 1 }, { $set: { category: 'h' } });
  await goods.put(1, { _id: 1, category: 'i', price: 1 });
  expect(await lists.get('g')).toEqual([]);
  expect(await states()).toHaveLength(1);
  await lockstep.close();
});

test('what is kept goes with the attachment', async () => {
  const { goods, kept, lockstep, mongo, source, store } = await shop('detached');
  await goods.put(1, { _id: 1, category: 'a', price: 1 });
  expect(await kept.countDocuments({ '_id.s': `$tags:${source}` })).toBe(1);
  await lockstep.close();
  await mongo.detach(store);
  expect(await kept.countDocuments({ '_id.s': `$tags:${source}` })).toBe(0);
});
