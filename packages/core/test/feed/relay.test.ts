import { describe, expect, test } from 'vitest';
import { pause, refuse } from '../../src/faults/index.js';
import { memoryCache, memoryDatabase } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, LAMP, openShop, storeOf, turns } from '../support/shop.js';

type Shop = ReturnType<typeof openShop>;

/** Lets the relay work until the feed is empty. */
async function relayed(shop: Shop): Promise<void> {
  for (let i = 0; i < 200; i++) {
    await turns(2);
    if ((await shop.rows.feed.status(['products'])).pending === 0) return;
    shop.clock.advance(50);
  }
  throw new Error('the feed was not drained');
}

/** So many seconds of the clock, one by one. */
async function pass(shop: Pick<Shop, 'clock'>, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await turns();
    shop.clock.advance(1_000);
  }
  await turns();
}

describe('the relay', () => {
  test('G6: a row that somebody else changed is made unreadable', async () => {
    const shop = openShop();
    await shop.products.putMany([
      ['a', LAMP],
      ['b', LAMP],
    ]);
    const events = shop.record('relay');
    const relay = shop.lockstep.startRelay();
    await shop.rows.foreignWrite('a', CHAIR);
    await shop.rows.foreignWrite('b', null);
    await relayed(shop);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(await shop.products.get('b')).toBeUndefined();
    expect(relay.status()).toMatchObject({ running: true, handled: 2, floored: 2, queued: 0 });
    expect(events.reduce((sum, { changes }) => sum + changes, 0)).toBe(2);
    await relay.stop();
    expect(relay.status()).toMatchObject({ running: false });
  });

  test('G5: what could not be put during an outage is made unreadable after it', async () => {
    const shop = openShop({ withQueue: false });
    await shop.products.put('a', LAMP);
    const relay = shop.lockstep.startRelay();
    const errors = shop.record('error');
    shop.cachePlan.always('execute', refuse());
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'deferred' });
    await turns();
    expect(errors).toMatchObject([{ where: 'relay', error: { code: 'LOCKSTEP_CACHE_UNAVAILABLE' } }]);
    expect(await shop.products.get('a')).toEqual(LAMP);
    shop.cachePlan.clear();
    await relayed(shop);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('a cache that takes a part: the rest goes to the queue, and the batch is done', async () => {
    const shop = openShop();
    await shop.products.putMany([
      ['a', LAMP],
      ['b', LAMP],
    ]);
    shop.cachePlan.next('execute', async (call) => {
      const replies = await call.proceed();
      return replies.map((reply, i) => (call.input[i]?.key.endsWith(':b') ? new Error('moved') : reply));
    });
    await shop.rows.foreignWrite('a', CHAIR);
    await shop.rows.foreignWrite('b', CHAIR);
    const relay = shop.lockstep.startRelay();
    await relayed(shop);
    expect(relay.status()).toMatchObject({ handled: 2, queued: 1 });
    expect(await shop.jobs.status()).toMatchObject({ waiting: 1 });
    await relay.stop();
  });

  test('a cache that takes a part, with useQueue: false: the batch stays in the feed until it is taken', async () => {
    const shop = openShop();
    await shop.products.putMany([
      ['a', LAMP],
      ['b', LAMP],
    ]);
    shop.cachePlan.next('execute', async (call) =>
      (await call.proceed()).map((reply, i) => (i === 0 ? new Error('moved') : reply)),
    );
    await shop.rows.foreignWrite('a', CHAIR);
    await shop.rows.foreignWrite('b', CHAIR);
    const relay = shop.lockstep.startRelay({ useQueue: false });
    await relayed(shop);
    expect(await shop.products.getMany(['a', 'b'])).toEqual([CHAIR, CHAIR]);
    expect(await shop.jobs.status()).toMatchObject({ waiting: 0 });
    await relay.stop();
  });

  test('stop finishes the batch under way', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const held = pause('before');
    shop.cachePlan.next('execute', held);
    await shop.rows.foreignWrite('a', CHAIR);
    const relay = shop.lockstep.startRelay();
    await held.reached;
    const stopping = relay.stop();
    held.release();
    await stopping;
    expect(await shop.products.get('a')).toEqual(CHAIR);
  });

  test('what the feed can’t name goes: everything of the source below the version', async () => {
    const shop = openShop();
    const other = shop.lockstep.collection({
      name: 'others',
      store: storeOf(memoryDatabase({ clock: shop.clock }), 'products'),
    });
    await other.put('a', LAMP);
    const { version } = await shop.products.put('old', LAMP);
    let reset: ((source: string, version: number) => Promise<void>) | undefined;
    const { feed } = shop.rows;
    const store = {
      ...shop.rows,
      feed: {
        ...feed,
        consume: async (_handler: unknown, options: { onReset?: typeof reset; signal: AbortSignal }) => {
          reset = options.onReset;
          await new Promise((resolve) => options.signal.addEventListener('abort', resolve));
        },
      } as typeof feed,
    };
    const cache = shop.memory;
    const lockstep = createLockstep({ cache, clock: shop.clock });
    lockstep.collection({ name: 'products', store });
    const relay = lockstep.startRelay({ batchSize: 1 });
    shop.clock.advance(10);
    const newer = await shop.products.put('new', CHAIR);
    await reset?.('products', version + 2);
    expect(newer.version).toBeGreaterThan(version + 2);
    expect(await shop.entry('old')).toMatchObject({ state: 'hole', version: version + 2 });
    expect(await shop.entry('new')).toMatchObject({ state: 'value' });
    expect(await other.getVersioned('a')).toMatchObject({ from: 'cache' });
    await relay.stop();
  });

  test('without a change feed, or with useQueue and no queue, it says so', async () => {
    const empty = createLockstep({ cache: memoryCache() });
    expect(() => empty.startRelay()).toThrow('no collection has a store with a change feed');
    const shop = openShop({ withQueue: false });
    expect(() => shop.lockstep.startRelay({ useQueue: true })).toThrow('relay.useQueue: there is no queue');
    expect(() => shop.lockstep.startRelay({ batchSize: 0 })).toThrow('relay.batchSize');
  });
});

