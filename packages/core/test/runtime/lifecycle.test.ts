import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import { ClosedError, StoreUnavailableError } from '../../src/errors.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryQueue, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, LAMP, openShop, type Product, turns } from '../support/shop.js';

describe('events', () => {
  test('a write says what it did and how long store and cache took', async () => {
    const shop = openShop();
    const writes = shop.record('write');
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', LAMP);
    await held.reached;
    shop.clock.advance(7);
    held.release();
    const { version } = await writing;
    await shop.products.increment('a', 'stock', 1);
    await shop.products.delete('a');
    expect(writes).toMatchObject([
      { collection: 'products', key: 'a', version, op: 'put', cache: 'updated', storeMs: 7, cacheMs: 0 },
      { op: 'increment' },
      { op: 'delete' },
    ]);
  });

  test('a load says how many keys it read and how long it took', async () => {
    const shop = openShop();
    const loads = shop.record('load');
    const held = shop.storePlan.pauseNext('read');
    const reading = shop.products.getMany(['a', 'b']);
    await held.reached;
    shop.clock.advance(3);
    held.release();
    await reading;
    expect(loads).toEqual([{ collection: 'products', keys: 2, durationMs: 3 }]);
  });

  test('each is published on its diagnostics channel, too', async () => {
    const shop = openShop();
    const published: unknown[] = [];
    const listen = (message: unknown): void => void published.push(message);
    subscribe('lockstep:miss', listen);
    try {
      await shop.products.get('a');
    } finally {
      unsubscribe('lockstep:miss', listen);
    }
    expect(published).toEqual([{ collection: 'products', key: 'a', reason: 'absent', durationMs: 0 }]);
  });

  test('a listener can be removed', async () => {
    const shop = openShop();
    let count = 0;
    const remove = shop.lockstep.events.on('miss', () => {
      count += 1;
    });
    await shop.products.get('a');
    remove();
    await shop.products.get('b');
    expect(count).toBe(1);
  });
});

describe('open', () => {
  test('a store that hangs keeps nobody for longer than its time; it is opened once, and then used', async () => {
    const shop = openShop();
    const opened = Promise.withResolvers<void>();
    let opens = 0;
    const open = (): Promise<void> => {
      opens += 1;
      return opened.promise;
    };
    const store = new Proxy(shop.rows, {
      get: (target, name) => (name === 'open' ? open : Reflect.get(target, name)),
    });
    const slow = shop.lockstep.collection({ name: 'slow', store, storeTimeoutMs: 100 });
    const reading = expect(slow.get('a')).rejects.toThrow('the store was not open after 100 ms');
    const writing = expect(slow.put('a', LAMP)).rejects.toMatchObject({
      code: 'LOCKSTEP_STORE_UNAVAILABLE',
      outcome: 'not-committed',
      collection: 'slow',
    });
    await turns();
    shop.clock.advance(100);
    await Promise.all([reading, writing]);
    const again = slow.put('a', LAMP);
    opened.resolve();
    expect(await again).toMatchObject({ cache: 'updated' });
    expect(opens).toBe(1);
  });

  test('a store that could not be opened is opened with the next call', async () => {
    const shop = openShop();
    let down = true;
    const open = async (): Promise<void> => {
      if (down) throw new StoreUnavailableError('down', 'not-committed');
    };
    const store = new Proxy(shop.rows, {
      get: (target, name) => (name === 'open' ? open : Reflect.get(target, name)),
    });
    const products = shop.lockstep.collection({ name: 'late', store });
    await expect(products.put('a', LAMP)).rejects.toThrow('down');
    down = false;
    expect(await products.put('a', LAMP)).toMatchObject({ cache: 'updated' });
  });
});

