import { describe, expect, test } from 'vitest';
import type { CacheAdapter, UnflushedIndex } from '../../src/contracts/cache.js';
import type { BurstOptions, CollectionOptions } from '../../src/contracts/options.js';
import { CacheUnavailableError, StoreRefusedError } from '../../src/errors.js';
import { applyLate, delay, hang, pause, refuse } from '../../src/faults/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { callbackStore } from '../../src/stores/callback-store.js';
import {
  CHAIR,
  carries,
  elapse,
  LAMP,
  openShop,
  type Product,
  type ShopOptions,
  storeOf,
  turns,
} from '../support/shop.js';

const SKEW_MS = 250;

/** A shop whose writes are all buffered, with a row that the cache holds. */
async function openBehind(options: ShopOptions = {}) {
  const shop = openShop({
    ...options,
    collection: { strategy: 'write-behind', ...options.collection },
  });
  const { products } = openShopPlain(shop);
  await products.put('a', LAMP);
  await shop.products.get('a');
  return shop;
}

/** The same shop as a process that writes through. */
function openShopPlain(shop: ReturnType<typeof openShop>) {
  const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock, random: () => 0.5 });
  return { lockstep, products: lockstep.collection({ name: 'products', store: shop.rows }) };
}

const stock = (value: number): Product => ({ name: 'hot', stock: value });
const stored = async (shop: ReturnType<typeof openShop>, id: string) =>
  (await shop.rows.read([id], { timeoutMs: 1_000, primary: true }))[0];