describe('a cache that may have lost acknowledged writes', () => {
  function openShared() {
    let generation = 'first';
    const shop = openShop({
      adapt: (cache) => ({
        ...cache,
        shared: true,
        info: async () => ({ evicts: false, generation, description: 'a server' }),
      }),
    });
    return {
      ...shop,
      /** A server that restarted from a snapshot: as the entry was, under another generation. */
      async restore(
        id: string,
        product: typeof LAMP,
        version: number,
        collection = 'products',
      ): Promise<void> {
        generation = `restarted at ${shop.clock.now()}`;
        const key = `wtc:${collection}:${id}`;
        shop.memory.evict(key);
        const life = { ttlMs: 3_600_000, staleAtMs: 0 };
        const lease = {
          kind: 'lease',
          key,
          token: 't',
          leaseMs: 1_000,
          holeTtlMs: 1_000,
          encoding: 'utf8',
        } as const;
        const fill = {
          kind: 'fill',
          key,
          token: 't',
          version,
          payload: JSON.stringify(product),
          ...life,
        } as const;
        await shop.memory.execute([lease, fill]);
      },
    };
  }

  test('the feed is replayed, and what the cache brought back is made unreadable (G5)', async () => {
    const shop = openShared();
    const generations = shop.record('cacheGeneration');
    const relay = shop.lockstep.startRelay();
    await turns();
    const { version } = await shop.products.put('a', LAMP);
    await shop.products.put('a', CHAIR);
    await shop.restore('a', LAMP, version);
    expect(await shop.products.get('a')).toEqual(LAMP);
    for (let i = 0; i < 5; i++) {
      shop.clock.advance(1_000);
      await turns();
    }
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(generations).toEqual([{ generation: expect.stringContaining('restarted') }]);
    await relay.stop();
  });

  test('each feed is replayed, when the marker is gone, too', async () => {
    const shop = openShared();
    const second = memoryDatabase({ name: 'second', clock: shop.clock, feedGraceMs: 0 });
    const others = shop.lockstep.collection({ name: 'others', store: storeOf(second, 'others') });
    const stale = [];
    for (const collection of [shop.products, others]) {
      stale.push((await collection.put('a', LAMP)).version);
      await collection.put('a', CHAIR);
    }
    await shop.restore('a', LAMP, stale[0] ?? 0);
    await shop.restore('a', LAMP, stale[1] ?? 0, 'others');
    expect([await shop.products.get('a'), await others.get('a')]).toEqual([LAMP, LAMP]);
    const relay = shop.lockstep.startRelay();
    for (let i = 0; i < 5; i++) {
      await turns();
      shop.clock.advance(1_000);
    }
    expect([await shop.products.get('a'), await others.get('a')]).toEqual([CHAIR, CHAIR]);
    await relay.stop();
  });

  test.each([-20, 10, 20])('the relay’s own clock has no part in it: %i min ahead', async (minutes) => {
    const shop = openShared();
    const { clock } = shop;
    const ahead = { ...clock, now: () => clock.now() + minutes * 60_000 };
    const relay = shop.join({ clock: ahead }).lockstep.startRelay();
    const { version } = await shop.products.put('a', LAMP);
    await pass(shop, 40);
    await shop.products.put('a', CHAIR);
    await turns();
    await shop.restore('a', LAMP, version);
    expect(await shop.products.get('a')).toEqual(LAMP);
    await pass(shop, 3);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('with a primary away the others’ changes are dealt with, by a relay that starts then, too (G4)', async () => {
    let away = false;
    const probe = { nowMs: 0 };
    const shop = openShop({
      adapt: (cache) => ({
        ...cache,
        shared: true,
        info: async () => ({
          evicts: false,
          generation: away ? undefined : 'one,two',
          description: 'a cluster',
        }),
        probe: async () =>
          new Map([
            ['1', { ...probe, generation: 'one' }],
            ['2', away ? new Error('away') : { ...probe, generation: 'two' }],
          ]),
      }),
    });
    const first = shop.lockstep.startRelay();
    await shop.products.put('a', LAMP);
    await pass(shop, 2);
    await first.stop();
    away = true;
    await shop.products.get('a');
    await turns();
    const second = shop.join().lockstep.startRelay();
    await pass(shop, 2);
    await shop.rows.foreignWrite('a', CHAIR);
    await pass(shop, 1);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 0 });
    await second.stop();
  });

  test('of many relays one replays', async () => {
    const shop = openShared();
    const told: string[] = [];
    const relays = Array.from({ length: 3 }, () => {
      const { lockstep } = shop.join();
      lockstep.events.on('cacheGeneration', ({ generation }) => void told.push(generation));
      return lockstep.startRelay();
    });
    const { version } = await shop.products.put('a', LAMP);
    await pass(shop, 3);
    expect(told).toEqual([]);
    await shop.restore('a', LAMP, version);
    await pass(shop, 3);
    expect(told).toHaveLength(1);
    await Promise.all(relays.map((relay) => relay.stop()));
  });

  test('a process that is cut off with an old primary hides nothing: the relay deals with what it wrote', async () => {
    const shop = openShared();
    await shop.products.put('a', LAMP);
    const old = memoryCache({ clock: shop.clock });
    const info = async () => ({ evicts: false, generation: 'first', description: 'the old primary' });
    const cutOff = shop.join({ cache: { ...old, shared: true, info } });
    const relay = shop.lockstep.startRelay();
    const oldRelay = cutOff.lockstep.startRelay();
    await pass(shop, 2);
    await shop.restore('a', LAMP, (await shop.products.getVersioned('a')).version);
    await pass(shop, 3);
    await shop.products.get('a');
    await turns();
    // Others' writes, too, which its own relay would take.
    await shop.rows.foreignWrite('b', LAMP);
    expect(await cutOff.products.put('a', CHAIR)).toMatchObject({ cache: 'deferred' });
    await pass(shop, 3);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    expect(oldRelay.status().handled).toBe(0);
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 0 });
    await Promise.all([relay.stop(), oldRelay.stop()]);
  });

  test('a replay that a stop cut short is left to the next relay', async () => {
    const shop = openShared();
    await shop.products.put('warm', LAMP);
    const first = shop.lockstep.startRelay();
    await pass(shop, 40);
    await first.stop();
    const { version } = await shop.products.put('a', LAMP);
    await shop.products.put('a', CHAIR);
    await shop.restore('a', LAMP, version);
    shop.storePlan.always('deliver', refuse());
    const second = shop.lockstep.startRelay();
    await turns();
    await second.stop();
    shop.storePlan.clear();
    expect(await shop.products.get('a')).toEqual(LAMP);
    const third = shop.lockstep.startRelay();
    await turns();
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await third.stop();
  });
});
