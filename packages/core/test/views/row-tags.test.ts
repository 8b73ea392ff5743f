import { describe, expect, test } from 'vitest';
import type { Dependency } from '../../src/contracts/views.js';
import { memoryQueue, memoryStore } from '../../src/memory/index.js';
import { MAX_ENDED, parseEnded, withEnded } from '../../src/protocol/ended.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { elapse, openShop, type Product, type ShopOptions, turns } from '../support/shop.js';

const LAMP = { name: 'lamp', stock: 1 };
const CHAIR = { name: 'chair', stock: 1 };
const lamps = { name: 'lamp' };
const integrity = { keys: [{ id: 'k', secret: 'a secret of at least 32 characters.' }] };

/** A shop whose rows have tags. What `unseen` adds to their stock no version, no trigger and no feed tells. */
function openTagged(options: ShopOptions = {}) {
  const shop = openShop({
    ...options,
    collection: { tags: ['name', ['name', 'stock']], ...options.collection },
  });
  const state = { loads: 0, unseen: 0 };
  const gates: Promise<void>[] = [];
  shop.storePlan.always('read', async (call) => {
    state.loads++;
    const { unseen } = state;
    const rows = await call.proceed();
    await gates.shift();
    return rows.map((row) => {
      const value = row?.value as Product | undefined;
      return row && value && { ...row, value: { ...value, stock: value.stock + unseen } };
    });
  });
  const load = async (key = 'a') => {
    const before = state.loads;
    const row = await shop.products.get(key);
    await shop.lockstep.drain();
    return { stock: row?.stock, loads: state.loads - before };
  };
  return { ...shop, gates, load, state };
}

