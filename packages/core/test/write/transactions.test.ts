import { describe, expect, test } from 'vitest';
import { before, type CacheCalls, faultPlan, faultyCache, refuse } from '../../src/faults/index.js';
import { type MemoryTx, memoryCache, memoryDatabase } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, LAMP, openShop, type Product, storeOf } from '../support/shop.js';

function openTwoTables() {
  const database = memoryDatabase({ feedGraceMs: 0 });
  const cachePlan = faultPlan<CacheCalls>();
  const lockstep = createLockstep({ cache: faultyCache(memoryCache(), cachePlan) });
  const products = lockstep.collection({ name: 'products', store: storeOf(database, 'products') });
  const stores = lockstep.collection({ name: 'stores', store: storeOf(database, 'stores') });
  return { cachePlan, database, lockstep, products, stores };
}

describe('write(id, body)', () => {
  test('runs the caller’s statements and puts the row into the cache', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const store = storeOf(shop.database, 'products');
    const { products } = {
      products: createLockstep({ cache: memoryCache(), prefix: 'other' }).collection({ name: 'p', store }),
    };
    const result = await products.write('a', async (tx) => {
      await tx.set('products', 'a', CHAIR);
      return 'done';
    });
    expect(result).toMatchObject({ value: CHAIR, cache: 'updated', returned: 'done' });
    expect(await products.getVersioned('a')).toEqual({
      value: CHAIR,
      version: result.version,
      from: 'cache',
    });
  });

  test('a row that the body deleted is absent, with a version', async () => {
    const { products } = openTwoTables();
    await products.put('a', LAMP);
    const result = await products.write('a', (tx) => tx.delete('products', 'a'));
    expect(result).toMatchObject({ value: null, cache: 'updated', returned: true });
    expect(result.version).toBeGreaterThan(0);
    expect(await products.getVersioned('a')).toEqual({ value: null, version: result.version, from: 'cache' });
  });

  test('rows of other collections that the body changed are made unreadable', async () => {
    const { products, stores } = openTwoTables();
    await stores.put('s', LAMP);
    await products.write('a', async (tx) => {
      await tx.set('products', 'a', LAMP);
      await tx.set('stores', 's', CHAIR);
    });
    expect(await stores.getVersioned('s')).toMatchObject({ value: CHAIR, from: 'store' });
  });

  test('G1: a throw rolls back and leaves the cache alone', async () => {
    const { products } = openTwoTables();
    await products.put('a', LAMP);
    const own = new Error('changed my mind');
    const writing = products.write('a', async (tx) => {
      await tx.set('products', 'a', CHAIR);
      throw own;
    });
    await expect(writing).rejects.toBe(own);
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    expect(await products.get('a', { fresh: true })).toEqual(LAMP);
  });

  test('inside another transaction is an InvalidOptionError', async () => {
    const { lockstep, products } = openTwoTables();
    const nested = lockstep.transaction((tx) => products.write('a', async () => undefined, { tx }));
    await expect(nested).rejects.toMatchObject({ code: 'LOCKSTEP_INVALID_OPTION', option: 'options.tx' });
  });
});

