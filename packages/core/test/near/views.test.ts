import { describe, expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { Dependency, ViewOptions } from '../../src/contracts/views.js';
import { hang } from '../../src/faults/index.js';
import { elapse, turns } from '../support/shop.js';
import { books, openLists } from '../views/lists.js';
import { heldWatch } from './support.js';

const toys = { category: 'toys' };
const A = { category: 'books', name: 'a' };
const B = { category: 'books', name: 'b' };

/** Lists with near entries. */
function openNear(more: Partial<ViewOptions<{ category: string }, string[]>> = {}) {
  const { adapt, ...watch } = heldWatch();
  const shop = openLists({ near: { maxItems: 100, maxStaleMs: 1_000 }, ...more }, adapt);
  const hits: string[] = [];
  shop.lockstep.events.on('hit', ({ from }) => void hits.push(from));
  return {
    ...shop,
    /** Reads, and tells where the value came from. */
    async from(params: { category: string }, lists = shop.lists): Promise<string> {
      hits.length = 0;
      const names = await lists.get(params);
      return `${hits[0] ?? 'store'}: ${names.join()}`;
    },
    ...watch,
  };
}

/** Reads a view until it is near. */
async function warm(shop: ReturnType<typeof openNear>, params = books): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await shop.lists.get(params);
    await shop.lockstep.drain();
    await turns();
  }
  expect(await shop.from(params)).toMatch(/^near: /);
}

async function opened(more: Parameters<typeof openNear>[0] = {}) {
  const shop = openNear(more);
  await shop.items.put('1', A);
  await warm(shop);
  return shop;
}

type Shop = Awaited<ReturnType<typeof opened>>;

describe('a near entry of a view', () => {
  test('is served without asking the cache, and says so', async () => {
    const shop = await opened();
    const asked = shop.plan.calls('read');
    const [before] = shop.lockstep.status().near ?? [];
    expect(await shop.from(books)).toBe('near: a');
    expect(await shop.lists.getMany([books, books])).toEqual([['a'], ['a']]);
    expect(shop.plan.calls('read')).toBe(asked);
    expect(shop.loads).toEqual(['books']);
    expect(shop.lockstep.status().near).toEqual([
      { ...before, collection: 'list', items: 1, hits: (before?.hits ?? 0) + 3, live: true },
    ]);
  });

  test('is the caller’s own copy', async () => {
    const shop = await opened();
    (await shop.lists.get(books)).push('changed');
    expect(await shop.from(books)).toBe('near: a');
  });

  test('may be nothing', async () => {
    const { items, lockstep } = openNear();
    const from: string[] = [];
    lockstep.events.on('hit', (hit) => void from.push(hit.from));
    for (const value of [undefined, null]) {
      const view = lockstep.view({
        name: `gives ${value}`,
        load: () => value,
        dependsOn: () => items.any(),
        near: { maxItems: 1 },
      });
      for (let i = 0; i < 5; i++) {
        await view.get(1);
        await lockstep.drain();
        await turns();
      }
      expect(await view.get(1)).toBe(value);
      expect(from.at(-1)).toBe('near');
    }
  });

  test('goes after a tenth of the TTL', async () => {
    const shop = await opened({ ttlMs: 4_000 });
    shop.clock.advance(399);
    await turns();
    expect(await shop.from(books)).toBe('near: a');
    shop.clock.advance(1);
    expect(await shop.from(books)).toBe('cache: a');
  });

  test('is bounded by maxItems, and by maxBytes', async () => {
    const few = openNear({ near: { maxItems: 2 } });
    for (const category of ['x', 'y', 'z']) await warm(few, { category });
    expect(few.lockstep.status().near?.[0]?.items).toBe(2);
    const small = openNear({ near: { maxBytes: 1_024 } });
    for (let i = 0; i < 20; i++) await warm(small, { category: `c${i}` });
    const [status] = small.lockstep.status().near ?? [];
    expect(status?.items).toBeLessThan(6);
    expect(status?.bytes).toBeGreaterThan(500);
  });

  test('of a page is one of its own', async () => {
    const shop = await opened();
    const other = shop.join();
    const from: string[] = [];
    shop.lockstep.events.on('hit', (hit) => void from.push(hit.from));
    const page = async () => {
      await shop.lists.page(books, 'c');
      return from.at(-1);
    };
    for (let i = 0; i < 5; i++) {
      await page();
      await shop.lockstep.drain();
    }
    expect(await page()).toBe('near');
    const loads = shop.loads.length;
    await other.lists.invalidate(books);
    await page();
    expect(shop.loads.length).toBe(loads + 1);
  });
});