describe('a tagged row', () => {
  test('is cached by its write, and loaded anew once its tag is ended, in every process', async () => {
    const shop = openTagged();
    const other = shop.join();
    await shop.products.put('a', LAMP);
    await shop.products.put('b', CHAIR);
    expect(await shop.load()).toEqual({ stock: 1, loads: 0 });
    shop.state.unseen = 1;
    expect(await other.products.invalidateTag(lamps)).toBe('invalidated');
    expect(await shop.load()).toEqual({ stock: 2, loads: 1 });
    expect(await shop.load()).toEqual({ stock: 2, loads: 0 });
    expect(await shop.load('b')).toEqual({ stock: 1, loads: 0 });
    shop.state.unseen = 2;
    expect(await shop.products.invalidateTag({ name: 'chair', stock: 1 })).toBe('invalidated');
    expect(await shop.products.getMany(['a', 'b'])).toMatchObject([{ stock: 2 }, { stock: 3 }]);
  });

  test.for([
    [
      'update',
      (shop) => shop.products.update('a', (row) => ({ name: 'lamp', stock: (row?.stock ?? 0) + 4 })),
    ],
    ['patch', (shop) => shop.products.patch('a', { stock: 5 })],
    ['increment', (shop) => shop.products.increment('a', 'stock', 4)],
    ['putMany', (shop) => shop.products.putMany([['a', { name: 'lamp', stock: 5 }]])],
    [
      'a transaction',
      (shop) => shop.lockstep.transaction((tx) => shop.products.put('a', { name: 'lamp', stock: 5 }, { tx })),
    ],
  ] as [string, (shop: ReturnType<typeof openTagged>) => Promise<unknown>][])(
    'that %s has written is in the cache, with the tags that it has then',
    async ([, write]) => {
      const shop = openTagged();
      await shop.products.put('a', CHAIR);
      await shop.products.patch('a', { name: 'lamp' });
      await write(shop);
      expect(await shop.load()).toEqual({ stock: 5, loads: 0 });
      await shop.products.invalidateTag({ name: 'chair' });
      expect(await shop.load()).toEqual({ stock: 5, loads: 0 });
      await shop.products.invalidateTag(lamps);
      expect(await shop.load()).toEqual({ stock: 5, loads: 1 });
    },
  );

  test('that was created is cached, and has its tags', async () => {
    const { clock, memory } = openShop();
    const newRow = (value: typeof LAMP) => ({ id: value.name, value });
    const store = memoryStore<typeof LAMP>({ name: 'made', clock, newRow });
    const lockstep = createLockstep({ cache: memory, clock, random: () => 0.5 });
    const products = lockstep.collection({ name: 'made', store, tags: ['name'] });
    expect((await products.create(LAMP)).cache).toBe('updated');
    expect(await products.getVersioned('lamp')).toMatchObject({ from: 'cache' });
    await products.invalidateTag(lamps);
    expect(await products.getVersioned('lamp')).toMatchObject({ from: 'store' });
  });

  test('that is loaded while its tag is ended is not taken from the cache afterwards', async () => {
    const shop = openTagged();
    await shop.rows.foreignWrite('a', LAMP);
    const { promise, resolve } = Promise.withResolvers<void>();
    shop.gates.push(promise);
    const reading = shop.products.get('a');
    await turns();
    shop.state.unseen = 1;
    await shop.products.invalidateTag(lamps);
    resolve();
    expect(await reading).toEqual(LAMP);
    await shop.lockstep.drain();
    expect(await shop.load()).toEqual({ stock: 2, loads: 1 });
  });

  test('is shared with no reader who began after its tag was ended', async () => {
    const shop = openTagged();
    await shop.rows.foreignWrite('a', LAMP);
    const { promise, resolve } = Promise.withResolvers<void>();
    shop.gates.push(promise);
    const first = shop.products.get('a');
    await turns();
    shop.state.unseen = 1;
    await shop.join().products.invalidateTag(lamps);
    const second = shop.products.get('a');
    await turns();
    resolve();
    expect(await first).toMatchObject({ stock: 1 });
    expect(await elapse(shop.clock, second)).toMatchObject({ stock: 2 });
  });

  test('is loaded once for all who find its tag ended at the same time', async () => {
    const shop = openTagged();
    await shop.products.put('a', LAMP);
    await shop.products.invalidateTag(lamps);
    const { promise, resolve } = Promise.withResolvers<void>();
    shop.gates.push(promise);
    const readers = Array.from({ length: 5 }, () => shop.products.get('a'));
    await turns();
    readers.push(shop.products.get('a'));
    await turns();
    resolve();
    const rows = await elapse(shop.clock, Promise.all(readers));
    expect(new Set(rows).size).toBe(6);
    expect(shop.state.loads).toBe(1);
  });

  test('is loaded anew where the list is lost, or cannot be read', async () => {
    const shop = openTagged();
    await shop.products.put('a', LAMP);
    const key = 'wtc:products%t:ended';
    await shop.memory.execute([{ kind: 'invalidate', key, version: 0, holeTtlMs: 0, holeOnEmpty: false }]);
    expect(await shop.load()).toMatchObject({ loads: 1 });
    expect(await shop.load()).toMatchObject({ loads: 0 });
    const odd = { kind: 'refresh', key, version: 0, payload: 'no list', ttlMs: 1_000, staleAtMs: 0 } as const;
    await shop.memory.execute([odd]);
    expect(await shop.load()).toMatchObject({ loads: 1 });
    // Nothing is known of what was ended: all is.
    expect(await shop.products.invalidateTag(lamps)).toBe('invalidated');
    expect(await shop.load()).toMatchObject({ loads: 1 });
    expect(await shop.load()).toMatchObject({ loads: 0 });
  });

  test('is served by staleIfErrorMs only while its tag is not ended', async () => {
    const times = { ttlMs: 1_000, ttlJitter: 0, staleIfErrorMs: 10_000 };
    const shop = openTagged({ collection: times });
    await shop.products.put('a', LAMP);
    await shop.products.put('b', CHAIR);
    shop.clock.advance(1_000);
    shop.storePlan.always('read', async (call) => {
      if (shop.state.unseen === 0) await shop.products.invalidateTag(lamps);
      shop.state.unseen++;
      throw call.refusal();
    });
    // Ended while the store is asked.
    await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    expect(await shop.products.getVersioned('b')).toMatchObject({ value: CHAIR, from: 'stale' });
  });

  test('that is buffered stays readable, and is loaded once it is flushed', async () => {
    const shop = openTagged();
    const queue = memoryQueue({ clock: shop.clock, random: () => 0.5 });
    const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock, queue, prefix: 'queued' });
    const options = { tags: ['name'], strategy: 'write-behind', burst: { maxClockSkewMs: 0 } } as const;
    const products = lockstep.collection({ name: 'products', store: shop.rows, ...options });
    await elapse(shop.clock, products.put('a', CHAIR));
    await elapse(shop.clock, products.flush());
    const written = await elapse(shop.clock, products.put('a', LAMP));
    expect(written.store).toBe('buffered');
    await products.invalidateTag(lamps);
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    await elapse(shop.clock, products.flush());
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
    await lockstep.drain();
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    await elapse(shop.clock, products.put('a', CHAIR));
    await elapse(shop.clock, products.flush());
    expect(await products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  });

  test.for([
    ['signed', { lockstep: { integrity } }],
    ['compressed', { lockstep: { compression: { algorithm: 'brotli', thresholdBytes: 0 } } }],
    ['strict', { collection: { consistency: 'strict' } }],
  ] as [string, ShopOptions][])('may be %s', async ([, options]) => {
    const shop = openTagged(options);
    await shop.products.put('a', LAMP);
    expect(await shop.load()).toEqual({ stock: 1, loads: 0 });
    await shop.products.invalidateTag(lamps);
    expect(await shop.load()).toEqual({ stock: 1, loads: 1 });
    expect(await shop.load()).toEqual({ stock: 1, loads: 0 });
  });

  test('is read without its tags where a process knows of none, and the other way round', async () => {
    const shop = openTagged();
    await shop.products.put('a', LAMP);
    const { lockstep } = shop;
    const untagged = createLockstep({ cache: shop.memory, clock: shop.clock, random: () => 0.5 });
    const plain = untagged.collection({ name: 'products', store: shop.rows });
    expect(await plain.get('a')).toEqual(LAMP);
    await untagged.drain();
    expect(await shop.load()).toEqual({ stock: 1, loads: 1 });
    await lockstep.drain();
  });

  test('with a list that the cache did not take is told to the queue', async () => {
    const shop = openTagged();
    await shop.products.put('a', LAMP);
    shop.cachePlan.always('execute', async (call) => {
      throw call.refusal();
    });
    expect(await shop.products.invalidateTag(lamps)).toBe('queued');
  });

  test('ends views of its tag, too', async () => {
    const shop = openTagged();
    await shop.products.put('a', LAMP);
    let loads = 0;
    const list = shop.lockstep.view<undefined, number>({
      name: 'list',
      load: () => ++loads,
      dependsOn: (): Dependency => shop.products.where(lamps),
    });
    expect(await list.get(undefined)).toBe(1);
    await shop.lockstep.drain();
    await shop.products.invalidateTag(lamps);
    expect(await list.get(undefined)).toBe(2);
    expect(await shop.load()).toMatchObject({ loads: 1 });
  });
});

