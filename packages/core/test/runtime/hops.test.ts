import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { FunctionCounter, promisesOf } from '../support/hops.js';

// How far it is from a caller to the adapters. Each function and promise on the way is paid for by every call.

const LAMP = { name: 'lamp' };

/** A collection whose cache has a row at every key, in answers that make no promises. */
async function openWarm() {
  const { monotonic, now, schedule } = manualClock();
  const clock = { monotonic: () => monotonic(), now, schedule };
  const onRead: { call(): void } = { call: () => undefined };
  const hit = { version: 2, payload: JSON.stringify(LAMP), staleAtMs: 0 };
  const hits = Promise.resolve(Array.from({ length: 100 }, () => hit));
  const cache: CacheAdapter = {
    ...memoryCache({ clock }),
    read: () => {
      onRead.call();
      return hits;
    },
  };
  const lockstep = createLockstep({ cache, clock });
  const store = { ...memoryStore<typeof LAMP>({ name: 'products', clock }), keyOf: (id: string) => id };
  const products = lockstep.collection({ name: 'products', store });
  for (let i = 0; i < 10; i++) expect(await products.get('a')).toEqual(LAMP);
  return { lockstep, onRead, products };
}

test('a hit: at most eight functions between get and the cache', async () => {
  const { onRead, products } = await openWarm();
  const counter = new FunctionCounter();
  let entered: string[] = [];
  onRead.call = () => {
    entered = counter.take();
  };
  counter.start();
  expect(await products.get('a')).toEqual(LAMP);
  counter.close();
  // Where the way begins.
  expect(entered).toContain('collection/collection.ts get');
  expect(entered.length - 1, entered.join(', ')).toBeLessThanOrEqual(8);
});

test('a hit: at most four promises between get and the cache, and back', async () => {
  const { products } = await openWarm();
  let value: typeof LAMP | undefined;
  const made = await promisesOf(async () => {
    value = await products.get('a');
  });
  expect(value).toEqual(LAMP);
  // The function's own, and its await's.
  expect(made - 2).toBeLessThanOrEqual(4);
});

test('getMany of hits: as many promises for a hundred keys as for one', async () => {
  const { products } = await openWarm();
  const made = async (count: number): Promise<number> => {
    const ids = Array.from({ length: count }, (_, i) => `id-${i}`);
    return await promisesOf(() => products.getMany(ids));
  };
  expect(await made(100)).toBe(await made(1));
});
