import { describe, expect, test } from 'vitest';
import type { CacheAdapter, ChangeListener, ChangeWatch } from '../../src/contracts/cache.js';
import { hang } from '../../src/faults/index.js';
import type { MemoryTx } from '../../src/memory/index.js';
import { CHAIR, LAMP, openShop, type ShopOptions, turns } from '../support/shop.js';
import { openNear, warm } from './support.js';

type Shop = ReturnType<typeof openNear>;

describe('a near entry', () => {
  test('is served without asking the cache, and says so', async () => {
    const shop = openNear();
    const hits = shop.record('hit');
    await warm(shop, 'a', LAMP);
    const asked = shop.cachePlan.calls('read');
    const before = shop.lockstep.status().near?.[0]?.hits ?? 0;
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'near' });
    expect(await shop.products.getMany(['a', 'a'])).toEqual([LAMP, LAMP]);
    expect(shop.cachePlan.calls('read')).toBe(asked);
    expect(hits.at(-1)).toMatchObject({ collection: 'products', key: 'a', from: 'near', stale: false });
    expect(shop.lockstep.status().near).toMatchObject([
      { collection: 'products', items: 1, hits: before + 4, live: true },
    ]);
  });

  test('of a row that is known to be absent', async () => {
    const shop = openNear();
    await shop.products.get('none');
    await turns();
    for (let i = 0; i < 3; i++) await shop.products.get('none');
    expect(await shop.products.getVersioned('none')).toMatchObject({ value: null, from: 'near' });
    await shop.join().products.put('none', LAMP);
    expect(await shop.products.get('none')).toEqual(LAMP);
  });

  test('is the caller’s own copy', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    const found = (await shop.products.get('a')) as { name: string };
    found.name = 'changed';
    expect(await shop.products.get('a')).toEqual(LAMP);
    const [one, two] = await shop.products.getMany(['a', 'a']);
    expect(one).not.toBe(two);
  });

  test('goes after a tenth of the TTL, and when it gets stale', async () => {
    const shop = openNear({ collection: { ttlMs: 2_000 } });
    await warm(shop, 'a', LAMP);
    shop.clock.advance(199);
    await turns();
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'near' });
    shop.clock.advance(1);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  });

  test('is bounded by maxItems, and by maxBytes', async () => {
    const few = openNear({}, { maxItems: 2 });
    for (const id of ['a', 'b', 'c']) await warm(few, id, LAMP);
    expect(few.lockstep.status().near?.[0]?.items).toBe(2);
    const small = openNear({}, { maxBytes: 1_024 });
    for (let i = 0; i < 20; i++) await warm(small, `id-${i}`, LAMP);
    const [status] = small.lockstep.status().near ?? [];
    expect(status?.items).toBeLessThan(6);
    expect(status?.bytes).toBeLessThanOrEqual(1_024);
    expect(status?.bytes).toBeGreaterThan(500);
  });
});

describe('a write of this process is seen at once', () => {
  const WRITES = {
    put: (shop: Shop) => shop.products.put('a', CHAIR),
    putMany: (shop: Shop) => shop.products.putMany([['a', CHAIR]]),
    patch: (shop: Shop) => shop.products.patch('a', { stock: 9 }),
    increment: (shop: Shop) => shop.products.increment('a', 'stock', 2),
    update: (shop: Shop) => shop.products.update('a', () => CHAIR),
    delete: (shop: Shop) => shop.products.delete('a'),
    write: (shop: Shop) => shop.products.write('a', (tx) => (tx as MemoryTx).set('products', 'a', CHAIR)),
    transaction: (shop: Shop) =>
      shop.lockstep.transaction(async (tx) => await shop.products.put('a', CHAIR, { tx })),
    'through a sibling': (shop: Shop) => shop.others.put('a', CHAIR),
  };

  // The watch tells nothing.
  test.each(Object.entries(WRITES))('%s', async (_, write) => {
    const shop = openNear({}, {}, () => undefined);
    await warm(shop, 'a', LAMP);
    await write(shop as never);
    const [row] = await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true });
    expect(await shop.products.get('a')).toEqual(row?.value);
  });

  test.each(['invalidate', 'invalidateAll'] as const)('%s', async (name) => {
    const shop = openNear({}, {}, () => undefined);
    await warm(shop, 'a', LAMP);
    shop.memory.evict('wtc:products:a');
    await shop.rows.foreignWrite('a', CHAIR);
    await (name === 'invalidate' ? shop.products.invalidate('a') : shop.products.invalidateAll());
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });
});