describe('lockstep.transaction', () => {
  test('reads see it, fill nothing, and the cache is touched after the commit', async () => {
    const { lockstep, products, stores } = openTwoTables();
    await products.put('a', LAMP);
    await lockstep.transaction(async (tx) => {
      const written = await products.put('a', CHAIR, { tx });
      expect(written).toMatchObject({ value: CHAIR, cache: 'pending', store: 'pending' });
      await stores.put('s', LAMP, { tx });
      expect(await products.getVersioned('a', { tx })).toMatchObject({ value: CHAIR, from: 'transaction' });
      expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
      expect(await stores.getMany(['s', 'x'], { tx })).toEqual([LAMP, undefined]);
    });
    expect(await products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    expect(await stores.getVersioned('s')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('G1: a rollback leaves the cache alone', async () => {
    const { lockstep, products } = openTwoTables();
    await products.put('a', LAMP);
    const own = new Error('no');
    const body = lockstep.transaction(async (tx) => {
      await products.put('a', CHAIR, { tx });
      await products.delete('b', { tx });
      throw own;
    });
    await expect(body).rejects.toBe(own);
    expect(await products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
  });

  test('settles every row that it changed, by whatever statement', async () => {
    const { lockstep, products } = openTwoTables();
    await products.putMany(
      ['own', 'raw', 'own-then-raw', 'deleted', 'put-back'].map((id) => [id, LAMP] as const),
    );
    await lockstep.transaction(async (tx) => {
      const client = tx.client as MemoryTx;
      await products.put('own', CHAIR, { tx });
      await client.set('products', 'raw', CHAIR);
      await products.put('own-then-raw', LAMP, { tx });
      await client.set('products', 'own-then-raw', CHAIR);
      await products.delete('deleted', { tx });
      await products.delete('put-back', { tx });
      await client.set('products', 'put-back', CHAIR);
    });
    const ids = ['own', 'raw', 'own-then-raw', 'deleted', 'put-back'];
    const read = await Promise.all(ids.map((id) => products.getVersioned(id)));
    expect(read.map(({ value, from }) => [value, from])).toEqual([
      [CHAIR, 'cache'],
      [CHAIR, 'store'],
      [CHAIR, 'store'],
      [null, 'cache'],
      [CHAIR, 'store'],
    ]);
  });

  test('tells each row’s outcome after the commit, by events and where it is asked to, whoever changed it', async () => {
    const { cachePlan, lockstep, products, stores } = openTwoTables();
    await products.put('gone', LAMP);
    const events: unknown[] = [];
    lockstep.events.on('write', ({ cache, collection, key, op, store, version }) =>
      events.push({ collection, key, version, cache, op, store }),
    );
    const { outcomes, returned } = await lockstep.transaction(
      async (tx) => {
        await products.put('own', CHAIR, { tx });
        await (tx.client as MemoryTx).set('stores', 'raw', LAMP);
        await products.delete('gone', { tx });
        await products.get('untouched', { tx });
        await products.delete('never there', { tx });
        expect(events).toEqual([]);
        return 'done';
      },
      { outcomes: true },
    );
    expect(returned).toBe('done');
    expect(outcomes).toHaveLength(3);
    const version = (await products.getVersioned('own')).version;
    expect(outcomes).toContainEqual({ collection: 'products', key: 'own', version, cache: 'updated' });
    expect(outcomes).toContainEqual({
      collection: 'products',
      key: 'gone',
      version: expect.any(Number),
      cache: 'updated',
    });
    expect(outcomes).toContainEqual({
      collection: 'stores',
      key: 'raw',
      version: (await stores.getVersioned('raw')).version,
      cache: 'invalidated',
    });
    const told = outcomes.map((outcome) => ({ ...outcome, op: 'transaction', store: 'committed' }));
    expect(events).toHaveLength(3);
    expect(events).toEqual(expect.arrayContaining(told));

    cachePlan.always('execute', refuse(new Error('away')));
    const away = await products.write('own', (tx) => (tx as MemoryTx).set('stores', 's2', LAMP));
    expect(away.outcomes).toContainEqual(expect.objectContaining({ key: 's2', cache: 'deferred' }));
    expect(away.cache).toBe('deferred');
  });

  test('update and conditional writes take part', async () => {
    const { lockstep, products } = openTwoTables();
    const { version } = await products.put('a', LAMP);
    await lockstep.transaction(async (tx) => {
      await products.update('a', (row) => row && { ...row, stock: 9 }, { tx });
      await expect(products.put('a', CHAIR, { tx, ifVersion: version })).rejects.toMatchObject({
        code: 'LOCKSTEP_CONFLICT',
      });
      await products.increment('a', 'stock', 1, { tx });
    });
    expect(await products.getVersioned('a')).toMatchObject({ value: { stock: 10 }, from: 'cache' });
  });

  test('a body that is run again is a new transaction: only its last run counts', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    let runs = 0;
    const first = shop.rows.transactions;
    const again = {
      transaction: async (body: never, options: never): Promise<never> => {
        await first
          .transaction(async (tx) => {
            await (body as (tx: unknown) => Promise<unknown>)(tx);
            throw new Error('serialization failure');
          }, options)
          .catch(() => undefined);
        return await first.transaction<never>(body, options);
      },
    };
    const cache = memoryCache();
    const lockstep = createLockstep({ cache });
    const store = { ...shop.rows, transactions: again };
    const products = lockstep.collection<Product>({ name: 'products', store, consistency: 'strict' });
    await lockstep.transaction(async (tx) => {
      runs += 1;
      await products.put(runs === 1 ? 'only-first' : 'a', CHAIR, { tx });
    });
    expect(runs).toBe(2);
    expect(await products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    await products.get('only-first');
    await lockstep.drain();
    expect(await products.getVersioned('only-first')).toMatchObject({ value: null, from: 'cache' });
  });

  test('a commit whose reply was lost leaves the cache to the feed (G4)', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    shop.storePlan.next('transaction', async (call) => {
      await call.proceed();
      throw call.loss();
    });
    const writing = shop.lockstep.transaction((tx) => shop.products.put('a', CHAIR, { tx }));
    await expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome: 'unknown' });
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: 1 });
  });

  test('a foreign object, an ended transaction and another database’s are errors that say so', async () => {
    const { lockstep, products } = openTwoTables();
    const elsewhere = lockstep.collection({
      name: 'elsewhere',
      store: storeOf(memoryDatabase(), 'products'),
    });
    const foreign = products.put('a', LAMP, { tx: { client: {} } as never });
    await expect(foreign).rejects.toMatchObject({ code: 'LOCKSTEP_INVALID_OPTION', option: 'options.tx' });
    let leaked: unknown;
    const onProducts = { on: storeOfCollection(lockstep, 'products') };
    await lockstep.transaction(async (tx) => {
      leaked = tx;
      await expect(elsewhere.put('a', LAMP, { tx })).rejects.toMatchObject({
        option: 'options.tx',
        message: expect.stringContaining('another database than that of collection "elsewhere"'),
      });
    }, onProducts);
    const late = products.put('a', LAMP, { tx: leaked as never });
    await expect(late).rejects.toMatchObject({
      code: 'LOCKSTEP_TRANSACTION_OVER',
      message: expect.stringContaining('the transaction is over: its body has returned'),
    });
    await expect(products.get('a', { tx: leaked as never })).rejects.toMatchObject({
      code: 'LOCKSTEP_TRANSACTION_OVER',
    });
  });

  test('an event `write` tells of each row that a transaction changed, and what became of the cache', async () => {
    const { lockstep, products, stores } = openTwoTables();
    const told: unknown[] = [];
    lockstep.events.on('write', ({ collection, key, op, cache, store }) =>
      told.push([collection, key, op, cache, store]),
    );
    await lockstep.transaction(async (tx) => {
      expect(await products.put('a', LAMP, { tx })).toMatchObject({ cache: 'pending', store: 'pending' });
      await (tx.client as MemoryTx).set('stores', 's', CHAIR);
      expect(told).toEqual([]);
    });
    // In any order: each is told when its own entry was dealt with.
    expect(told.toSorted()).toEqual([
      ['products', 'a', 'transaction', 'updated', 'committed'],
      ['stores', 's', 'transaction', 'invalidated', 'committed'],
    ]);
    await stores.write('s', (tx) => tx.set('stores', 's', LAMP));
    expect(told[2]).toEqual(['stores', 's', 'transaction', 'updated', 'committed']);
  });

  test('out of time: calls and statements of the body’s are refused from that moment', async () => {
    const shop = openShop();
    const began = Promise.withResolvers<void>();
    const late = Promise.withResolvers<void>();
    let outcomes: Promise<unknown[]> | undefined;
    const running = shop.lockstep.transaction(
      async (tx) => {
        began.resolve();
        await late.promise;
        outcomes = Promise.all([
          codeOf(shop.products.put('a', LAMP, { tx })),
          codeOf(shop.products.get('a', { tx })),
          codeOf(shop.products.update('a', () => CHAIR, { tx })),
          codeOf((tx.client as MemoryTx).set('products', 'a', CHAIR)),
          codeOf((tx.client as MemoryTx).get('products', 'a')),
        ]);
        await outcomes;
      },
      { timeoutMs: 100 },
    );
    const rejected = expect(running).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    await began.promise;
    await shop.clock.advance(100);
    late.resolve();
    await rejected;
    expect(await outcomes).toEqual(Array(5).fill('LOCKSTEP_TRANSACTION_OVER'));
    expect(shop.rows.keys()).toEqual([]);
  });

  test('a refusal that the body swallows: further calls are refused with it as the cause, and nothing is committed', async () => {
    const { lockstep, products } = openTwoTables();
    await products.put('a', LAMP);
    const cause = { code: 'LOCKSTEP_STORE_REFUSED' };
    const running = lockstep.transaction(async (tx) => {
      await products.put('b', LAMP, { tx });
      await codeOf(products.increment('a', 'name' as 'stock', 1, { tx }));
      await expect(products.put('c', LAMP, { tx })).rejects.toMatchObject({
        code: 'LOCKSTEP_TRANSACTION_OVER',
        cause,
      });
    });
    await expect(running).rejects.toMatchObject({ ...cause, cause });
    expect(await products.getMany(['b', 'c'], { fresh: true })).toEqual([undefined, undefined]);
  });

  test('modes are checked by name, and refused where the store has none', async () => {
    const { lockstep, products } = openTwoTables();
    const body = async (): Promise<void> => undefined;
    for (const [option, value] of [
      ['isolation', 'snapshot'],
      ['readOnly', 1],
      ['deferrable', 'yes'],
    ] as const) {
      const wrong = { [option]: value } as never;
      await expect(lockstep.transaction(body, wrong)).rejects.toMatchObject({
        option: `transaction.${option}`,
      });
      await expect(products.write('a', body, wrong)).rejects.toMatchObject({ option: `options.${option}` });
    }
    for (const mode of [{ isolation: 'serializable' }, { readOnly: true }, { deferrable: true }] as const) {
      await expect(lockstep.transaction(body, mode)).rejects.toMatchObject({
        code: 'LOCKSTEP_UNSUPPORTED',
        message: expect.stringContaining(`transaction.${Object.keys(mode)[0]}`),
      });
    }
    await lockstep.transaction(body, { isolation: 'read committed', readOnly: false });
  });

  test('with two databases `on` says which; with none it is an UnsupportedError', async () => {
    const { lockstep } = openTwoTables();
    lockstep.collection({ name: 'elsewhere', store: storeOf(memoryDatabase(), 'products') });
    await expect(lockstep.transaction(async () => undefined)).rejects.toMatchObject({
      option: 'transaction.on',
    });
    const empty = createLockstep({ cache: memoryCache() });
    await expect(empty.transaction(async () => undefined)).rejects.toMatchObject({
      code: 'LOCKSTEP_UNSUPPORTED',
    });
    const off = empty.transaction(async () => undefined, { on: {} });
    await expect(off).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
  });

  test('timeoutMs rolls it back', async () => {
    const shop = openShop();
    await shop.products.put('a', LAMP);
    const writing = shop.lockstep.transaction(
      async (tx) => {
        await shop.products.put('a', CHAIR, { tx });
        shop.clock.advance(100);
      },
      { timeoutMs: 100 },
    );
    await expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    expect(await shop.products.get('a')).toEqual(LAMP);
  });

  test('invalidate has no part in a transaction, and says so', async () => {
    const shop = openShop();
    const calling = shop.lockstep.transaction((tx) => shop.products.invalidate('a', { tx } as never));
    const message = 'options.tx: unknown option; known are signal, timeoutMs';
    await expect(calling).rejects.toMatchObject({ option: 'options.tx', message });
  });
});

const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'done',
    (error: { code: string }) => error.code,
  );

function storeOfCollection(lockstep: ReturnType<typeof createLockstep>, name: string) {
  const found = lockstep.collections.find((collection) => collection.name === name);
  if (found === undefined) throw new Error(`no collection ${name}`);
  return found.store;
}

test('an eviction between reservation and put inside a transaction leaves a floor (G3)', async () => {
  const shop = openShop();
  await shop.products.put('a', LAMP);
  shop.storePlan.next(
    'write',
    before(() => shop.memory.clear()),
  );
  await shop.lockstep.transaction((tx) => shop.products.put('a', CHAIR, { tx }));
  expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
  expect(await shop.products.get('a')).toEqual(CHAIR);
});
