import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { hang, refuse } from '../../src/faults/index.js';
import { CHAIR, elapse, LAMP, openShop, turns } from '../support/shop.js';

const KEY = 'wtc:products:a';
const zodProduct = z.object({ name: z.string(), stock: z.number().int() });
const valibotProduct = v.objectAsync({ name: v.string(), stock: v.pipe(v.number(), v.integer()) });

/** Puts a payload into the cache as an older release of the application might have left it. */
async function plant(shop: ReturnType<typeof openShop>, payload: string): Promise<void> {
  const { version } = await shop.products.put('a', LAMP);
  await shop.memory.execute([{ kind: 'refresh', key: KEY, version, payload, ttlMs: 60_000, staleAtMs: 0 }]);
}

describe('what can’t be read is a counted miss that heals', () => {
  test.each([
    ['undecodable', '{"name":', {}],
    ['schema', '{"name":"lamp"}', { schema: zodProduct }],
    ['schema', '{"name":"lamp","stock":1.5}', { schema: valibotProduct }],
  ] as const)('%s: %s', async (reason, payload, collection) => {
    const shop = openShop({ collection });
    await plant(shop, payload);
    const misses = shop.record('miss');
    expect(await shop.products.get('a')).toEqual(LAMP);
    await shop.lockstep.drain();
    expect(misses).toEqual([{ collection: 'products', key: 'a', reason, durationMs: 0 }]);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    expect(shop.storePlan.calls('read')).toBe(1);
  });

  test('a schema that throws is a mismatch, too', async () => {
    const throwing = zodProduct.refine((product) => {
      if (product.stock === 99) throw new Error('a schema’s own mistake');
      return true;
    });
    const shop = openShop({ collection: { schema: throwing } });
    await plant(shop, '{"name":"lamp","stock":99}');
    expect(await shop.products.get('a')).toEqual(LAMP);
  });
});

describe('G5: the cache is away', () => {
  test('reads go to the store’s primary and fill nothing', async () => {
    const shop = openShop();
    await shop.rows.foreignWrite('a', LAMP);
    const misses = shop.record('miss');
    shop.cachePlan.always('read', refuse());
    shop.cachePlan.always('execute', refuse());
    let primary: boolean | undefined;
    shop.storePlan.next('read', async (call) => {
      primary = call.input.options.primary;
      return await call.proceed();
    });
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
    expect(misses).toMatchObject([{ reason: 'unavailable' }]);
    expect(primary).toBe(true);
    expect(await shop.entry('a')).toBeUndefined();
  });

  test('a cache that hangs costs cacheTimeoutMs', async () => {
    const shop = openShop({ lockstep: { cacheTimeoutMs: 40 } });
    await shop.rows.foreignWrite('a', LAMP);
    const held = hang();
    shop.cachePlan.next('read', held);
    const startedAt = shop.clock.monotonic();
    expect(await elapse(shop.clock, shop.products.get('a'), 10)).toEqual(LAMP);
    expect(shop.clock.monotonic() - startedAt).toBe(40);
    held.release();
  });

  test('the breaker opens after `threshold` failures, spares the cache, and closes when it answers', async () => {
    const shop = openShop({ lockstep: { breaker: { threshold: 2, cooldownMs: 1_000 } } });
    await shop.rows.foreignWrite('a', LAMP);
    const events = shop.record('breaker');
    const changes = () =>
      events.map(({ state, cause }) => (cause === undefined ? state : `${state}: ${cause}`));
    const opened = 'open: read: refused by a fault';
    shop.cachePlan.always('read', refuse());
    for (let i = 0; i < 5; i++) expect(await shop.products.get('a')).toEqual(LAMP);
    expect(shop.cachePlan.calls('read')).toBe(2);
    expect(changes()).toEqual([opened]);
    shop.clock.advance(1_000);
    await shop.products.get('a');
    expect(changes().slice(1)).toEqual(['half-open', opened]);
    expect(shop.cachePlan.calls('read')).toBe(3);
    shop.cachePlan.clear();
    shop.clock.advance(1_000);
    await shop.products.get('a');
    await shop.lockstep.drain();
    expect(changes().slice(3)).toEqual(['half-open', 'closed']);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
  });

  test('one failed key among others is a miss of its own', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    await shop.products.put('b', CHAIR);
    shop.cachePlan.next('read', async (call) => {
      const hits = await call.proceed();
      return hits.map((hit, i) => (i === 0 ? new Error('moved') : hit));
    });
    const misses = shop.record('miss');
    expect(await shop.products.getMany(['a', 'b'])).toEqual([LAMP, CHAIR]);
    expect(misses).toEqual([{ collection: 'products', key: 'a', reason: 'unavailable', durationMs: 0 }]);
  });

  test('a write during the outage is not lost to the readers after it', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.cachePlan.always('execute', refuse());
    shop.cachePlan.always('read', refuse());
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'queued' });
    expect(await shop.products.get('a')).toEqual(CHAIR);
    shop.cachePlan.clear();
    const relay = shop.lockstep.startRelay();
    await turns();
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });
});
