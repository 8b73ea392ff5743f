import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { ChangeFeed } from '../../src/contracts/feed.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { FunctionCounter, promisesOf, WayHere } from '../support/hops.js';
import { turns } from '../support/shop.js';
import { asDocumented, documented } from '../support/walks.js';

// How far it is from a caller to the adapters. Each function and promise on the way is paid for by every call.
// `docs/architecture.md` lists the functions by file.

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
  expect(entered).toContain('collection/reads.ts get');
  expect(entered.length - 1, entered.join(', ')).toBeLessThanOrEqual(8);
  expect(asDocumented(entered)).toEqual(documented('A get'));
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

test('putMany and deleteMany: as many promises for a hundred rows as for one', async () => {
  const clock = manualClock();
  const memory = memoryCache({ clock });
  const outcomes = Promise.resolve(
    Array.from({ length: 100 }, () => ({ kind: 'written', value: LAMP, version: 2 }) as const),
  );
  const replies = Promise.resolve(
    Array.from({ length: 100 }, () => ({ kind: 'put', outcome: 'stored' }) as const),
  );
  const rows = memoryStore<typeof LAMP>({ name: 'products', clock });
  const write = (commands: readonly unknown[]) => outcomes.then((all) => all.slice(0, commands.length));
  const store = { ...rows, feed: undefined, keyOf: (id: string) => id, write };
  const lockstep = createLockstep({ cache: memory, clock });
  const products = lockstep.collection({ name: 'products', store });
  const ids = Array.from({ length: 100 }, (_, i) => `id-${i}`);
  const entries = ids.map((id) => [id, LAMP] as const);
  // From now on each key is thought to hold a value.
  await products.putMany(entries);
  memory.execute = (commands) => replies.then((all) => all.slice(0, commands.length));
  const made = async (count: number): Promise<number> =>
    await promisesOf(async () => {
      await products.putMany(entries.slice(0, count));
      await products.deleteMany(ids.slice(0, count));
    });
  await made(1);
  expect(await made(100)).toBe(await made(1));
});

/** A relay whose feed hands over a batch of so many changes, and how it got from there to the cache. */
async function relayed(count: number): Promise<{ readonly entered: string[]; readonly batches: number[] }> {
  const { monotonic, now, schedule } = manualClock();
  const clock = { monotonic: () => monotonic(), now, schedule };
  const counter = new FunctionCounter();
  const batches: number[] = [];
  let entered: string[] = [];
  const memory = memoryCache({ clock });
  const cache: CacheAdapter = {
    ...memory,
    execute: (commands) => {
      if (commands.length === count) entered = counter.take();
      batches.push(commands.length);
      return memory.execute(commands);
    },
  };
  const rows = memoryStore<typeof LAMP>({ name: 'products', clock });
  const feed: ChangeFeed = {
    ...rows.feed,
    async consume(handler, { signal }) {
      const change = { source: 'products', op: 'put', version: 2, changedAtMs: 0 } as const;
      const changes = Array.from({ length: count }, (_, i) => ({ ...change, key: `id-${i}` }));
      // The first opens the cache, beside what the start of a relay does.
      await handler(changes.slice(0, 1));
      await turns();
      counter.start();
      await handler(changes);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  };
  const lockstep = createLockstep({ cache, clock });
  lockstep.collection({ name: 'products', store: { ...rows, feed } });
  const relay = lockstep.startRelay();
  while (batches.length < 2) await turns(1);
  await relay.stop();
  counter.close();
  return { entered, batches };
}

test('a batch of changes: at most twelve functions between the feed and the cache, which gets it whole', async () => {
  const { batches, entered } = await relayed(100);
  expect(batches).toEqual([1, 100]);
  expect(entered).toContain('feed/relay.ts handle');
  const functions = new Set(entered);
  expect(functions.size, [...functions].join(', ')).toBeLessThanOrEqual(12);
  expect(asDocumented(functions)).toEqual(documented('A change that another program made'));
  // Two of them for each change: which table it is of, and what its command weighs.
  expect(entered.length).toBeLessThanOrEqual(2 * 100 + 20);
});

/** A collection that has written at its key before, and a store and a serializer whose functions don't count. */
async function openWritten() {
  const { monotonic, now, schedule } = manualClock();
  const clock = { monotonic: () => monotonic(), now, schedule };
  const onWrite: { call(): void } = { call: () => undefined };
  const store = memoryStore<typeof LAMP>({ name: 'products', clock });
  const lockstep = createLockstep({ cache: memoryCache({ clock }), clock });
  const products = lockstep.collection({
    name: 'products',
    store: {
      ...store,
      keyOf: (id: string) => id,
      write: (commands, options) => {
        onWrite.call();
        return store.write(commands, options);
      },
    },
    serializer: {
      name: 'plain',
      encoding: 'utf8',
      serialize: (value) => JSON.stringify(value),
      measure: () => 10,
      deserialize: (payload) => JSON.parse(String(payload)),
    },
  });
  for (let i = 0; i < 10; i++) await products.put('a', LAMP);
  return { onWrite, products };
}

test('a put: at most fifteen functions hand it on between put and the store', async () => {
  const { onWrite, products } = await openWritten();
  const here = new WayHere();
  let way: string[] = [];
  onWrite.call = () => {
    way = here.take();
  };
  here.start();
  await products.put('a', LAMP);
  // Where the way begins.
  expect(way.at(-1)).toContain('collection/writes.ts CollectionCalls.put');
  expect(way.length - 1, way.join(', ')).toBeLessThanOrEqual(15);
  expect(asDocumented(way)).toEqual(documented('A put'));
});

test('a put: at most forty-four functions are entered between put and the store, checks and tables and all', async () => {
  const { onWrite, products } = await openWritten();
  const counter = new FunctionCounter();
  let entered: string[] = [];
  onWrite.call = () => {
    entered = counter.take();
  };
  counter.start();
  await products.put('a', LAMP);
  counter.close();
  expect(entered).toContain('collection/writes.ts put');
  expect(entered.length - 1, entered.join(', ')).toBeLessThanOrEqual(44);
});