describe('a change elsewhere', () => {
  const CHANGES = {
    'a write of another process': (shop: Shop) => shop.join().products.put('a', CHAIR),
    'an eviction': async (shop: Shop) => shop.memory.evict('wtc:products:a'),
    'a flush': async (shop: Shop) => shop.memory.clear(),
  };

  test.each(Object.entries(CHANGES))('%s takes the entry out', async (_, change) => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    await change(shop);
    expect(shop.lockstep.status().near).toMatchObject([{ items: 0 }]);
    expect((await shop.products.getVersioned('a')).from).not.toBe('near');
  });

  test('of another program, through the relay', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    const relay = shop.join().lockstep.startRelay();
    await shop.rows.foreignWrite('a', CHAIR);
    await turns(50);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('while a read of the key is under way: its reply is not stored', async () => {
    const shop = openNear();
    await warm(shop, 'b', LAMP);
    await shop.products.put('a', LAMP);
    const held = shop.cachePlan.pauseNext('read', { at: 'after' });
    const reading = shop.products.getVersioned('a');
    await held.reached;
    await shop.join().products.put('a', CHAIR);
    held.release();
    expect(await reading).toMatchObject({ value: LAMP });
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  });
});

describe('an entry is served only while the watch is proven', () => {
  test('for maxStaleMs after the sending of a ping that came back', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.cachePlan.always('ping', hang());
    shop.clock.advance(999);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'near' });
    shop.clock.advance(1);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    expect(shop.lockstep.status().near).toMatchObject([{ live: false }]);
    shop.cachePlan.clear('ping');
    for (let i = 0; i < 2; i++) {
      await turns();
      shop.clock.advance(300);
    }
    await shop.products.get('a');
    await turns();
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'near' });
  });

  test('not from its answer', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.clock.advance(400);
    const held = shop.cachePlan.pauseNext('ping', { at: 'after' });
    await shop.products.get('a');
    await held.reached;
    shop.cachePlan.always('ping', hang());
    shop.clock.advance(200);
    held.release();
    await turns();
    shop.clock.advance(799);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'near' });
    shop.clock.advance(1);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  });

  test('and nothing is stored before the first proof, nor by a ping that was sent before a loss', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.clock.advance(400);
    const held = shop.cachePlan.pauseNext('ping', { at: 'after' });
    await shop.products.get('a');
    await held.reached;
    shop.cachePlan.always('ping', hang());
    shop.listener().lost();
    held.release();
    await turns();
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    expect(shop.lockstep.status().near).toMatchObject([{ items: 0, live: false }]);
  });

  test('a ping that fails is told once, and tried again', async () => {
    const shop = openNear();
    const errors = shop.record('error');
    await warm(shop, 'a', LAMP);
    shop.cachePlan.always('ping', async () => {
      throw new Error('broken');
    });
    for (let i = 0; i < 20; i++) {
      shop.clock.advance(100);
      await shop.products.get('a');
      await turns();
    }
    expect(errors.filter(({ where }) => where === 'near')).toHaveLength(1);
    expect(shop.cachePlan.calls('ping')).toBeGreaterThan(5);
  });

  test('no ping is sent while nobody reads', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    await turns();
    const pings = shop.cachePlan.calls('ping');
    for (let i = 0; i < 20; i++) {
      shop.clock.advance(1_000);
      await turns();
    }
    expect(shop.cachePlan.calls('ping')).toBe(pings);
  });
});

describe('calls that ask further than the near entries', () => {
  test('fresh, a transaction, and a version that is not near', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    expect(await shop.products.getVersioned('a', { fresh: true })).toMatchObject({ from: 'store' });
    await turns();
    await warm(shop, 'a', LAMP);
    await shop.lockstep.transaction(async (tx) => {
      expect(await shop.products.getVersioned('a', { tx })).toMatchObject({ from: 'transaction' });
    });
    const { version } = await shop.products.getVersioned('a');
    expect(await shop.products.getVersioned('a', { minVersion: version })).toMatchObject({ from: 'near' });
    shop.mute();
    const other = await shop.join().products.put('a', CHAIR);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'near' });
    const least = { minVersion: other.version };
    expect(await shop.products.getVersioned('a', least)).toMatchObject({ value: CHAIR, from: 'cache' });
  });

  test('update, which must not judge by a value that others have changed', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.mute();
    await shop.join().products.put('a', CHAIR);
    const seen: unknown[] = [];
    await shop.products.update('a', (row) => {
      seen.push(row);
      return row;
    });
    expect(seen).toEqual([CHAIR]);
  });

  test('all, while the cache is switched off; nothing of before is served afterwards', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.lockstep.enabled = false;
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
    shop.lockstep.enabled = true;
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  });

  test('all, while the cache is not believed', async () => {
    const shop = openNear();
    await warm(shop, 'a', LAMP);
    shop.lose();
    for (let i = 0; i < 5; i++) {
      await shop.products.get('b');
      await turns();
      shop.clock.advance(500);
    }
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
  });
});

