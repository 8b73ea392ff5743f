import { describe, expect, test } from 'vitest';
import type { Transaction } from '../../src/contracts/options.js';
import {
  LockstepError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../../src/errors.js';
import { refuse } from '../../src/faults/index.js';
import { CHAIR, elapse, LAMP, openShop, type Product, type ShopOptions } from '../support/shop.js';

type Shop = ReturnType<typeof openShop>;

const inside = (tx: Transaction | undefined) => (tx === undefined ? {} : { tx });

/** What a store says that knows nothing of collections, as adapters do. */
const bare = {
  refused: () => new StoreRefusedError('no'),
  away: () => new StoreUnavailableError('away', 'not-committed'),
  late: () => new StoreTimeoutError('late'),
  foreign: () => new Error('socket hang up'),
};

const WRITES: readonly (readonly [string, (shop: Shop, tx?: Transaction) => Promise<unknown>])[] = [
  ['put', ({ products }, tx) => products.put('a', LAMP, inside(tx))],
  ['patch', ({ products }, tx) => products.patch('a', { stock: 1 }, inside(tx))],
  ['increment', ({ products }, tx) => products.increment('a', 'stock', 1, inside(tx))],
  ['delete', ({ products }, tx) => products.delete('a', inside(tx))],
  ['update', ({ products }, tx) => products.update('a', () => CHAIR, inside(tx))],
];

const READS: readonly (readonly [string, (shop: Shop, tx?: Transaction) => Promise<unknown>])[] = [
  ['get', ({ products }, tx) => products.get('a', inside(tx))],
  ['getMany', ({ products }, tx) => products.getMany(['a'], inside(tx))],
  ['getVersioned', ({ products }) => products.getVersioned('a', { minVersion: 5 })],
  ['refresh', ({ products }) => products.refresh('a')],
];

async function failureOf(call: Promise<unknown>): Promise<LockstepError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LockstepError);
  return error as LockstepError;
}

async function expectConcerns(call: Promise<unknown>, key: string | null = 'a'): Promise<void> {
  const { collection, key: told } = await failureOf(call);
  expect({ collection, key: told }).toEqual({ collection: 'products', key: key ?? undefined });
}

describe('an error says which collection and row it is about', () => {
  describe.each(Object.entries(bare))('the store is %s', (_, error) => {
    test.each(WRITES)('%s', async (_name, write) => {
      const shop = openShop();
      await shop.rows.foreignWrite('a', LAMP);
      shop.storePlan.always('write', refuse(error()));
      await expectConcerns(write(shop));
      await shop.lockstep.transaction(async (tx) => expectConcerns(write(shop, tx))).catch(() => undefined);
    });

    test.each(READS)('%s', async (_name, read) => {
      const shop = openShop();
      shop.storePlan.always('read', refuse(error()));
      await expectConcerns(read(shop));
      await shop.lockstep.transaction(async (tx) => expectConcerns(read(shop, tx))).catch(() => undefined);
    });
  });

  test('of rows that fail together each has its own', async () => {
    const shop = openShop();
    const ids = ['a', 'b', 'c', 'd'];
    const shared = bare.away();
    shop.storePlan.always('write', refuse(shared));
    shop.storePlan.always('read', refuse(shared));
    const writes = await Promise.all(ids.map((id) => failureOf(shop.products.put(id, LAMP))));
    const reads = await Promise.all(ids.map((id) => failureOf(shop.products.get(id))));
    for (const failures of [writes, reads]) {
      expect(failures.map(({ key }) => key)).toEqual(ids);
      for (const failure of failures) {
        expect(failure).toBeInstanceOf(StoreUnavailableError);
        expect(failure).toMatchObject({ message: 'away', outcome: 'not-committed', collection: 'products' });
        expect(failure.stack).toContain('away');
      }
    }
  });

  test('of outcomes that share an error each has its own', async () => {
    const shop = openShop();
    const error = bare.refused();
    shop.storePlan.always('write', async ({ input }) =>
      input.commands.map(() => ({ kind: 'failed', error }) as const),
    );
    const failures = await Promise.all(['a', 'b', 'c'].map((id) => failureOf(shop.products.put(id, LAMP))));
    expect(failures.map(({ key }) => key)).toEqual(['a', 'b', 'c']);
    expect(failures.every((failure) => failure instanceof StoreRefusedError)).toBe(true);
  });

  test.each<[string, ShopOptions['collection']]>([
    ['a strict collection', { consistency: 'strict' }],
    ['a buffer', { burst: {} }],
  ])('the cache is away: %s', async (_, collection) => {
    const shop = openShop({ collection: collection ?? {} });
    await shop.products.get('a');
    shop.cachePlan.always('execute', refuse(new Error('away')));
    const updating = ['a', 'b'].map((id) =>
      expectConcerns(
        shop.products.update(id, () => LAMP),
        id,
      ),
    );
    await elapse(shop.clock, Promise.all(updating));
  });

  test('wrong calls, and calls of what is closed', async () => {
    const shop = openShop();
    const { lockstep, products } = shop;
    await expectConcerns(products.put('a', undefined as never));
    await expectConcerns(products.patch('a', {}));
    await expectConcerns(products.put('a', { name: () => 1 } as never as Product));
    await expectConcerns(products.put('a', LAMP, { odd: 1 } as never), null);
    await expectConcerns(products.get('a', { odd: 1 } as never), null);
    await expectConcerns(products.get(''), null);
    await expectConcerns(products.create(LAMP), null);
    let over: Transaction | undefined;
    await lockstep.transaction(async (tx) => {
      over = tx;
    });
    await expectConcerns(products.put('a', LAMP, { tx: over as Transaction }));
    await expectConcerns(products.get('a', { tx: over as Transaction }));
    await lockstep.close();
    await expectConcerns(products.get('a'), null);
    await expectConcerns(products.put('a', LAMP), null);
  });

  test('what the caller’s own functions throw is as it was', async () => {
    const { products } = openShop();
    await products.put('a', LAMP);
    const own = new Error('own');
    const failing = (): never => {
      throw own;
    };
    await expect(products.update('a', failing)).rejects.toBe(own);
    await expect(products.write('a', async () => failing())).rejects.toBe(own);
  });
});