describe('write-behind', () => {
  test('acknowledges before the store has it, and every process reads it', async () => {
    const shop = await openBehind();
    const written = await shop.products.put('a', CHAIR);
    expect(written).toMatchObject({ value: CHAIR, cache: 'updated', store: 'buffered', coalesced: false });
    expect(written.version % 2).toBe(1);
    expect(await shop.join().products.getVersioned('a')).toMatchObject({
      value: CHAIR,
      version: written.version,
    });
    expect((await stored(shop, 'a'))?.value).toEqual(LAMP);
  });

  test('what the store can tell that it would refuse is refused before it is acknowledged', async () => {
    const shop = openShop();
    const rows: typeof shop.rows = {
      ...shop.rows,
      check(key, { stock }) {
        if (stock < 0) throw new StoreRefusedError('never below nothing', { key });
      },
    };
    const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock });
    const products = lockstep.collection({ name: 'products', store: rows, strategy: 'write-behind' });
    await products.put('a', LAMP);
    await products.get('a');
    await expect(products.put('a', stock(-1))).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_REFUSED',
      key: 'a',
    });
    expect(await products.get('a')).toEqual(LAMP);
    expect(await products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
  });

  test('the flush brings it into the store with the version that the buffer gave it', async () => {
    const shop = await openBehind();
    const flushes = shop.record('flush');
    const { version } = await shop.products.put('a', CHAIR);
    expect(await shop.entry('a')).toMatchObject({ version, unflushed: true });
    expect(await shop.products.flush()).toBe(1);
    expect(await stored(shop, 'a')).toMatchObject({ value: CHAIR, version });
    expect((await shop.entry('a'))?.unflushed).toBeFalsy();
    expect(flushes).toEqual([{ collection: 'products', key: 'a', version, outcome: 'stored' }]);
    expect(await shop.products.flush()).toBe(0);
  });

  test('an entry that is not flushed yet does not expire', async () => {
    const shop = await openBehind({ collection: { ttlMs: 1_000 } });
    const { version } = await shop.products.put('a', CHAIR);
    shop.clock.advance(3_600_000);
    expect(await shop.join().products.getVersioned('a')).toMatchObject({ value: CHAIR, version });
  });

  test('a deletion is buffered, too, and leaves a tombstone that older writes do not pass', async () => {
    const shop = await openBehind();
    const { version } = await shop.products.delete('a');
    expect(await shop.products.get('a')).toBeUndefined();
    await shop.products.flush();
    expect(await stored(shop, 'a')).toBeUndefined();
    const late = { kind: 'flush', key: 'a', value: CHAIR, version: version - 2 } as const;
    expect(await shop.rows.write([late], { timeoutMs: 1_000 })).toEqual([{ kind: 'superseded', version }]);
  });

  test('a deletion past the buffer takes away what is buffered of a row that the store does not have', async () => {
    const shop = await openBehind();
    await shop.products.delete('a');
    await shop.products.flush();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
    const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock, random: () => 0.5 });
    const burst = { keyRatePerSecond: 1_000_000 };
    const others = lockstep.collection({ name: 'products', store: shop.rows, burst });
    expect(await others.delete('a')).toMatchObject({ store: 'committed' });
    await shop.products.flush();
    expect(await stored(shop, 'a')).toBeUndefined();
    expect(await others.get('a')).toBeUndefined();
  });

  test('what the cache does not hold is loaded first', async () => {
    const shop = await openBehind();
    shop.memory.clear();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
  });

  test('a row that does not exist is written to the store', async () => {
    const shop = await openBehind();
    const refused = shop.record('bufferRefused');
    expect(await shop.products.put('new', LAMP)).toMatchObject({ store: 'committed', cache: 'updated' });
    expect(refused).toEqual([{ collection: 'products', key: 'new', reason: 'unfit' }]);
    expect(await shop.products.put('new', CHAIR)).toMatchObject({ store: 'buffered' });
  });

  test("a caller's puts and deletes of one key keep their order", async () => {
    const shop = await openBehind();
    const writes = [
      shop.products.put('a', stock(1)),
      shop.products.delete('a'),
      shop.products.put('a', stock(2)),
      shop.products.delete('a'),
      shop.products.put('a', stock(3)),
    ];
    await Promise.all(writes);
    await shop.products.flush();
    expect((await stored(shop, 'a'))?.value).toEqual(stock(3));
  });

  test('writes of one key that wait become the last of them', async () => {
    const shop = await openBehind();
    let commands = 0;
    shop.cachePlan.always('execute', async (call) => {
      commands += call.input.filter(({ kind }) => kind === 'buffer').length;
      return await call.proceed();
    });
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => shop.products.put('a', stock(i))),
    );
    expect(commands).toBeLessThan(5);
    expect(results.filter(({ coalesced }) => !coalesced)).toHaveLength(commands);
    expect(await shop.products.get('a')).toEqual(stock(99));
  });

  test('more writes than one batch takes travel in two at once', async () => {
    const shop = await openBehind();
    const ids = Array.from({ length: 600 }, (_, i) => `k${i}`);
    await openShopPlain(shop).products.putMany(ids.map((id) => [id, LAMP] as const));
    const held = pause('before');
    const batches: number[] = [];
    shop.cachePlan.always('execute', async (call) => {
      const buffered = call.input.filter(({ kind }) => kind === 'buffer').length;
      if (buffered === 0) return await call.proceed();
      batches.push(buffered);
      return await held(call);
    });
    const writing = shop.products.putMany(ids.map((id) => [id, CHAIR] as const));
    await held.reached;
    await turns();
    expect(batches).toEqual([512, 88]);
    held.release();
    expect((await writing).map(({ store }) => store)).toEqual(ids.map(() => 'buffered'));
  });

  test('a value that is too large goes to the store', async () => {
    const shop = await openBehind({ collection: { maxPayloadBytes: 64 } });
    const large = { name: 'x'.repeat(100), stock: 1 };
    expect(await shop.products.put('a', large)).toMatchObject({ store: 'committed' });
  });
});

