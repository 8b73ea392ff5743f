import { describe, expect, test } from 'vitest';
import type { BatchOptions } from '../../src/contracts/options.js';
import type { StoreCommand } from '../../src/contracts/store.js';
import { pause, refuse } from '../../src/faults/index.js';
import { CHAIR, LAMP, openShop, type Product, turns } from '../support/shop.js';

/** A shop whose first statement is under way until `release`, and the statements that come after it. */
async function busyShop(batch: BatchOptions = {}) {
  const shop = openShop({
    collection: { batch: { maxInFlight: 1, ...batch } },
    validate: ({ stock }) => {
      if (stock < 0) throw new Error('stock must not be negative');
    },
  });
  await shop.products.put('hot', { name: 'hot', stock: 0 });
  const held = pause('before');
  const statements: (readonly StoreCommand<unknown>[])[] = [];
  shop.storePlan.next('write', held);
  shop.storePlan.always('write', async (call) => {
    statements.push(call.input.commands);
    return await call.proceed();
  });
  const first = shop.products.put('first', LAMP);
  await held.reached;
  /** Lets what was called take its place in the queue. */
  const release = async (): Promise<void> => {
    await turns();
    held.release();
    await first;
  };
  return { ...shop, statements, release, first, held };
}

const stock = (value: number): Product => ({ name: 'hot', stock: value });

describe('group commit', () => {
  test('writes that arrive while one is under way travel in one statement', async () => {
    const shop = await busyShop();
    const writing = Array.from({ length: 100 }, (_, i) => shop.products.put(`k${i}`, stock(i)));
    await shop.release();
    const results = await Promise.all(writing);
    expect(shop.statements.map(({ length }) => length)).toEqual([100]);
    expect(results.map(({ value }) => value?.stock)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test('maxRows bounds a statement', async () => {
    const shop = await busyShop({ maxRows: 4 });
    const writing = Array.from({ length: 10 }, (_, i) => shop.products.put(`k${i}`, stock(i)));
    await shop.release();
    await Promise.all(writing);
    expect(shop.statements.map(({ length }) => length)).toEqual([4, 4, 2]);
  });

  test('maxBytes bounds a statement, and one larger row travels alone', async () => {
    const bytes = JSON.stringify(stock(1)).length;
    const shop = await busyShop({ maxBytes: 2.5 * bytes });
    const large = { name: 'x'.repeat(10 * bytes), stock: 1 };
    const writing = [
      ...[1, 2, 3].map((i) => shop.products.put(`k${i}`, stock(i))),
      shop.products.put('large', large),
      shop.products.put('k4', stock(4)),
    ];
    await shop.release();
    await Promise.all(writing);
    expect(shop.statements.map((commands) => commands.map(({ key }) => key))).toEqual([
      ['k1', 'k2'],
      ['k3'],
      ['large'],
      ['k4'],
    ]);
  });

  test('a refused row fails its own caller only', async () => {
    const shop = await busyShop();
    const writing = [
      shop.products.put('a', LAMP),
      shop.products.put('b', stock(-1)),
      shop.products.put('c', CHAIR),
    ];
    await shop.release();
    const results = await Promise.allSettled(writing);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(shop.statements).toHaveLength(1);
  });

  test('a write that waits longer than queueTimeoutMs rejects with StoreOverloadedError, unwritten', async () => {
    const shop = await busyShop({ queueTimeoutMs: 100 });
    const late = shop.products.put('late', LAMP);
    const seen = expect(late).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_OVERLOADED',
      key: 'late',
      message: expect.stringContaining('batch.queueTimeoutMs'),
    });
    await turns();
    shop.clock.advance(100);
    await seen;
    await shop.release();
    expect(shop.rows.keys()).not.toContain('late');
  });

  test('a key’s writes keep their order where some of them wait outside a full queue', async () => {
    const shop = await busyShop({ maxWaiting: 2, maxRows: 1 });
    const writing = [
      shop.products.put('other', LAMP),
      shop.products.put('hot', stock(10)),
      shop.products.increment('hot', 'stock', 1),
      shop.products.put('hot', stock(20)),
      shop.products.increment('hot', 'stock', 2),
      shop.products.put('hot', stock(30)),
      shop.products.put('hot', stock(40)),
    ];
    await shop.release();
    const results = await Promise.all(writing);
    expect(results.slice(1).map(({ value }) => value?.stock)).toEqual([10, 11, 20, 22, 40, 40]);
    expect(await shop.products.get('hot', { fresh: true })).toEqual(stock(40));
  });

  test('beyond maxWaiting writes wait outside: they get their turn, or StoreOverloadedError', async () => {
    const shop = await busyShop({ maxWaiting: 2, queueTimeoutMs: 100 });
    const inside = [shop.products.put('a', LAMP), shop.products.put('b', LAMP)];
    const outside = shop.products.put('c', LAMP);
    await shop.release();
    expect(await Promise.all([...inside, outside])).toHaveLength(3);
    expect(shop.statements.map(({ length }) => length)).toEqual([2, 1]);

    const again = await busyShop({ maxWaiting: 1, queueTimeoutMs: 100 });
    const both = [again.products.put('a', LAMP), again.products.put('b', LAMP)];
    const seen = Promise.allSettled(both);
    await turns();
    again.clock.advance(100);
    for (const result of await seen) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'LOCKSTEP_STORE_OVERLOADED' } });
    }
    await again.release();
  });

  test('a statement that hangs fails its callers at storeTimeoutMs, and the next goes on', async () => {
    const shop = openShop({ collection: { storeTimeoutMs: 100, batch: { maxInFlight: 1 } } });
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', LAMP);
    const seen = expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    await held.reached;
    shop.clock.advance(100);
    await seen;
    expect(await shop.products.put('b', LAMP)).toMatchObject({ cache: 'updated' });
    held.release();
  });
});

