import { describe, expect, test } from 'vitest';
import type { CollectionOptions } from '../../src/contracts/options.js';
import { DuplicateCollectionError, InvalidIdError, InvalidOptionError } from '../../src/errors.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { LAMP, openShop, type Product, turns } from '../support/shop.js';

describe('ids', () => {
  test.each([
    ['empty', '', 'an id must not be empty'],
    ['over-long', 'x'.repeat(1_025), 'at most 1024 characters, got 1025'],
    ['a number', 5, 'an id must be a string, got number'],
    ['null', null, 'an id must be a string, got null'],
    ['undefined', undefined, 'an id must be a string, got undefined'],
    ['an array', ['a'], 'an id must be a string, got array'],
    ['half a surrogate pair', '\ud800', 'an id must be well-formed Unicode'],
  ])('%s is an InvalidIdError before anything is touched', async (_what, id, message) => {
    const shop = openShop();
    const odd = id as string;
    const calls = [
      () => shop.products.get(odd),
      () => shop.products.getMany(['fine', odd]),
      () => shop.products.refresh(odd),
      () => shop.products.put(odd, LAMP),
      () => shop.products.update(odd, () => LAMP),
      () => shop.products.increment(odd, 'stock', 1),
      () => shop.products.delete(odd),
      () => shop.products.write(odd, async () => undefined),
    ];
    for (const call of calls) {
      const error = await call().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidIdError);
      expect(error).toMatchObject({ code: 'LOCKSTEP_INVALID_ID', message: expect.stringContaining(message) });
    }
    expect(shop.cachePlan.calls('execute') + shop.cachePlan.calls('read')).toBe(0);
    expect(shop.storePlan.calls('write') + shop.storePlan.calls('read')).toBe(0);
  });

  test('an id that the store’s own keyOf refuses is an InvalidIdError with its cause', async () => {
    const own = new Error('needs a tenant');
    const store = {
      ...memoryStore<Product>({ name: 't' }),
      keyOf: () => {
        throw own;
      },
    };
    const products = createLockstep({ cache: memoryCache() }).collection({ name: 'products', store });
    await expect(products.get('a')).rejects.toMatchObject({
      code: 'LOCKSTEP_INVALID_ID',
      message: 'collection "products": needs a tenant',
      cause: own,
    });
  });

  test('a composite id that is a list is one id for invalidate, and a list of ids is a list', async () => {
    const lockstep = createLockstep({ cache: memoryCache() });
    type Pair = readonly [number, number];
    const store = memoryStore<Product, Pair>({ name: 'pairs', keyOf: (id) => id.join('/') });
    const pairs = lockstep.collection({ name: 'pairs', store });
    const origins = async () =>
      Promise.all(
        (
          [
            [1, 2],
            [3, 4],
          ] as const
        ).map(async (id) => (await pairs.getVersioned(id)).from),
      );
    const fill = async () => {
      await pairs.put([1, 2], LAMP);
      await pairs.put([3, 4], LAMP);
    };
    await fill();
    expect(await pairs.invalidate([1, 2])).toBe('invalidated');
    expect(await origins()).toEqual(['store', 'cache']);
    await fill();
    await pairs.invalidate([
      [1, 2],
      [3, 4],
    ]);
    expect(await origins()).toEqual(['store', 'store']);
    await fill();
    await pairs.invalidateMany(new Set([[3, 4]] as const));
    expect(await origins()).toEqual(['cache', 'store']);
    await expect(pairs.invalidateMany([5 as never])).rejects.toBeInstanceOf(InvalidIdError);
    await lockstep.close();
  });

  test('colons, per cent signs and emptied parts keep two collections’ keys apart', async () => {
    const cache = memoryCache();
    const lockstep = createLockstep({ cache });
    const declare = (name: string) => lockstep.collection({ name, store: memoryStore<Product>({ name }) });
    const [one, two] = [declare('a:b'), declare('a')];
    await one.put('c', LAMP);
    expect(await two.get('b:c')).toBeUndefined();
    expect(await one.get('c')).toEqual(LAMP);
  });
});