test('many tags are ended at once, one after the other, and by many processes', async () => {
  const shop = openTagged();
  const others = Array.from({ length: 3 }, () => shop.join().products);
  const names = Array.from({ length: 50 }, (_, i) => `lamp ${i}`);
  await shop.products.putMany(names.map((name) => [name, { name, stock: 1 }]));
  await shop.products.put('a', CHAIR);
  const ending = names.map((name, i) => others[i % 3]?.invalidateTag({ name }));
  expect(new Set(await Promise.all(ending))).toEqual(new Set(['invalidated']));
  await shop.products.getMany(names);
  expect(await shop.load()).toMatchObject({ loads: 0 });
  await shop.lockstep.drain();
  const before = shop.state.loads;
  await shop.products.getMany(names);
  expect(shop.state.loads).toBe(before);
});

test('the list is bounded, and what it forgets counts as ended', () => {
  const tags = Array.from({ length: MAX_ENDED + 1 }, (_, i) => `tag-${i}`);
  const begun = parseEnded('token@1');
  const once = parseEnded(withEnded(begun as NonNullable<typeof begun>, tags.slice(0, -1)));
  expect(once).toMatchObject({ token: 'token@1', last: MAX_ENDED, forgotten: 0 });
  const more = parseEnded(withEnded(once as NonNullable<typeof once>, ['tag-0', 'tag-0', ...tags.slice(-1)]));
  expect(more).toMatchObject({ last: MAX_ENDED + 3, forgotten: 2 });
  expect(more?.numbers.size).toBe(MAX_ENDED);
  for (const odd of ['', ' ', 'a b', 'a 1', 'a 1 0 x', 'a 1 0 x=', '~ 1 0', 'a 1 0  x=1']) {
    expect(parseEnded(odd)).toBeUndefined();
  }
});