describe('coalescing', () => {
  test('blind puts on one key that wait become the last of them', async () => {
    const shop = await busyShop();
    const writing = [1, 2, 3].map((i) => shop.products.put('hot', stock(i)));
    await shop.release();
    const results = await Promise.all(writing);
    expect(shop.statements).toMatchObject([[{ key: 'hot', value: stock(3) }]]);
    expect(results.map(({ coalesced }) => coalesced)).toEqual([true, true, false]);
    expect(new Set(results.map(({ version }) => version)).size).toBe(1);
    expect(results.map(({ value }) => value)).toEqual([stock(3), stock(3), stock(3)]);
  });

  test('coalesce: false writes each, in order', async () => {
    const shop = await busyShop({ coalesce: false });
    const writing = [1, 2, 3].map((i) => shop.products.put('hot', stock(i)));
    await shop.release();
    const results = await Promise.all(writing);
    expect(shop.statements.map((commands) => commands.length)).toEqual([1, 1, 1]);
    expect(results.map(({ value }) => value?.stock)).toEqual([1, 2, 3]);
    expect(await shop.products.get('hot')).toEqual(stock(3));
  });

  test('a merged put that is refused fails its own caller; the earlier one is written', async () => {
    const shop = await busyShop();
    const writing = [shop.products.put('hot', stock(1)), shop.products.put('hot', stock(-1))];
    await shop.release();
    const [good, bad] = await Promise.allSettled(writing);
    expect(good).toMatchObject({ status: 'fulfilled', value: { value: stock(1) } });
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'LOCKSTEP_STORE_REFUSED' } });
    expect(await shop.products.get('hot')).toEqual(stock(1));
  });

  test('a put that goes again after its merged neighbour was refused stays ahead of the key’s next write', async () => {
    const shop = await busyShop();
    const { version } = await shop.products.getVersioned('hot');
    const writing = [
      shop.products.put('hot', stock(1)),
      shop.products.put('hot', stock(-1)),
      shop.products.put('hot', stock(9), { ifVersion: version }),
    ];
    await shop.release();
    const results = await Promise.allSettled(writing);
    expect(results).toMatchObject([
      { value: { value: stock(1) } },
      { reason: { code: 'LOCKSTEP_STORE_REFUSED' } },
      { reason: { code: 'LOCKSTEP_CONFLICT' } },
    ]);
  });

  test.each([
    ['put then delete', ['put', 'delete'], undefined],
    ['delete then put', ['delete', 'put'], stock(7)],
  ] as const)('%s of one key: the later one wins', async (_name, order, expected) => {
    for (const coalesce of [true, false]) {
      const shop = await busyShop({ coalesce });
      const writing = order.map((op) =>
        op === 'put' ? shop.products.put('hot', stock(7)) : shop.products.delete('hot'),
      );
      await shop.release();
      await Promise.all(writing);
      expect(await shop.products.get('hot')).toEqual(expected);
      expect(await shop.products.get('hot', { fresh: true })).toEqual(expected);
    }
  });

  test('conditional writes are never merged', async () => {
    const shop = await busyShop();
    const { version } = await shop.products.getVersioned('hot');
    const writing = [1, 2].map((i) => shop.products.put('hot', stock(i), { ifVersion: version }));
    await shop.release();
    const results = await Promise.allSettled(writing);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(shop.statements).toHaveLength(2);
  });
});

describe('increments that wait are merged, exactly', () => {
  test('into one statement', async () => {
    const shop = await busyShop();
    const writing = Array.from({ length: 50 }, (_, i) => shop.products.increment('hot', 'stock', i));
    await shop.release();
    await Promise.all(writing);
    expect(shop.statements).toMatchObject([[{ kind: 'increment', by: (49 * 50) / 2 }]]);
    expect(await shop.products.get('hot')).toMatchObject({ stock: (49 * 50) / 2 });
  });

  test('one that is refused among many fails its own caller only', async () => {
    const shop = await busyShop();
    const amounts = Array.from({ length: 33 }, (_, i) => (i === 20 ? -1_000_000 : 1));
    const writing = amounts.map((by) => shop.products.increment('hot', 'stock', by));
    await shop.release();
    const results = await Promise.allSettled(writing);
    expect(results.map(({ status }, i) => [i, status]).filter(([, status]) => status === 'rejected')).toEqual(
      [[20, 'rejected']],
    );
    expect(await shop.products.get('hot')).toMatchObject({ stock: 32 });
    expect(await shop.products.get('hot', { fresh: true })).toMatchObject({ stock: 32 });
  });

  test('a connection that broke fails all of them, and none is sent again', async () => {
    const shop = await busyShop();
    const writing = [1, 2, 3].map((by) => shop.products.increment('hot', 'stock', by));
    const seen = Promise.allSettled(writing);
    shop.storePlan.next('write', refuse());
    await shop.release();
    expect((await seen).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await shop.products.get('hot', { fresh: true })).toMatchObject({ stock: 0 });
  });
});
