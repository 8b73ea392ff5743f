import { describe, expect, test } from 'vitest';
import { CacheUnavailableError } from '../../src/errors.js';
import { refuse } from '../../src/faults/index.js';
import { type MemoryTx, memoryCache } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import { CHAIR, carries, LAMP, openShop, turns } from '../support/shop.js';

const openStrict = (more: Parameters<typeof openShop>[0] = {}) =>
  openShop({
    ...more,
    adapt: (cache) => ({
      ...cache,
      info: async () => ({ evicts: false, generation: undefined, description: 'keeps everything' }),
    }),
    collection: { consistency: 'strict', ...more.collection },
  });

describe('G7: strict', () => {
  test('a write needs the cache: CacheUnavailableError, the store untouched', async () => {
    const shop = openStrict();
    shop.cachePlan.always('execute', refuse());
    const writes = [
      () => shop.products.put('a', LAMP),
      () => shop.products.delete('a'),
      () => shop.products.increment('a', 'stock', 1),
      () => shop.products.write('a', async () => undefined),
      () => shop.lockstep.transaction((tx) => shop.products.put('a', LAMP, { tx })),
    ];
    for (const write of writes)
      await expect(write()).rejects.toMatchObject({ code: 'LOCKSTEP_CACHE_UNAVAILABLE' });
    expect(shop.storePlan.calls('write')).toBe(0);
    expect(shop.rows.keys()).toEqual([]);
  });

  test('from before the commit to the acknowledgement nobody reads the old value from the cache', async () => {
    const shop = openStrict();
    const other = shop.join();
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write', { at: 'after' });
    const writing = shop.products.put('a', CHAIR);
    await held.reached;
    expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
    expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
    held.release();
    expect(await writing).toMatchObject({ cache: 'updated' });
    expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  });

  test.each(['transaction', 'write'] as const)(
    'what a statement of the caller’s own changes in a %s is unreadable before its commit, too',
    async (way) => {
      const shop = openStrict();
      const other = shop.join();
      await shop.products.put('a', LAMP);
      const change = async (client: unknown): Promise<void> => {
        await (client as MemoryTx).set('products', 'a', CHAIR);
        await (client as MemoryTx).set('products', 'new', CHAIR);
      };
      const run = (): Promise<unknown> =>
        way === 'write'
          ? shop.products.write('b', change)
          : shop.lockstep.transaction(({ client }) => change(client));
      const held = shop.cachePlan.pauseNext('execute', carries('invalidate'));
      const running = run();
      await held.reached;
      expect(await other.products.getVersioned('a', { fresh: true })).toMatchObject({ value: CHAIR });
      expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
      held.release();
      await running;
      await other.products.get('a');
      await turns();
      expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });

      await shop.rows.foreignWrite('a', LAMP);
      shop.cachePlan.always('execute', refuse());
      await expect(run()).rejects.toMatchObject({ code: 'LOCKSTEP_CACHE_UNAVAILABLE' });
      const [row] = await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true });
      expect(row?.value).toEqual(LAMP);
    },
  );

  test('readers who pass a writer by are counted, and fill nothing', async () => {
    const shop = openStrict();
    await shop.products.put('a', LAMP);
    const refused = shop.record('fillRefused');
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', CHAIR);
    await held.reached;
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(refused).toEqual([{ collection: 'products', key: 'a', reason: 'writers' }]);
    expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
    held.release();
    await writing;
  });

  test.each([
    ['refused by the store', refuse],
    ['given up before its turn', undefined],
  ])('a write that was %s takes its intent back', async (_how, fault) => {
    const shop = openStrict({ collection: { batch: { queueTimeoutMs: 1_000, maxInFlight: 1 } } });
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    if (fault === undefined) {
      const busy = shop.products.put('b', LAMP);
      await held.reached;
      const late = shop.products.put('a', CHAIR);
      const seen = expect(late).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_OVERLOADED' });
      await turns();
      shop.clock.advance(1_000);
      await seen;
      held.release();
      await busy;
    } else {
      held.release();
      await shop.products.put('b', LAMP);
      shop.storePlan.next('write', fault());
      await expect(shop.products.put('a', CHAIR)).rejects.toMatchObject({ outcome: 'not-committed' });
    }
    await shop.lockstep.drain();
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('a write of unknown outcome keeps its intent until its deadline', async () => {
    const shop = openStrict({ collection: { storeTimeoutMs: 1_000, batch: { queueTimeoutMs: 1_000 } } });
    await shop.products.put('a', LAMP);
    shop.storePlan.next('write', refuse(new Error('socket hang up')));
    await expect(shop.products.put('a', CHAIR)).rejects.toMatchObject({ outcome: 'unknown' });
    shop.clock.advance(2_999);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'store' });
    shop.clock.advance(1);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('of two writers at once the last one left places its value', async () => {
    const shop = openStrict();
    const other = shop.join();
    const held = shop.storePlan.pauseNext('write', { at: 'after' });
    const first = shop.products.put('a', LAMP);
    await held.reached;
    expect(await other.products.put('a', CHAIR)).toMatchObject({ cache: 'invalidated' });
    held.release();
    expect(await first).toMatchObject({ cache: 'invalidated' });
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test('a cache that evicts is warned of, once', async () => {
    const warnings = await warned(async () => {
      const shop = openShop({ collection: { consistency: 'strict' } });
      await shop.products.put('a', LAMP);
      await shop.products.get('a');
    });
    expect(warnings).toMatchObject([
      { code: 'LOCKSTEP_STRICT_EVICTION', message: expect.stringContaining('noeviction') },
    ]);
  });

  test('a cache that evicts is warned of, too, where it connects with the first call, or is away then', async () => {
    const warnings = await warned(async () => {
      let connected = false;
      let away = true;
      const shop = openShop({
        collection: { consistency: 'strict' },
        adapt: (cache) => ({
          ...cache,
          async open() {
            if (away) throw new CacheUnavailableError('away');
            connected = true;
          },
          async info() {
            if (!connected) throw new CacheUnavailableError('not connected');
            return cache.info();
          },
        }),
      });
      await shop.products.put('a', LAMP).catch(() => undefined);
      away = false;
      shop.clock.advance(5_000);
    });
    expect(warnings).toMatchObject([{ code: 'LOCKSTEP_STRICT_EVICTION' }]);
  });

  test('a shared cache that evicts is warned of for a store without versions', async () => {
    const warnings = await warned(async () => {
      const cache = { ...memoryCache(), shared: true };
      const store = callbackStore<number>({ read: async () => 1, write: async () => undefined });
      const lockstep = createLockstep({ cache });
      await lockstep.collection({ name: 'numbers', store }).put('a', 2);
    });
    expect(warnings).toMatchObject([{ message: expect.stringContaining('has a store without versions') }]);
  });
});

async function warned(work: () => Promise<void>): Promise<unknown[]> {
  const warnings: unknown[] = [];
  const listen = (warning: unknown): void => void warnings.push(warning);
  process.on('warning', listen);
  try {
    await work();
    await turns();
    return warnings;
  } finally {
    process.off('warning', listen);
  }
}

test('available: a lost reservation costs a miss, and nothing else', async () => {
  const shop = openShop();
  shop.cachePlan.next('execute', refuse(), carries('reserve'));
  expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'invalidated' });
  expect(await shop.products.get('a')).toEqual(LAMP);
});