describe('the buffer opens', () => {
  test('when statements take too long, and closes once the store has been fast for a while', async () => {
    const shop = openShop({ collection: { burst: { storeLatencyMs: 50, quietMs: 1_000 } } });
    const states = shop.record('buffer');
    await shop.products.put('a', LAMP);
    shop.storePlan.always('write', delay(200));
    await elapse(shop.clock, shop.products.put('a', stock(1)));
    await elapse(shop.clock, shop.products.put('a', stock(2)));
    expect(states).toEqual([{ collection: 'products', state: 'buffering' }]);
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });

    shop.storePlan.clear();
    await elapse(shop.clock, shop.lockstep.drain());
    shop.clock.advance(1_500);
    await turns();
    await elapse(shop.clock, shop.products.put('a', stock(3)));
    await elapse(shop.clock, shop.lockstep.drain());
    await turns();
    expect(states.map(({ state }) => state)).toEqual(['buffering', 'draining', 'synchronous']);
    expect(await shop.products.put('a', stock(4))).toMatchObject({ store: 'committed' });
    expect((await stored(shop, 'a'))?.value).toEqual(stock(4));
  });

  test('while a statement hangs', async () => {
    const shop = openShop({ collection: { burst: { storeLatencyMs: 50 } } });
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const hanging = shop.products.put('b', LAMP);
    await held.reached;
    shop.clock.advance(60);
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
    held.release();
    await hanging;
  });

  test('when too many writes wait', async () => {
    const shop = openShop({ collection: { burst: { waitingWrites: 5 }, batch: { maxInFlight: 1 } } });
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const first = shop.products.put('b', LAMP);
    await held.reached;
    const waiting = Array.from({ length: 5 }, (_, i) => shop.products.put(`k${i}`, LAMP));
    await turns();
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'buffered' });
    held.release();
    await Promise.all([first, ...waiting]);
  });

  test('for a key that is written too often, and for no other', async () => {
    const shop = openShop({ collection: { burst: { keyRatePerSecond: 10 } } });
    await shop.products.put('cool', LAMP);
    for (let i = 0; i < 11; i++) await shop.products.put('hot', stock(i));
    expect(await shop.products.put('hot', CHAIR)).toMatchObject({ store: 'buffered' });
    expect(await shop.products.put('cool', CHAIR)).toMatchObject({ store: 'committed' });
    shop.clock.advance(2_500);
    expect(await shop.products.put('hot', LAMP)).toMatchObject({ store: 'committed' });
    expect((await stored(shop, 'hot'))?.value).toEqual(LAMP);
  });
});

describe('a buffer that can not take a write', () => {
  const reasons: [string, BurstOptions, (shop: Awaited<ReturnType<typeof openBehind>>) => void][] = [
    ['full', { maxUnflushed: 1 }, () => undefined],
    ['away', {}, ({ cachePlan }) => cachePlan.always('index', refuse())],
  ];
  test.each(reasons)('that is %s leaves it to the store, and says so', async (reason, burst, breakIt) => {
    const shop = await openBehind({ collection: { burst } });
    await openShopPlain(shop).products.put('b', LAMP);
    if (reason === 'full') await shop.products.put('a', CHAIR);
    const refused = shop.record('bufferRefused');
    breakIt(shop);
    expect(await elapse(shop.clock, shop.products.put('b', CHAIR))).toMatchObject({ store: 'committed' });
    expect(refused.map((event) => event.reason)).toEqual([reason]);
    expect((await stored(shop, 'b'))?.value).toEqual(CHAIR);
  });

  test('because the cache may evict it leaves it to the store', async () => {
    const evicting = (cache: CacheAdapter): CacheAdapter => ({
      ...cache,
      info: async () => ({ ...(await cache.info()), evictsPersistent: true }),
    });
    const shop = await openBehind({ adapt: evicting });
    const refused = shop.record('bufferRefused');
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'committed' });
    expect(refused).toMatchObject([{ reason: 'evicts' }]);
  });

  test('because the cache has no append-only file it leaves to the store what is to be on its disk', async () => {
    const unwritten = (cache: CacheAdapter): CacheAdapter => ({
      ...cache,
      unflushed: { ...(cache.unflushed as UnflushedIndex), durable: true },
      info: async () => ({ ...(await cache.info()), appendsToFile: false }),
    });
    const shop = await openBehind({ adapt: unwritten, collection: { burst: { durability: 'disk' } } });
    const refused = shop.record('bufferRefused');
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ store: 'committed' });
    expect(refused).toMatchObject([{ reason: 'undurable' }]);
  });

  test('a command that arrives after its caller has given up is not applied', async () => {
    const shop = await openBehind({ collection: { burst: { ackTimeoutMs: 100 } } });
    const late = applyLate();
    shop.cachePlan.next('execute', late, carries('buffer'));
    const first = await elapse(shop.clock, shop.products.put('a', stock(1)));
    expect(first).toMatchObject({ store: 'committed' });
    await openShopPlain(shop).products.put('a', stock(2));
    late.release();
    await shop.cachePlan.settled();
    expect(await shop.join().products.get('a')).toEqual(stock(2));
  });

  test('and whose reply is lost is waited out before the store is asked', async () => {
    const shop = await openBehind({ collection: { burst: { ackTimeoutMs: 100 } } });
    shop.cachePlan.next('execute', hang(), carries('buffer'));
    const startedAt = shop.clock.monotonic();
    await elapse(shop.clock, shop.products.put('a', CHAIR));
    expect(shop.clock.monotonic() - startedAt).toBeGreaterThan(100 + SKEW_MS);
  });
});