describe('close', () => {
  test('waits for a write that began before it', async () => {
    const shop = openShop();
    await shop.products.get('open');
    const change = async () => {
      await turns();
      return CHAIR;
    };
    const writing = [shop.products.put('a', LAMP), shop.products.update('b', change)];
    const closing = shop.lockstep.close();
    expect(await Promise.all(writing)).toMatchObject([{ cache: 'updated' }, { cache: 'updated' }]);
    await closing;
    expect(shop.rows.keys()).toEqual(['a', 'b']);
  });

  test('waits for the hand-over of an invalidation', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const held = shop.queuePlan.pauseNext('enqueue');
    shop.cachePlan.always('execute', async (call) => {
      throw call.refusal();
    });
    const writing = shop.products.put('a', CHAIR);
    await held.reached;
    let closed = false;
    const closing = shop.lockstep.close().then(() => {
      closed = true;
    });
    await turns();
    expect(closed).toBe(false);
    held.release();
    expect(await writing).toMatchObject({ cache: 'queued' });
    await closing;
  });

  test('waits no longer than 15 s, and says so', async () => {
    const shop = openShop();
    const errors = shop.record('error');
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', LAMP).catch(() => undefined);
    await held.reached;
    const closing = shop.lockstep.close();
    await turns();
    shop.clock.advance(15_000);
    await closing;
    expect(errors[0]).toMatchObject({ where: 'close' });
    held.release();
    await writing;
  });

  test('stops the relays, and is the same for who calls it twice', async () => {
    const shop = openShop();
    const relay = shop.lockstep.startRelay();
    const closing = shop.lockstep.close();
    expect(shop.lockstep.close()).toBe(closing);
    await closing;
    expect(relay.status().running).toBe(false);
  });

  test('leaves what another Lockstep of the process uses; the last one ends it', async () => {
    const clock = manualClock();
    const [cache, queue] = [memoryCache({ clock }), memoryQueue({ clock })];
    const rows = memoryStore<Product>({ name: 'products', clock, feedGraceMs: 0 });
    const open = () => {
      const lockstep = createLockstep({ cache, queue, clock });
      const products = lockstep.collection({ name: 'products', store: rows });
      return { lockstep, products };
    };
    const [one, two] = [open(), open()];
    const relay = two.lockstep.startRelay();
    await one.products.put('a', LAMP);
    await one.lockstep.close();
    expect(await two.products.get('a')).toEqual(LAMP);
    await rows.foreignWrite('a', CHAIR);
    for (let tries = 0; relay.status().handled === 0 && tries < 100; tries++) {
      clock.advance(50);
      await turns(2);
    }
    expect(await two.products.get('a')).toEqual(CHAIR);
    await two.lockstep.close();
    await expect(cache.read(['k'], 'utf8')).rejects.toBeInstanceOf(ClosedError);
    await expect(rows.read(['a'], { timeoutMs: 1_000, primary: true })).rejects.toBeInstanceOf(ClosedError);
    await expect(queue.enqueue([])).rejects.toBeInstanceOf(ClosedError);
    const consuming = rows.feed.consume(async () => undefined, {
      signal: new AbortController().signal,
      sources: ['products'],
    });
    await expect(consuming).rejects.toBeInstanceOf(ClosedError);
  });

  test('a store that was closed serves, and relays for, the next Lockstep that uses it', async () => {
    const clock = manualClock();
    const rows = memoryStore<Product>({ name: 'products', clock, feedGraceMs: 0 });
    for (const [name, stock] of Object.entries({ first: 1, second: 2, third: 3 })) {
      const lockstep = createLockstep({ cache: memoryCache({ clock }), clock });
      const products = lockstep.collection({ name: 'products', store: rows });
      const relay = lockstep.startRelay();
      const errors: unknown[] = [];
      lockstep.events.on('error', (error) => errors.push(error));
      await products.put('a', { name, stock: 0 });
      await rows.foreignWrite('a', { name, stock });
      for (let tries = 0; relay.status().handled === 0 && tries < 100; tries++) {
        clock.advance(50);
        await turns(2);
      }
      expect(await products.get('a')).toEqual({ name, stock });
      expect(errors).toEqual([]);
      await lockstep.close();
    }
  });

  test('calls after it reject with ClosedError', async () => {
    const shop = openShop();
    const { lockstep, products } = shop;
    const through = lockstep.through({
      namespace: 'n',
      id: '1',
      reader: async () => 1,
      writer: async () => 1,
    });
    await products.put('a', LAMP);
    await lockstep.close();
    const calls: (() => Promise<unknown>)[] = [
      () => products.get('a'),
      () => products.getVersioned('a'),
      () => products.getMany(['a']),
      () => products.refresh('a'),
      () => products.put('a', LAMP),
      () => products.update('a', () => LAMP),
      () => products.increment('a', 'stock', 1),
      () => products.delete('a'),
      () => products.invalidate('a'),
      () => products.invalidateMany(['a']),
      () => products.flush(),
      () => products.write('a', async () => undefined),
      () => lockstep.transaction(async () => undefined),
      () => lockstep.handleJob({ kind: 'invalidate', key: 'k', version: 1 }),
      () => through.read(),
      () => through.write(1),
      () => through.invalidate(),
    ];
    for (const call of calls) {
      const error = await call().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(ClosedError);
      expect(error).toMatchObject({ code: 'LOCKSTEP_CLOSED' });
    }
    await expect(products.putMany([['a', LAMP]])).rejects.toMatchObject({
      cause: { code: 'LOCKSTEP_CLOSED' },
    });
    expect(() => lockstep.collection({ name: 'x', store: shop.rows })).toThrow(ClosedError);
    expect(() => lockstep.startRelay()).toThrow(ClosedError);
    expect(() => lockstep.through({ namespace: 'n', id: '1' })).toThrow(ClosedError);
  });

  test('`await using` closes', async () => {
    const cache = memoryCache();
    {
      await using lockstep = createLockstep({ cache });
      await lockstep.drain();
    }
    await expect(cache.read(['k'], 'utf8')).rejects.toBeInstanceOf(ClosedError);
  });
});
