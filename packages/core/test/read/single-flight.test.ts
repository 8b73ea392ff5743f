import { describe, expect, test } from 'vitest';
import { refuse } from '../../src/faults/index.js';
import { CHAIR, carries, elapse, LAMP, openShop, turns } from '../support/shop.js';

describe('G8: one load per cold key', () => {
  test('of one process', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read');
    const reading = Array.from({ length: 50 }, () => shop.products.get('a'));
    await held.reached;
    reading.push(...Array.from({ length: 50 }, () => shop.products.get('a')));
    await turns();
    held.release();
    const found = await Promise.all(reading);
    expect(found).toEqual(found.map(() => LAMP));
    expect(new Set(found).size, 'objects').toBe(found.length);
    expect(shop.storePlan.calls('read')).toBe(1);
  });

  test('of several processes: the others wait for the lease’s holder', async () => {
    const shop = openShop();
    const other = shop.join();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read');
    const first = shop.products.get('a');
    await held.reached;
    const second = other.products.getVersioned('a');
    await turns();
    shop.clock.advance(10);
    await turns();
    held.release();
    expect(await first).toEqual(LAMP);
    expect(await elapse(shop.clock, second)).toMatchObject({ value: LAMP, from: 'cache' });
    expect(shop.storePlan.calls('read')).toBe(1);
  });

  test('where the cache is away, a load that was not sent is shared', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    shop.cachePlan.always('read', refuse());
    shop.cachePlan.always('execute', refuse());
    const held = shop.storePlan.pauseNext('read');
    const first = shop.products.get('a');
    await held.reached;
    const later = Array.from({ length: 20 }, () => shop.products.get('a'));
    await turns();
    held.release();
    await Promise.all([first, ...later]);
    expect(shop.storePlan.calls('read')).toBe(2);
  });
});

describe('G2: a reader never joins a load older than an acknowledged write', () => {
  test.each([
    ['updated', []],
    ['invalidated', ['put']],
    ['queued', ['put', 'invalidate']],
  ] as const)('(%s)', async (outcome, refused) => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read', { at: 'after' });
    const early = shop.products.get('a');
    await held.reached;
    for (const kind of refused) shop.cachePlan.next('execute', refuse(), carries(kind));
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: outcome });
    const late = shop.products.get('a');
    if (outcome === 'queued') await shop.jobs.consume((job) => shop.lockstep.handleJob(job));
    await turns();
    held.release();
    expect(await early).toEqual(LAMP);
    expect(await elapse(shop.clock, late)).toEqual(CHAIR);
  });

  test('(queued, and the cache has not heard of the write: the reader asks the cache again)', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read', { at: 'after' });
    const early = shop.products.get('a');
    await held.reached;
    for (const kind of ['put', 'invalidate'] as const) {
      shop.cachePlan.next('execute', refuse(), carries(kind));
    }
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'queued' });
    const late = shop.products.getVersioned('a');
    await turns();
    held.release();
    await early;
    expect(await elapse(shop.clock, late)).toMatchObject({ from: 'cache' });
  });

  test('a load that a writer overtook may not fill', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const refused = shop.record('fillRefused');
    const held = shop.storePlan.pauseNext('read', { at: 'after' });
    const early = shop.products.get('a');
    await held.reached;
    await shop.products.invalidate('a');
    await shop.rows.foreignWrite('a', CHAIR);
    held.release();
    await early;
    await shop.lockstep.drain();
    expect(refused).toEqual([{ collection: 'products', key: 'a', reason: 'lost' }]);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
  });

  test('those who joined such a load bid for the lease themselves', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read', { at: 'after' });
    const early = shop.products.get('a');
    await held.reached;
    const joined = shop.products.get('a');
    await turns();
    await shop.rows.foreignWrite('a', CHAIR);
    await shop.products.invalidate('a');
    held.release();
    expect(await early).toEqual(LAMP);
    expect(await elapse(shop.clock, joined)).toEqual(CHAIR);
  });
});

describe('the lease', () => {
  test('a reader that waited leaseWaitMs loads without filling', async () => {
    const shop = openShop({ collection: { leaseMs: 5_000, leaseWaitMs: 100 } });
    const other = shop.join();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read');
    const first = shop.products.get('a');
    await held.reached;
    const startedAt = shop.clock.monotonic();
    expect(await elapse(shop.clock, other.products.getVersioned('a'))).toMatchObject({ from: 'store' });
    expect(shop.clock.monotonic() - startedAt).toBeGreaterThanOrEqual(100);
    expect(shop.clock.monotonic() - startedAt).toBeLessThan(150);
    expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
    held.release();
    await first;
  });

  test('a reader may take over the lease of one that died', async () => {
    const shop = openShop({ collection: { leaseMs: 50, leaseWaitMs: 1_000 } });
    const other = shop.join();
    await shop.rows.foreignWrite('a', LAMP);
    const held = shop.storePlan.pauseNext('read');
    const dead = shop.products.get('a');
    await held.reached;
    expect(await elapse(shop.clock, other.products.get('a'))).toEqual(LAMP);
    await other.lockstep.drain();
    expect(await shop.entry('a')).toMatchObject({ state: 'value' });
    held.release();
    await dead;
  });

  test('a load that failed gives its lease back', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    shop.storePlan.next('read', refuse());
    await expect(shop.products.get('a')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    await shop.lockstep.drain();
    expect(await shop.products.get('a')).toEqual(LAMP);
    await shop.lockstep.drain();
    expect(await shop.entry('a')).toMatchObject({ state: 'value' });
  });

  test('a fill that got no answer gives its lease back, and the reader has the row', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const errors = shop.record('error');
    shop.cachePlan.next('execute', refuse(), carries('fill'));
    expect(await shop.products.get('a')).toEqual(LAMP);
    await shop.lockstep.drain();
    expect(errors).toMatchObject([{ where: 'fill', error: { code: 'LOCKSTEP_CACHE_UNAVAILABLE' } }]);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  });
});

test('G3: a row below its floor is stamped anew, so that it can be cached', async () => {
  const shop = openShop();
  await shop.rows.foreignWrite('a', LAMP);
  const { version } = await shop.products.getVersioned('a');
  await shop.lockstep.drain();
  const above = version + 1_000_000;
  const floor = { kind: 'invalidate', key: 'wtc:products:a', holeTtlMs: 60_000, holeOnEmpty: true } as const;
  await shop.memory.execute([{ ...floor, version: above }]);
  const refused = shop.record('fillRefused');
  expect(await shop.products.get('a')).toEqual(LAMP);
  await shop.lockstep.drain();
  expect(refused).toMatchObject([{ reason: 'below-floor' }]);
  const hit = await shop.products.getVersioned('a');
  expect(hit).toMatchObject({ value: LAMP, from: 'cache' });
  expect(hit.version).toBeGreaterThan(above);
});