describe('what reads before it writes', () => {
  test.each([
    [
      'update',
      (products: ReturnType<typeof openShop>['products']) =>
        products.update('a', (row) => ({ name: 'hot', stock: (row?.stock ?? 0) + 1 })),
    ],
    ['increment', (products: ReturnType<typeof openShop>['products']) => products.increment('a', 'stock', 1)],
  ])('%s sees what is buffered', async (_, write) => {
    const shop = await openBehind();
    await shop.products.put('a', stock(41));
    const { value } = await write(shop.products);
    expect(value?.stock).toBe(42);
    expect((await stored(shop, 'a'))?.value.stock).toBe(42);
    expect(await shop.products.get('a')).toMatchObject({ stock: 42 });
  });

  test('increments beside buffered writes of other processes lose none of them', async () => {
    const shop = await openBehind();
    const other = shop.join();
    await shop.products.put('a', stock(0));
    const increments = Array.from({ length: 20 }, () => shop.products.increment('a', 'stock', 1));
    const puts = Array.from({ length: 5 }, (_, i) => other.products.put('a', stock(1_000 * (i + 1))));
    const results = await Promise.all([...increments, ...puts]);
    await shop.products.flush();
    const newest = results.reduce((one, two) => (two.version > one.version ? two : one));
    expect(await stored(shop, 'a')).toMatchObject({ value: newest.value, version: newest.version });
  });

  test('the own SQL of write() sees what is buffered', async () => {
    const shop = await openBehind();
    await shop.products.put('a', stock(5));
    const { returned } = await shop.products.write('a', async () => (await stored(shop, 'a'))?.value);
    expect(returned).toEqual(stock(5));
  });

  test('is refused while the cache is away, with the store untouched', async () => {
    const shop = await openBehind();
    shop.cachePlan.always('execute', refuse());
    await expect(shop.products.increment('a', 'stock', 1)).rejects.toMatchObject({
      code: 'LOCKSTEP_CACHE_UNAVAILABLE',
    });
    expect((await stored(shop, 'a'))?.value).toEqual(LAMP);
  });

  test('a deletion past the buffer is one of them: it is refused, too', async () => {
    const shop = await openBehind();
    shop.cachePlan.always('execute', refuse());
    shop.cachePlan.always('index', refuse());
    await expect(elapse(shop.clock, shop.products.delete('a'))).rejects.toMatchObject({
      code: 'LOCKSTEP_CACHE_UNAVAILABLE',
    });
    expect((await stored(shop, 'a'))?.value).toEqual(LAMP);
  });

  test('a fresh read and a read inside a transaction see it', async () => {
    const shop = await openBehind();
    await shop.products.put('a', CHAIR);
    expect(await shop.products.get('a', { fresh: true })).toEqual(CHAIR);
    await shop.products.put('a', LAMP);
    const inside = await shop.lockstep.transaction((tx) => shop.products.get('a', { tx }));
    expect(inside).toEqual(LAMP);
  });
});

