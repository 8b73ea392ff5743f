import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import { refuse } from '../../src/faults/index.js';
import { CHAIR, LAMP, openShop, turns } from '../support/shop.js';

const near = { maxItems: 100, validate: true };

/** A shop whose near entries are validated, over a cache that nobody may watch. */
async function openValidating() {
  const watched: string[] = [];
  const adapt = (cache: CacheAdapter): CacheAdapter => ({
    ...cache,
    watchChanges(prefix) {
      watched.push(prefix);
      throw new Error('nobody watches');
    },
  });
  const shop = openShop({ adapt, collection: { near } });
  await shop.products.put('a', LAMP);
  await shop.products.get('a');
  return { ...shop, watched };
}

test('a hit asks the cache for the version alone, and nothing watches it', async () => {
  const shop = await openValidating();
  const reads = shop.cachePlan.calls('read');
  const hits = shop.record('hit');
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'near' });
  expect(await shop.products.get('a')).not.toBe(await shop.products.get('a'));
  expect(await shop.products.getMany(['a', 'a'])).toEqual([LAMP, LAMP]);
  expect(shop.cachePlan.calls('read')).toBe(reads);
  expect(shop.cachePlan.calls('heads')).toBeGreaterThan(0);
  expect(hits).toHaveLength(5);
  expect(shop.lockstep.status().near).toMatchObject([{ hits: 5, live: true }]);
  expect(shop.watched).toEqual([]);
});

test('G2 holds as without near: a write of another process is seen at once', async () => {
  const shop = await openValidating();
  await shop.join().products.put('a', CHAIR);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'near' });
  await shop.join().products.delete('a');
  expect(await shop.products.getMany(['a'])).toEqual([undefined]);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: null, from: 'near' });
  shop.memory.evict('wtc:products:a');
  await shop.rows.foreignWrite('a', LAMP);
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
});

test('what has expired, and a cache that does not answer, are no hit', async () => {
  const shop = await openValidating();
  shop.cachePlan.next('heads', refuse());
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  shop.clock.advance(2 * 3_600_000);
  await turns();
  expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
});

test('an expired proof that the cache takes invalidations is no proof', async () => {
  const shop = await openValidating();
  shop.cachePlan.always('probe', refuse());
  shop.clock.advance(1_500);
  expect((await shop.products.getVersioned('a')).from).not.toBe('near');
});

test.each([
  [{ near: { ...near, maxStaleMs: 100 } }, /near\.maxStaleMs: goes without validate/],
  [{ near, tags: ['name'] }, /near: asks for the version alone \(validate\)/],
  [{ near, consistency: 'strict' }, /"strict" excludes/],
  [{ near: { validate: true } }, /must have a bound/],
])('%j is refused', (collection, problem) => {
  expect(() => openShop({ collection: collection as object })).toThrow(problem);
});

test('needs a cache that reads versions without values', () => {
  const adapt = ({ readHeads: _, ...cache }: CacheAdapter): CacheAdapter => cache;
  expect(() => openShop({ adapt, collection: { near } })).toThrow(/needs a cache that reads versions/);
});