describe('collection options', () => {
  const rejected = (options: object): unknown => {
    const store = memoryStore<Product>({ name: 'products' });
    try {
      const all = { name: 'products', store, ...options } as unknown as CollectionOptions<Product>;
      createLockstep({ cache: memoryCache() }).collection(all);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  const numbers = [
    ['ttlMs', [0, -1, Number.NaN, 0.5, 10 * 365 * 24 * 3_600_000 + 1, Number.POSITIVE_INFINITY, '60']],
    ['ttlJitter', [-0.1, 0.51, Number.NaN]],
    ['negativeTtlMs', [-1, Number.NaN]],
    ['staleWhileRevalidateMs', [-1, 1.5]],
    ['staleIfErrorMs', [-1, 1.5]],
    ['maxPayloadBytes', [0]],
    ['storeTimeoutMs', [0]],
    ['leaseMs', [0]],
    ['leaseWaitMs', [-1]],
    ['holeTtlMs', [0, 24 * 3_600_000 + 1]],
    ['maxConcurrentLoads', [0]],
    ['maxQueuedLoads', [0]],
  ] as const;
  test.each(numbers.flatMap(([option, values]) => values.map((value) => [option, value] as const)))(
    '%s: %s is an InvalidOptionError that names it and its range',
    (option, value) => {
      const error = rejected({ [option]: value });
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error).toMatchObject({
        code: 'LOCKSTEP_INVALID_OPTION',
        option: `collection("products").${option}`,
        message: expect.stringMatching(/must be a(?: whole)? number from .* to .*, got /),
      });
    },
  );

  test.each([
    [{ name: '' }, 'collection.name'],
    [{ name: 'x'.repeat(129) }, 'collection.name'],
    [{ name: 5 }, 'collection.name'],
    [{ store: undefined }, 'collection("products").store'],
    [{ store: { read: async () => [], write: async () => [] } }, 'collection("products").store'],
    [{ ttl: 60 }, 'collection("products").ttl'],
    [{ name: undefined, nam: 'products' }, 'collection.nam'],
    [{ name: undefined }, 'collection.name'],
    [{ schema: {} }, 'collection("products").schema'],
    [{ serializer: { name: 'own' } }, 'collection("products").serializer'],
    [{ batch: null }, 'collection("products").batch'],
    [{ strategy: 'write-around' }, 'collection("products").strategy'],
    [{ consistency: 'eventual' }, 'collection("products").consistency'],
    [{ consistency: 'strict', staleWhileRevalidateMs: 1 }, 'collection("products").staleWhileRevalidateMs'],
    [{ consistency: 'strict', staleIfErrorMs: 1 }, 'collection("products").staleIfErrorMs'],
    [{ batch: { maxRows: 0 } }, 'collection("products").batch.maxRows'],
    [{ batch: { maxBytes: 0 } }, 'collection("products").batch.maxBytes'],
    [{ batch: { maxInFlight: 0 } }, 'collection("products").batch.maxInFlight'],
    [{ batch: { maxWaiting: 0 } }, 'collection("products").batch.maxWaiting'],
    [{ batch: { queueTimeoutMs: 0 } }, 'collection("products").batch.queueTimeoutMs'],
    [{ batch: { coalesce: 'no' } }, 'collection("products").batch.coalesce'],
    [{ batch: { rows: 5 } }, 'collection("products").batch.rows'],
  ])('%o names what is wrong', (options, option) => {
    expect(rejected(options)).toMatchObject({ code: 'LOCKSTEP_INVALID_OPTION', option });
  });

  test('a second collection of one name is a DuplicateCollectionError', () => {
    const shop = openShop();
    const second = () => shop.lockstep.collection({ name: 'products', store: shop.rows });
    expect(second).toThrow(DuplicateCollectionError);
    expect(second).toThrow('there already is a collection "products"');
  });
});

describe('createLockstep options', () => {
  test.each([
    [{}, 'createLockstep.cache'],
    [{ queue: {} }, 'createLockstep.queue'],
    [{ prefix: '' }, 'createLockstep.prefix'],
    [{ cacheTimeoutMs: 0 }, 'createLockstep.cacheTimeoutMs'],
    [{ queueTimeoutMs: Number.NaN }, 'createLockstep.queueTimeoutMs'],
    [{ breaker: { threshold: 0 } }, 'createLockstep.breaker.threshold'],
    [{ breaker: { cooldownMs: 0 } }, 'createLockstep.breaker.cooldownMs'],
    [{ breaker: { limit: 5 } }, 'createLockstep.breaker.limit'],
    [{ timeout: 5 }, 'createLockstep.timeout'],
  ])('%o names what is wrong', (options, option) => {
    const all = option === 'createLockstep.cache' ? options : { cache: memoryCache(), ...options };
    expect(() => createLockstep(all as never)).toThrow(InvalidOptionError);
    expect(() => createLockstep(all as never)).toThrow(`${option}: `);
  });

  test.each([undefined, null, 'redis://'])('%s is no object of options', (options) => {
    expect(() => createLockstep(options as never)).toThrow('createLockstep: must be an object of options');
  });
});

describe('options of calls', () => {
  test.each([
    ['ttlMs', 0],
    ['ttlMs', -5],
    ['ttlMs', Number.NaN],
    ['ttlMs', Number.MAX_SAFE_INTEGER],
    ['timeoutMs', 0],
    ['ttl', 5],
  ])('%s: %d is an InvalidOptionError, and nothing is written', async (option, value) => {
    const shop = openShop();
    const options = { [option]: value };
    const calls = [
      () => shop.products.get('a', options),
      () => shop.products.getMany(['a'], options),
      () => shop.products.put('a', LAMP, options),
      () => shop.products.update('a', () => LAMP, options),
      () => shop.products.increment('a', 'stock', 1, options),
      () => shop.products.delete('a', options),
      () => shop.products.write('a', async () => undefined, options),
    ];
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({
        code: 'LOCKSTEP_INVALID_OPTION',
        option: expect.stringContaining(option),
      });
    }
    await turns();
    expect(shop.storePlan.calls('read') + shop.storePlan.calls('write')).toBe(0);
    expect(shop.rows.keys()).toEqual([]);
  });

  test.each([0, 1.5, -1, Number.NaN, '5'])('ifVersion %s is an InvalidOptionError', async (ifVersion) => {
    const shop = openShop();
    const wrong = { ifVersion: ifVersion as number };
    const expected = { code: 'LOCKSTEP_INVALID_OPTION', option: 'options.ifVersion' };
    await expect(shop.products.put('a', LAMP, wrong)).rejects.toMatchObject(expected);
    await expect(shop.products.delete('a', wrong)).rejects.toMatchObject(expected);
  });

  test('a condition where there is none is refused, not ignored', async () => {
    const shop = openShop();
    const condition = { ifVersion: 2 } as object;
    const expected = { option: expect.stringContaining('options.ifVersion') };
    await expect(shop.products.increment('a', 'stock', 1, condition)).rejects.toMatchObject(expected);
    await expect(shop.products.update('a', () => LAMP, condition)).rejects.toMatchObject(expected);
  });

  test.each([-1, 1.5, 1_001])('retries %d is an InvalidOptionError', async (retries) => {
    const shop = openShop();
    const updating = shop.products.update('a', () => LAMP, { retries });
    await expect(updating).rejects.toMatchObject({ option: 'options.retries' });
  });

  test('what is no function, and what are no options, is named', async () => {
    const { lockstep, products } = openShop();
    const none = undefined as never;
    await expect(products.update('a', none)).rejects.toMatchObject({ option: 'change' });
    await expect(products.write('a', none)).rejects.toMatchObject({ option: 'body' });
    await expect(lockstep.transaction(none)).rejects.toMatchObject({ option: 'transaction.body' });
    await expect(products.get('a', 5 as never)).rejects.toMatchObject({ option: 'options' });
    expect(() => lockstep.collection(none)).toThrow('collection: must be an object of options');
    expect(() => lockstep.through(none)).toThrow('through: must be an object of options');
    expect(() => createLockstep(none)).toThrow('createLockstep: must be an object of options');
  });

  test('a transaction’s options are checked', async () => {
    const shop = openShop();
    const body = async (): Promise<void> => undefined;
    await expect(shop.lockstep.transaction(body, { timeoutMs: 0 })).rejects.toMatchObject({
      option: 'transaction.timeoutMs',
    });
    await expect(shop.lockstep.transaction(body, { isolation: 'none' } as never)).rejects.toMatchObject({
      option: 'transaction.isolation',
    });
  });
});

test('a job that flushes a buffered write is refused where nothing buffers', async () => {
  const shop = openShop();
  const handling = shop.lockstep.handleJob({ kind: 'flush', collection: 'products', key: 'a' });
  await expect(handling).rejects.toMatchObject({ code: 'LOCKSTEP_UNSUPPORTED' });
});

test('a store that answers a write with nothing breaks its contract', async () => {
  const shop = openShop();
  shop.storePlan.next('write', async () => []);
  await expect(shop.products.put('a', LAMP)).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_CONTRACT' });
  shop.storePlan.next('write', async () => [{ kind: 'written' as const, value: LAMP, version: 0 }]);
  await expect(shop.products.put('a', LAMP)).rejects.toMatchObject({
    code: 'LOCKSTEP_STORE_CONTRACT',
    message: expect.stringContaining('without a version'),
  });
});