describe('a write of this process is seen at once', () => {
  const WRITES: Record<string, (shop: Shop) => Promise<unknown>> = {
    'a row that enters': ({ items }) => items.put('2', B),
    'a row that leaves': ({ items }) => items.patch('1', toys),
    'a row that goes': ({ items }) => items.delete('1'),
    'a transaction': ({ items, lockstep }) => lockstep.transaction((tx) => items.put('2', B, { tx })),
    putMany: ({ items }) => items.putMany([['2', B]]),
  };

  test.each(Object.entries(WRITES))('%s', async (_, write) => {
    const shop = await opened();
    shop.mute();
    await write(shop);
    expect(await shop.lists.get(books)).toEqual(await shop.namesOf('books'));
    expect(await shop.lists.get(books)).not.toEqual(['a']);
  });

  test.each(['invalidateTag', 'invalidateAll', 'invalidate', 'refresh'] as const)('%s', async (name) => {
    const shop = await opened();
    shop.mute();
    await shop.rows.foreignWrite('2', B);
    if (name === 'invalidateTag') await shop.items.invalidateTag(books);
    else if (name === 'invalidateAll') await shop.items.invalidateAll();
    else await shop.lists[name](books);
    expect(await shop.lists.get(books)).toEqual(['a', 'b']);
  });
});

describe('a change elsewhere ends what hangs on it', () => {
  const CHANGES: Record<string, (shop: Shop) => Promise<unknown> | undefined> = {
    'a row that enters': (shop) => shop.join().items.put('2', B),
    'a row that leaves': (shop) => shop.join().items.patch('1', toys),
    'a tag that is evicted': async ({ memory }) => {
      for await (const { key } of memory.scan('wtc:items%t:', 'utf8')) memory.evict(key);
    },
    'an entry that is evicted': async ({ memory }) => {
      for await (const { key } of memory.scan('wtc:list%v:', 'utf8')) memory.evict(key);
    },
    'a flush': async ({ memory }) => memory.clear(),
    'an invalidation of the view': (shop) => shop.join().lists.invalidate(books),
    'an invalidation of the table': (shop) => shop.join().items.invalidateAll(),
    'an ended tag': (shop) => shop.join().items.invalidateTag(books),
  };

  test.each(Object.entries(CHANGES))('%s', async (_, change) => {
    const shop = await opened();
    await change(shop);
    expect(await shop.from(books)).not.toMatch(/^near/);
    expect(await shop.lists.get(books)).toEqual(await shop.namesOf('books'));
  });

  test('of another program, through the relay', async () => {
    const shop = await opened();
    const { lockstep } = shop.join();
    const relay = lockstep.startRelay();
    await shop.rows.foreignWrite('2', B);
    await turns(50);
    expect(await shop.lists.get(books)).toEqual(['a', 'b']);
    await elapse(shop.clock, relay.stop());
  });

  test('and nothing else: neither what is written of other rows, nor a load of another view of the same tag', async () => {
    const shop = await opened();
    const other = shop.join();
    await other.items.put('3', { category: 'toys', name: 't' });
    await other.lists.page(books, 'c');
    await other.lockstep.drain();
    await shop.lists.page(books, 'd');
    await shop.lockstep.drain();
    expect(await shop.from(books)).toBe('near: a');
  });

  test('while it is read: what was found is not stored', async () => {
    const shop = await opened();
    await shop.lists.invalidate(books);
    await shop.lists.get(books);
    await shop.lockstep.drain();
    const held = shop.plan.pauseNext('read', { at: 'after' });
    const reading = shop.lists.get(books);
    await held.reached;
    await shop.join().items.put('2', B);
    held.release();
    expect(await reading).toEqual(['a']);
    expect(await shop.lists.get(books)).toEqual(['a', 'b']);
  });

  test('be it what its load has found', async () => {
    const shop = openNear();
    const from: string[] = [];
    shop.lockstep.events.on('hit', (hit) => void from.push(hit.from));
    const both = shop.lockstep.view<undefined, string[]>({
      name: 'both',
      load: async () =>
        (await shop.items.getMany(['1', '2'], { fresh: true })).map((item) => item?.name ?? '-'),
      dependsOn: (_, found) =>
        found === undefined ? shop.items.id('1') : [shop.items.id('1'), shop.items.id('2')],
      near: { maxItems: 10 },
    });
    await shop.items.put('1', A);
    await shop.items.put('2', B);
    const warmed = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        await both.get(undefined);
        await shop.lockstep.drain();
        await turns();
      }
      expect(await both.get(undefined)).toEqual([
        'a',
        (await shop.rows.read(['2'], { timeoutMs: 1_000, primary: true }))[0]?.value.name,
      ]);
      expect(from.at(-1)).toBe('near');
    };
    await warmed();
    await shop.join().items.put('2', { ...B, name: 'c' });
    expect(await both.get(undefined)).toEqual(['a', 'c']);
    await warmed();
    shop.mute();
    await shop.items.put('2', { ...B, name: 'd' });
    expect(await both.get(undefined)).toEqual(['a', 'd']);
  });
});

