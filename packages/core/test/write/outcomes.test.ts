import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { loseReply, refuse } from '../../src/faults/index.js';
import { CHAIR, carries, LAMP, openShop } from '../support/shop.js';

describe('the write result says what became of the cache', () => {
  test('updated: the cache holds the row', async () => {
    const shop = openShop();
    const result = await shop.products.put('a', LAMP);
    expect(result).toEqual({
      value: LAMP,
      version: expect.any(Number),
      cache: 'updated',
      store: 'committed',
      coalesced: false,
    });
    expect(await shop.entry('a')).toMatchObject({ state: 'value', version: result.version });
  });

  test('updated: the cache already holds something newer (G3)', async () => {
    const shop = openShop();
    const other = shop.join();
    await shop.products.put('a', LAMP);
    const refused = shop.record('putRefused');
    const held = shop.storePlan.pauseNext('write', { at: 'after' });
    const slow = shop.products.put('a', LAMP);
    await held.reached;
    const newer = await other.products.put('a', CHAIR);
    held.release();
    expect(await slow).toMatchObject({ cache: 'updated' });
    expect(refused).toMatchObject([{ key: 'a', reason: 'superseded' }]);
    expect(await shop.products.getVersioned('a')).toEqual({
      value: CHAIR,
      version: newer.version,
      from: 'cache',
    });
  });

  test('invalidated: the put failed and the invalidation did not', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.cachePlan.next('execute', refuse(), carries('put'));
    const { cache, version } = await shop.products.put('a', CHAIR);
    expect(cache).toBe('invalidated');
    expect(await shop.entry('a')).toMatchObject({ state: 'hole', version });
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test('invalidated: a put that finds its key evicted leaves a floor, not a value (G3)', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const refused = shop.record('putRefused');
    shop.memory.evict('wtc:products:a');
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'invalidated' });
    expect(refused).toMatchObject([{ reason: 'floored' }]);
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test('invalidated: with strategy cache-aside every write leaves a floor', async () => {
    const shop = openShop({ collection: { strategy: 'cache-aside' } });
    await shop.rows.foreignWrite('a', LAMP);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'invalidated' });
    expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
  });

  test('with strategy cache-aside a key that this process has written needs no reservation', async () => {
    const shop = openShop({ collection: { strategy: 'cache-aside' } });
    const trips = async (write: () => Promise<unknown>): Promise<number> => {
      const before = shop.cachePlan.calls('execute');
      await write();
      return shop.cachePlan.calls('execute') - before;
    };
    expect(await trips(() => shop.products.put('a', LAMP))).toBe(2);
    expect(await trips(() => shop.products.put('a', CHAIR))).toBe(1);
    expect(await trips(() => shop.products.delete('a'))).toBe(1);
    expect(await shop.products.get('a')).toBeUndefined();
  });

  test('queued: the queue takes the invalidation, and a consumer of it brings the cache in step', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const handovers = shop.record('handover');
    shop.cachePlan.always('execute', refuse());
    const { cache, version } = await shop.products.put('a', CHAIR);
    expect(cache).toBe('queued');
    expect(handovers).toEqual([{ jobs: 1, taken: true, durationMs: 0 }]);
    shop.cachePlan.clear();
    expect(await shop.products.get('a')).toEqual(LAMP);
    const done = Promise.withResolvers<void>();
    await shop.jobs.consume(async (job) => {
      expect(job).toEqual({ kind: 'invalidate', key: 'wtc:products:a', version });
      await shop.lockstep.handleJob(job);
      done.resolve();
    });
    await done.promise;
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test.each([true, false])(
    'deferred: neither cache nor queue (there is a queue: %s); the feed has it (G9)',
    async (withQueue) => {
      const shop = openShop({ withQueue });
      await shop.products.put('a', LAMP);
      shop.queuePlan.always('enqueue', refuse());
      shop.cachePlan.always('execute', refuse());
      const handovers = shop.record('handover');
      expect(await shop.products.put('a', CHAIR)).toMatchObject({ value: CHAIR, cache: 'deferred' });
      expect(handovers).toEqual(withQueue ? [{ jobs: 1, taken: false, durationMs: 0 }] : []);
      expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 1 });
    },
  );

  test('an answered put is acknowledged, so that the relay has nothing to do', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.products.delete('a');
    expect(await shop.rows.feed.status(['products'])).toEqual({ pending: 0, oldestMs: 0 });
  });

  test('a put whose reply was lost took effect, and invalidating at its version does no harm', async () => {
    const shop = openShop();
    shop.cachePlan.next('execute', loseReply(), carries('put'));
    expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'invalidated' });
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });
});

