import { describe, expect, test } from 'vitest';
import { hang, refuse } from '../../src/faults/index.js';
import type { MemoryTx } from '../../src/memory/index.js';
import { CHAIR, carries, elapse, LAMP, openShop, type Product, turns } from '../support/shop.js';

type Shop = ReturnType<typeof openShop>;

/** Two collections of one table, of one process, both opened at once. */
function openPair(shop: Shop = openShop()) {
  const others = shop.lockstep.collection<Product>({ name: 'others', store: shop.store });
  return { ...shop, others };
}

describe('two collections on one table', () => {
  const WRITES = {
    put: (shop: Shop) => shop.products.put('a', CHAIR),
    increment: (shop: Shop) => shop.products.increment('a', 'stock', 2),
    update: (shop: Shop) => shop.products.update('a', () => CHAIR),
    delete: (shop: Shop) => shop.products.delete('a'),
    write: (shop: Shop) => shop.products.write('a', (tx) => (tx as MemoryTx).set('products', 'a', CHAIR)),
    transaction: (shop: Shop) =>
      shop.lockstep.transaction(async (tx) => await shop.products.put('a', CHAIR, { tx })),
  };

  test.each(Object.entries(WRITES))('G2: %s through one is seen through the other', async (_, write) => {
    const shop = openPair();
    await shop.products.put('a', LAMP);
    await shop.others.get('a');
    await turns();
    expect(await shop.others.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    await write(shop as never);
    const [row] = await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true });
    expect(await shop.others.get('a')).toEqual(row?.value);
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 0 });
  });

  test('G2: through a collection of another process, that was declared later', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const second = shop.join();
    const late = second.lockstep.collection<Product>({ name: 'late', store: shop.rows });
    // The first process does not know of it yet: nothing is cached until it must.
    expect(await late.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
    await turns();
    expect(await late.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
    shop.clock.advance(3_200);
    await late.get('a');
    await turns();
    expect(await late.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'updated' });
    expect(await late.get('a')).toEqual(CHAIR);
  });

  test('a registry that hangs holds a write up for one second', async () => {
    const shop = openPair();
    await shop.products.put('a', LAMP);
    await shop.others.get('a');
    // What is known of it is not believed any more.
    shop.storePlan.always('registry', hang());
    shop.clock.advance(4_000);
    await turns();
    const begunAtMs = shop.clock.monotonic();
    expect(await elapse(shop.clock, shop.products.put('a', CHAIR))).toMatchObject({ cache: 'deferred' });
    expect(shop.clock.monotonic() - begunAtMs).toBeLessThan(1_050);
  });

  test('what can’t be brought in step is not acknowledged: the relay does it (G4)', async () => {
    const shop = openPair();
    await shop.products.put('a', LAMP);
    await shop.others.get('a');
    await turns();
    shop.cachePlan.next(
      'execute',
      async (call) => {
        const replies = await call.proceed();
        return replies.map((reply, i) =>
          call.input[i]?.key.includes(':others:') ? new Error('moved') : reply,
        );
      },
      carries('put'),
    );
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'deferred' });
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 1 });
    const relay = shop.lockstep.startRelay();
    await turns();
    expect(await shop.others.get('a')).toEqual(CHAIR);
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 0 });
    await relay.stop();
  });

  test('a buffered write is seen through the other one once it is flushed, and theirs through it', async () => {
    const shop = openPair(openShop({ collection: { strategy: 'write-behind' } }));
    await shop.others.put('a', LAMP);
    await Promise.all([shop.products.get('a'), shop.others.get('a')]);
    await turns();
    for (const value of [CHAIR, null]) {
      const written = await (value === null ? shop.products.delete('a') : shop.products.put('a', value));
      expect(written).toMatchObject({ store: 'buffered' });
      expect(await shop.products.flush()).toBe(1);
      expect(await shop.others.get('a')).toEqual(value ?? undefined);
      expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 0 });
      await turns();
    }
    await shop.others.put('a', LAMP);
    await shop.products.get('a');
    await turns();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
    shop.clock.advance(1);
    const theirs = { name: 'theirs', stock: 1 };
    expect(await shop.others.put('a', theirs)).toMatchObject({ cache: 'updated' });
    expect(await shop.products.get('a')).toEqual(theirs);
    await shop.products.flush();
    expect(await shop.products.get('a')).toEqual(theirs);
  });

  test('a registry that can’t be read for too long acknowledges nothing; writes succeed', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.clock.advance(3_001);
    shop.storePlan.always('registry', refuse());
    const errors = shop.record('error');
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'deferred' });
    expect(errors[0]).toMatchObject({ where: 'registry' });
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 1 });
    shop.storePlan.clear();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'updated' });
  });

  test('a relay brings collections of other processes in step, and those that come later', async () => {
    const shop = openShop();
    const relay = shop.lockstep.startRelay();
    await turns();
    const second = shop.join();
    const late = second.lockstep.collection<Product>({ name: 'late', store: shop.rows });
    await late.get('a');
    shop.clock.advance(3_200);
    await shop.products.put('a', LAMP);
    await late.get('a');
    await turns();
    expect(await late.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    await shop.rows.foreignWrite('a', CHAIR);
    await elapse(
      shop.clock,
      (async () => {
        while ((await shop.rows.feed.status(['products'])).pending > 0) await turns(1);
      })(),
    );
    expect(await late.get('a')).toEqual(CHAIR);
    await relay.stop();
  });
});