describe('the order of buffered, synchronous and foreign writes', () => {
  test('a synchronous write is numbered above a buffered one that it saw', async () => {
    const shop = await openBehind();
    const { version } = await shop.products.put('a', CHAIR);
    const process = shop.join();
    const later = await process.lockstep.transaction((tx) => process.products.put('a', stock(1), { tx }));
    expect(later.version).toBeGreaterThan(version);
    expect(await shop.products.get('a')).toEqual(stock(1));
  });

  test('G9: a buffered write that a newer foreign one came after says so, with both versions', async () => {
    const shop = await openBehind();
    const { version } = await shop.products.put('a', CHAIR);
    const [foreign] = await shop.rows.write([{ kind: 'put', key: 'a', value: stock(9), above: version }], {
      timeoutMs: 1_000,
    });
    const flushes = shop.record('flush');
    await elapse(shop.clock, shop.products.flush());
    const by = foreign?.kind === 'written' ? foreign.version : 0;
    expect(flushes).toEqual([{ collection: 'products', key: 'a', version, outcome: 'superseded', by }]);
    expect(await shop.products.get('a')).toEqual(stock(9));
  });

  test('a buffered write does not overtake one of its key that waits outside a full queue', async () => {
    const batch = { maxInFlight: 1, maxRows: 1, maxWaiting: 1 };
    const shop = openShop({ collection: { batch, burst: { waitingWrites: 3 } } });
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const first = shop.products.put('b', LAMP);
    await held.reached;
    const waiting = [
      shop.products.put('c', LAMP),
      shop.products.put('a', stock(1)),
      shop.products.put('d', LAMP),
    ];
    const last = shop.products.put('a', stock(2));
    await turns();
    held.release();
    await Promise.all([first, ...waiting, last]);
    await elapse(shop.clock, shop.products.flush());
    expect(await shop.products.get('a')).toEqual(stock(2));
    expect((await stored(shop, 'a'))?.value).toEqual(stock(2));
  });

  test('a write that could not ask the cache is stamped ahead, and waits out the clocks', async () => {
    const shop = await openBehind();
    shop.cachePlan.always('execute', refuse());
    shop.cachePlan.always('index', refuse());
    shop.queuePlan.always('enqueue', refuse());
    const startedAt = shop.clock.monotonic();
    const clockUs = shop.clock.now() * 1_000;
    const written = await elapse(shop.clock, shop.products.put('a', CHAIR));
    expect(written).toMatchObject({ store: 'committed', cache: 'deferred' });
    expect(written.version).toBeGreaterThanOrEqual(clockUs + SKEW_MS * 1_000);
    expect(shop.clock.monotonic() - startedAt).toBeGreaterThanOrEqual(SKEW_MS);
  });
});