describe('near entries of views are kept only while', () => {
  test('the watch is proven', async () => {
    const shop = await opened();
    shop.plan.always('ping', hang());
    shop.clock.advance(999);
    expect(await shop.from(books)).toBe('near: a');
    shop.clock.advance(1);
    expect(await shop.from(books)).toBe('cache: a');
    expect(shop.lockstep.status().near).toMatchObject([{ live: false }]);
  });

  test('nothing was lost', async () => {
    const shop = await opened();
    shop.plan.always('ping', hang());
    shop.listener().lost();
    for (let i = 0; i < 3; i++) expect(await shop.from(books)).toBe('cache: a');
  });

  test('the generation of the cache is known to be that of the server that tells of changes', async () => {
    const shop = await opened();
    // The cache fails over: this process knows the generation from before for a while.
    shop.listener().lost();
    shop.clock.advance(200);
    for (let i = 0; i < 5; i++) {
      expect(await shop.from(books)).toBe('cache: a');
      await turns();
    }
    expect(shop.lockstep.status().near).toMatchObject([{ items: 0, live: true }]);
    shop.clock.advance(400);
    await shop.lists.get(books);
    await turns();
    await shop.lists.get(books);
    expect(await shop.from(books)).toBe('near: a');
  });

  test('the cache is believed', async () => {
    const shop = await opened();
    shop.lose();
    for (let i = 0; i < 3; i++) {
      shop.clock.advance(500);
      await shop.lists.get({ category: 'other' });
      await turns();
    }
    expect(await shop.from(books)).toBe('store: a');
  });

  test('the cache is used, and no transaction reads', async () => {
    const shop = await opened();
    await shop.lockstep.transaction(async (tx) => {
      await shop.items.put('2', B, { tx });
      expect(await shop.lists.get(books, { tx })).toEqual(await shop.namesOf('books'));
      expect(shop.loads).toEqual(['books', 'books']);
    });
    await warm(shop);
    shop.lockstep.enabled = false;
    expect(await shop.from(books)).toBe('store: a,b');
    shop.lockstep.enabled = true;
    expect(await shop.from(books)).toBe('cache: a,b');
  });
});

describe('a view with near', () => {
  const define = (view: object, adapt?: (cache: CacheAdapter) => CacheAdapter) =>
    openLists({ near: { maxItems: 1 }, ...view }, adapt);

  test.each([
    [{ near: {} }, /view\("list"\)\.near: must have a bound: maxItems, maxBytes, or both/],
    [{ near: { maxItems: 0 } }, /near\.maxItems: must be a whole number from 1/],
    [{ near: { maxItems: 1, maxStaleMs: 9 } }, /near\.maxStaleMs: must be a whole number from 10/],
    [{ near: { maxItems: 1, validate: true } }, /near\.validate/],
  ])('refuses %j', (view, problem) => {
    expect(() => define(view)).toThrow(problem);
  });

  test('needs a cache that tells of changes', () => {
    expect(() => define({}, ({ watchChanges: _, ...cache }) => cache)).toThrow(
      /view\("list"\)\.near: needs a cache that tells of changes/,
    );
  });

  test('excludes a strict collection, and keeps nothing of one that only its params name', async () => {
    const shop = openNear();
    const strict = shop.lockstep.collection({
      name: 'strict',
      store: shop.rows,
      tags: [],
      consistency: 'strict',
    });
    const of = (name: string, dependsOn: (which: string) => Dependency) =>
      shop.lockstep.view<string, string>({ name, load: () => name, dependsOn, near: { maxItems: 1 } });
    expect(() => of('named', () => strict.any())).toThrow(
      /view\("named"\)\.near: serves what others .* "strict" excludes \(strict\.any\(\)\)/,
    );
    const later = of('later', (which) => (which === 'strict' ? strict : shop.items).any());
    const from: string[] = [];
    shop.lockstep.events.on('hit', (hit) => void from.push(hit.from));
    for (const which of ['items', 'strict']) {
      for (let i = 0; i < 5; i++) {
        await later.get(which);
        await shop.lockstep.drain();
        await turns();
      }
      expect(from.at(-1)).toBe(which === 'strict' ? 'cache' : 'near');
    }
  });
});