describe('a definition with near', () => {
  const define = (collection: object, options: ShopOptions = {}) => openShop({ ...options, collection });

  test.each([
    [{ near: {} }, /collection\("products"\)\.near: must have a bound: maxItems, maxBytes, or both/],
    [{ near: { maxItems: 0 } }, /near\.maxItems: must be a whole number from 1/],
    [{ near: { maxItems: 1, maxStaleMs: 9 } }, /near\.maxStaleMs: must be a whole number from 10/],
    [{ near: { maxItems: 1, items: 1 } }, /near\.items/],
    [{ near: { maxItems: 1 }, consistency: 'strict' }, /near: serves what others .* "strict" excludes/],
  ])('refuses %j', (collection, problem) => {
    expect(() => define(collection)).toThrow(problem);
  });

  test('needs a cache that tells of changes', () => {
    const adapt = ({ watchChanges: _, ...cache }: CacheAdapter): CacheAdapter => cache;
    expect(() => define({ near: { maxItems: 1 } }, { adapt })).toThrow(/needs a cache that tells of changes/);
  });

  test('is one of 64', () => {
    const shop = openShop();
    const near = { maxItems: 1 };
    for (let i = 0; i < 64; i++) shop.lockstep.collection({ name: `c${i}`, store: shop.store, near });
    expect(() => shop.lockstep.collection({ name: 'c64', store: shop.store, near })).toThrow(
      /at most 64 collections/,
    );
  });

  test('alone has the cache watched', async () => {
    const watches: ChangeListener[] = [];
    const adapt = (cache: CacheAdapter): CacheAdapter => ({
      ...cache,
      watchChanges(prefix, listener) {
        watches.push(listener);
        return cache.watchChanges?.(prefix, listener) as ChangeWatch;
      },
    });
    const shop = openShop({ adapt });
    await shop.products.put('a', LAMP);
    await shop.products.get('a');
    expect(watches).toEqual([]);
  });
});

test('the list of ended tags is near, too: reads of rows that are not do not ask for it, but for those that judge by them', async () => {
  const shop = openNear({ collection: { tags: ['name'] } });
  const other = shop.join();
  for (const id of ['a', 'b', 'c']) await shop.products.put(id, LAMP);
  await warm(shop, 'a', LAMP);
  const asked: string[] = [];
  shop.cachePlan.always('read', async (call) => {
    asked.push(...call.input);
    return await call.proceed();
  });
  const listIsAsked = async (read: () => Promise<unknown>): Promise<boolean> => {
    asked.length = 0;
    await read();
    return asked.some((key) => key.endsWith('%t:ended'));
  };
  expect(await listIsAsked(() => shop.products.get('b'))).toBe(false);
  expect(asked).toEqual(['wtc:products:b']);
  expect(await listIsAsked(() => shop.products.update('c', (row) => row))).toBe(true);
  await other.products.invalidateTag({ name: LAMP.name });
  expect(await listIsAsked(() => shop.products.getVersioned('c'))).toBe(true);
  await warm(shop, 'a', LAMP);
  shop.mute();
  await shop.products.invalidateTag({ name: LAMP.name });
  expect((await shop.products.getVersioned('c')).from).toBe('store');
});

test('a tag that is ended takes the rows out, in this process at once', async () => {
  const shop = openNear({ collection: { tags: ['name'] } });
  await warm(shop, 'a', LAMP);
  await shop.products.invalidateTag({ name: LAMP.name });
  expect((await shop.products.getVersioned('a')).from).not.toBe('near');
  await turns();
  for (let i = 0; i < 5 && (await shop.products.getVersioned('a')).from !== 'near'; i++) await turns();
  expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'near' });
  const other = shop.join();
  await other.products.get('a');
  await other.products.invalidateTag({ name: LAMP.name });
  expect((await shop.products.getVersioned('a')).from).not.toBe('near');
});