describe('flushing', () => {
  test('a job of the queue flushes; what it was lost for, the sweep of any relay', async () => {
    const shop = await openBehind();
    await shop.products.put('a', CHAIR);
    await shop.lockstep.drain();
    expect(await shop.jobs.status()).toMatchObject({ waiting: 1 });
    const worker = shop.join();
    const handled: unknown[] = [];
    const consumer = await shop.jobs.consume(async (job) => {
      await worker.lockstep.handleJob(job);
      handled.push(job);
    });
    await elapse(shop.clock, turns());
    await consumer.close();
    expect(handled).toEqual([{ kind: 'flush', collection: 'products', key: 'a' }]);
    expect((await stored(shop, 'a'))?.value).toEqual(CHAIR);

    shop.queuePlan.always('enqueue', refuse());
    shop.storePlan.next('write', refuse());
    await shop.products.put('a', LAMP);
    await turns();
    const relay = worker.lockstep.startRelay();
    shop.clock.advance(5_000);
    await elapse(shop.clock, turns(60));
    expect((await stored(shop, 'a'))?.value).toEqual(LAMP);
    await relay.stop();
  });

  test('the entry becomes the row that the store made of it', async () => {
    const shop = await openBehind();
    const rounding = {
      ...shop.rows,
      write: (async (commands, call) =>
        await shop.rows.write(
          commands.map((command) =>
            command.kind === 'flush' && command.value !== null
              ? { ...command, value: { ...command.value, stock: Math.round(command.value.stock) } }
              : command,
          ),
          call,
        )) as typeof shop.rows.write,
    };
    const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock, random: () => 0.5 });
    const products = lockstep.collection({ name: 'products', store: rounding, strategy: 'write-behind' });
    const { version } = await products.put('a', stock(7.4));
    expect(await products.get('a')).toEqual(stock(7.4));
    await products.flush();
    expect(await products.getVersioned('a')).toEqual({ value: stock(7), version, from: 'cache' });
    expect(await shop.entry('a')).not.toHaveProperty('unflushed');
    // Another has stored it, and ended before he could tell.
    const second = await products.put('a', stock(8.4));
    const flush = { kind: 'flush', key: 'a', value: stock(8), version: second.version } as const;
    await shop.rows.write([flush], { timeoutMs: 1_000 });
    await products.flush();
    expect(await products.get('a')).toEqual(stock(8));
  });

  test('what the store refuses for good goes to the dead letters with its value', async () => {
    const shop = await openBehind({
      validate: (row: Product) => {
        if (row.stock < 0) throw new Error('stock must not be negative');
      },
    });
    const refusals = shop.record('flushRefused');
    const { version } = await shop.products.put('a', stock(-1));
    const worker = shop.join();
    worker.lockstep.events.on('flushRefused', (event) => void refusals.push(event));
    const consumer = await shop.jobs.consume((job) => worker.lockstep.handleJob(job));
    await elapse(shop.clock, turns(60));
    await shop.products.flush();
    await elapse(shop.clock, turns(60));
    await consumer.close();
    const refused = { version, payload: JSON.stringify(stock(-1)), encoding: 'utf8' };
    expect(await shop.jobs.deadLetters.list()).toMatchObject([
      { job: { kind: 'flush', collection: 'products', key: 'a', refused } },
    ]);
    expect(refusals).toMatchObject([{ collection: 'products', key: 'a', version, refused }]);
    expect(await shop.products.get('a')).toEqual(LAMP);
  });

  test('a refused write stays where it is while the queue does not take it', async () => {
    const shop = await openBehind({
      validate: (row: Product) => {
        if (row.stock < 0) throw new Error('stock must not be negative');
      },
    });
    const refusals = shop.record('flushRefused');
    shop.queuePlan.always('enqueue', refuse());
    const { version } = await shop.products.put('a', stock(-1));
    await expect(elapse(shop.clock, shop.products.flush())).rejects.toMatchObject({
      code: 'LOCKSTEP_QUEUE_UNAVAILABLE',
      key: 'a',
    });
    expect(await shop.entry('a')).toMatchObject({ version, unflushed: true });
    expect(refusals).toEqual([]);
    shop.queuePlan.clear();
    shop.clock.advance(5_000);
    await elapse(shop.clock, shop.products.flush());
    await elapse(shop.clock, shop.lockstep.drain());
    expect(refusals).toMatchObject([{ key: 'a', version }]);
    expect((await shop.entry('a'))?.unflushed).toBeFalsy();
  });

  test('without a queue an event has the value', async () => {
    const shop = await openBehind({
      withQueue: false,
      validate: (row: Product) => {
        if (row.stock < 0) throw new Error('stock must not be negative');
      },
    });
    const refusals = shop.record('flushRefused');
    const { version } = await shop.products.put('a', stock(-1));
    await shop.lockstep.drain();
    expect(refusals).toMatchObject([{ key: 'a', version, refused: { payload: JSON.stringify(stock(-1)) } }]);
    expect(await shop.products.get('a')).toEqual(LAMP);
  });

  test('a refusal that several flushes meet at once is told once', async () => {
    const shop = await openBehind({
      withQueue: false,
      validate: (row: Product) => {
        if (row.stock < 0) throw new Error('stock must not be negative');
      },
    });
    const refusals = shop.record('flushRefused');
    const held = shop.storePlan.pauseNext('write');
    await shop.products.put('a', stock(-1));
    await held.reached;
    const flushing = shop.products.flush();
    await turns();
    held.release();
    await elapse(shop.clock, flushing);
    await shop.lockstep.drain();
    expect(refusals).toHaveLength(1);
  });

  test('the jobs of buffered writes are no hand-overs: the cache took the writes', async () => {
    const shop = await openBehind();
    const handovers = shop.record('handover');
    await shop.products.put('a', CHAIR);
    await shop.lockstep.drain();
    expect(await shop.jobs.status()).toMatchObject({ waiting: 1 });
    expect(handovers).toEqual([]);
  });

  test('close flushes what this process has buffered', async () => {
    const shop = await openBehind();
    await shop.products.put('a', CHAIR);
    await shop.lockstep.close();
    const [row] = await storeOf(shop.database, 'products').read(['a'], { timeoutMs: 1_000, primary: true });
    expect(row?.value).toEqual(CHAIR);
  });

  describe('an index that was lost is rebuilt from the entries', () => {
    /** A buffered write on its way to the store, of which the index knows nothing. */
    async function openWithoutIndex(options: ShopOptions = {}) {
      const shop = await openBehind(options);
      shop.queuePlan.always('enqueue', refuse());
      const held = shop.storePlan.pauseNext('write');
      await shop.products.put('a', CHAIR);
      await held.reached;
      const index = shop.memory.unflushed as UnflushedIndex;
      const name = 'unflushed:wtc:products:';
      await index.remove(name, await index.list(name, 0, 10));
      expect(await index.size(name)).toBe(0);
      const { lockstep } = shop.join();
      const errors: unknown[] = [];
      lockstep.events.on('error', (event) => void errors.push(event));
      return { ...shop, errors, held, lockstep, size: () => index.size(name) };
    }

    test('when a relay starts, whose cache has to be connected first', async () => {
      let opened = false;
      const shop = await openWithoutIndex({
        adapt: (cache) => ({
          ...cache,
          async open() {
            opened = true;
          },
          scan(prefix, encoding) {
            if (!opened) throw new CacheUnavailableError('not connected');
            return cache.scan(prefix, encoding);
          },
        }),
      });
      opened = false;
      const relay = shop.lockstep.startRelay();
      await turns(40);
      expect(await shop.size()).toBe(1);
      expect(shop.errors).toEqual([]);
      shop.held.release();
      await relay.stop();
    });

    test('soon again when that failed', async () => {
      const shop = await openWithoutIndex();
      shop.cachePlan.next('scan', refuse());
      const relay = shop.lockstep.startRelay();
      await turns(40);
      expect(await shop.size()).toBe(0);
      expect(shop.errors).toMatchObject([{ where: 'sweep' }]);
      shop.clock.advance(1_000);
      await turns(40);
      expect(await shop.size()).toBe(1);
      shop.held.release();
      await relay.stop();
    });
  });
});