describe('G1: a write that the store refused leaves the cache as it was', () => {
  const constrained = {
    validate: ({ stock }: { readonly stock: number }) => {
      if (stock < 0) throw new Error('stock must not be negative');
    },
  };

  test.each([
    ['put', (shop: ReturnType<typeof openShop>) => shop.products.put('a', { ...LAMP, stock: -1 })],
    ['increment', (shop: ReturnType<typeof openShop>) => shop.products.increment('a', 'stock', -10)],
    [
      'update',
      (shop: ReturnType<typeof openShop>) => shop.products.update('a', (row) => row && { ...row, stock: -1 }),
    ],
  ])('%s', async (_name, write) => {
    const shop = openShop(constrained);
    await shop.products.put('a', LAMP);
    const before = await shop.entry('a');
    await expect(write(shop)).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_REFUSED', key: 'a' });
    await shop.lockstep.drain();
    expect(await shop.entry('a')).toEqual(before);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('a store that can’t be reached: nothing is said of the write, and the cache is as it was', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.storePlan.next('write', refuse());
    await expect(shop.products.put('a', CHAIR)).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('an error that is not Lockstep’s arrives as StoreUnavailableError of unknown outcome', async () => {
    const shop = openShop();
    const own = new Error('socket hang up');
    shop.storePlan.next('write', refuse(own));
    await expect(shop.products.put('a', CHAIR)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'unknown',
      cause: own,
    });
  });
});

describe('before the store is touched', () => {
  test('a value that can’t be serialised is a SerializationError that names its path', async () => {
    const shop = openShop();
    const odd = { name: 'lamp', stock: Symbol('s') as never };
    await expect(shop.products.put('a', odd)).rejects.toMatchObject({
      code: 'LOCKSTEP_SERIALIZATION',
      key: 'a',
      collection: 'products',
      message: expect.stringContaining('stock is symbol'),
    });
    expect(shop.storePlan.calls('write')).toBe(0);
    expect(shop.cachePlan.calls('execute')).toBe(0);
  });

  test('a value that the schema rejects is a ValidationError with the schema’s findings', async () => {
    const schema = z.object({ name: z.string().min(1, 'needs a name'), stock: z.number() });
    const shop = openShop({ collection: { schema } });
    await expect(shop.products.put('a', { name: '', stock: 1 })).rejects.toMatchObject({
      code: 'LOCKSTEP_VALIDATION',
      issues: [{ path: 'name', message: 'needs a name' }],
      message: expect.stringContaining('name: needs a name'),
    });
    expect(shop.storePlan.calls('write')).toBe(0);
    expect(shop.cachePlan.calls('execute')).toBe(0);
  });

  test('the schema’s own output is what is written', async () => {
    const schema = z.object({ name: z.string().trim(), stock: z.number() });
    const shop = openShop({ collection: { schema } });
    expect(await shop.products.put('a', { name: ' lamp ', stock: 3 })).toMatchObject({ value: LAMP });
  });

  test.each([null, undefined])('the value %s is refused: delete() is for that', async (value) => {
    const shop = openShop();
    await expect(shop.products.put('a', value as never)).rejects.toMatchObject({
      code: 'LOCKSTEP_INVALID_OPTION',
      message: expect.stringContaining('use delete()'),
    });
  });
});

describe('the payload limit', () => {
  const large = { name: 'é'.repeat(60), stock: 1 };

  test('a larger value is written to the store and leaves a floor (G3)', async () => {
    const shop = openShop({ collection: { maxPayloadBytes: 100 } });
    await shop.products.put('a', LAMP);
    const { cache, version } = await shop.products.put('a', large);
    expect(cache).toBe('invalidated');
    expect(await shop.entry('a')).toMatchObject({ state: 'hole', version });
    expect(await shop.products.get('a')).toEqual(large);
  });

  test('a larger value on an empty key leaves a floor, too', async () => {
    const shop = openShop({ collection: { maxPayloadBytes: 100 } });
    const { version } = await shop.products.put('a', large);
    expect(await shop.entry('a')).toMatchObject({ state: 'hole', version });
  });

  test('a load of a larger row is not cached, and says so', async () => {
    const shop = openShop({ collection: { maxPayloadBytes: 100 } });
    await shop.rows.foreignWrite('a', large);
    const refused = shop.record('fillRefused');
    expect(await shop.products.get('a')).toEqual(large);
    await shop.lockstep.drain();
    expect(refused).toMatchObject([{ reason: 'payload-limit' }]);
    expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
  });

  test('text counts its bytes, not its characters', async () => {
    const bytes = Buffer.byteLength(JSON.stringify(large));
    for (const [maxPayloadBytes, cache] of [
      [bytes, 'updated'],
      [bytes - 1, 'invalidated'],
    ] as const) {
      const shop = openShop({ collection: { maxPayloadBytes } });
      expect(await shop.products.put('a', large)).toMatchObject({ cache });
    }
  });
});
