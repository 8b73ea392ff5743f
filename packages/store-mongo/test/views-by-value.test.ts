import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import { testServer } from './support/server.js';

interface Good {
  readonly _id: number;
  readonly category: string;
}

const PATIENCE = { timeout: 60_000 };
const server = testServer();

test('lists by a declared field follow own writes at once, and foreign ones by their pre-images (G2, G6)', async () => {
  const client = await server.client();
  const store = await server.store({ client });
  const collection = store.collection<Good, number>('goods');
  await store.attach(collection, { tags: ['category'] });
  const lockstep = createLockstep({ cache: memoryCache() });
  const goods = lockstep.collection({ name: 'goods', store: collection, tags: ['category'] });
  const raw = client.db(server.service.databaseName).collection<Good>('goods');
  const loads: string[] = [];
  const lists = lockstep.view<string, number[], unknown>({
    name: 'lists',
    load: async (category) => {
      loads.push(category);
      return (await raw.find({ category }).sort({ _id: 1 }).toArray()).map(({ _id }) => _id);
    },
    dependsOn: (category) => goods.where({ category }),
  });
  const relay = lockstep.startRelay();
  /** Read until it is cached. */
  const cached = async (category: string): Promise<number[]> => {
    for (;;) {
      loads.length = 0;
      const list = await lists.get(category);
      if (loads.length === 0) return list;
      await lockstep.drain();
    }
  };

  await goods.put(1, { _id: 1, category: 'a' });
  expect(await cached('a')).toEqual([1]);
  await goods.put(2, { _id: 2, category: 'a' });
  expect(await lists.get('a')).toEqual([1, 2]);
  expect(await cached('a')).toEqual([1, 2]);
  // A blind put, which does not know what the row was.
  await goods.put(1, { _id: 1, category: 'b' });
  expect(await lists.get('a')).toEqual([2]);
  expect(await cached('a')).toEqual([2]);

  await raw.updateOne({ _id: 2 }, { $set: { category: 'b' } });
  await expect.poll(() => lists.get('a'), PATIENCE).toEqual([]);
  expect(await cached('b')).toEqual([1, 2]);
  await raw.deleteOne({ _id: 1 });
  await expect.poll(() => lists.get('b'), PATIENCE).toEqual([2]);

  // The rows themselves have the tag, too.
  const from = async (): Promise<string> => (await goods.getVersioned(2)).from;
  await expect.poll(from, PATIENCE).toBe('cache');
  expect(await goods.invalidateTag({ category: 'a' })).toBe('invalidated');
  expect(await from()).toBe('cache');
  expect(await goods.invalidateTag({ category: 'b' })).toBe('invalidated');
  expect(await from()).toBe('store');
  await relay.stop();
  await lockstep.close();
});