describe('options', () => {
  const cache = memoryCache();
  const { unflushed: _, ...without } = cache;
  const rows = openShop().rows;
  const cases: [Partial<CollectionOptions<Product>>, string, CacheAdapter?][] = [
    [{ burst: {}, consistency: 'strict' }, 'burst: acknowledges before the store has it'],
    [{ strategy: 'write-behind', consistency: 'strict' }, 'strategy: acknowledges before'],
    [{ burst: {}, strategy: 'cache-aside' }, 'cache-aside'],
    [{ burst: {}, batch: { coalesce: false } }, 'batch.coalesce'],
    [{ burst: {} }, 'needs a cache that keeps', without as CacheAdapter],
    [{ burst: { latency: 5 } as never }, 'burst.latency: unknown option'],
    [{ burst: { storeLatencyMs: 0 } }, 'burst.storeLatencyMs'],
    [{ burst: { waitingWrites: 1.5 } }, 'burst.waitingWrites'],
    [{ burst: { keyRatePerSecond: -1 } }, 'burst.keyRatePerSecond'],
    [{ burst: { maxClockSkewMs: Number.NaN } }, 'burst.maxClockSkewMs'],
    [{ burst: { durability: 'disc' as never } }, 'burst.durability'],
    [{ burst: { durability: 'disk' } }, 'appendfsync'],
    [{ burst: true as never }, 'burst: must be an object'],
    [{ burst: null as never }, 'burst: must be an object'],
    [
      { burst: {}, store: callbackStore({ read: async () => LAMP, write: async () => undefined }) as never },
      'needs a store that takes buffered writes',
    ],
  ];
  test.each(cases)('%o: %s', (options, message, other) => {
    const lockstep = createLockstep({ cache: other ?? cache });
    expect(() => lockstep.collection({ name: 'products', store: rows, ...options })).toThrow(message);
  });
});
