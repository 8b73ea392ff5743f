import { expect, test } from 'vitest';
import type { Collection } from '../../src/contracts/api.js';
import type { MemoryTx } from '../../src/memory/index.js';
import { CHAIR, carries, LAMP, openShop, type Product, turns } from '../support/shop.js';

const many = <T>(count: number, call: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => call(i));

async function openStocked(stock: number) {
  const shop = openShop();
  await shop.products.put('a', { name: 'lamp', stock });
  const sell = async (tx: MemoryTx, waits = turns): Promise<number> => {
    const row = (await tx.get('products', 'a')) as Product;
    await waits(1);
    await tx.set('products', 'a', { ...row, stock: row.stock - 1 });
    return row.stock;
  };
  return { ...shop, products: shop.products as unknown as Collection<Product, string, MemoryTx>, sell };
}

test('bodies of one key run one after the other', async () => {
  const { products, sell } = await openStocked(20);
  const results = await Promise.all(many(20, () => products.write('a', sell)));
  expect(results.map(({ returned, value }) => [returned, value?.stock])).toEqual(
    many(20, (i) => [20 - i, 19 - i]),
  );
  expect(new Set(results.map(({ version }) => version)).size).toBe(20);
  expect(await products.getVersioned('a')).toMatchObject({ value: { stock: 0 }, from: 'cache' });
});

test('in turn with updates, and beside bodies of other keys', async () => {
  const { products, sell } = await openStocked(20);
  const seen: string[] = [];
  const noted = async <T>(name: string, call: Promise<T>): Promise<T> => {
    const made = await call;
    seen.push(name);
    return made;
  };
  const sold = (row: Product | undefined) => row && { ...row, stock: row.stock - 1 };
  const held = Promise.withResolvers<void>();
  const first = noted(
    'write',
    products.write('a', (tx) => sell(tx, () => held.promise)),
  );
  await turns();
  const others = [
    noted('update', products.update('a', sold)),
    noted('write', products.write('a', sell)),
    noted('update', products.update('a', sold)),
  ];
  await products.write('b', (tx) => tx.set('products', 'b', CHAIR));
  expect(seen).toEqual([]);
  held.resolve();
  await first;
  expect((await Promise.all(others)).map(({ value }) => value?.stock)).toEqual([18, 17, 16]);
  expect(seen).toEqual(['write', 'update', 'write', 'update']);
});

test('the next transaction is open before the one before it has ended', async () => {
  const { products, sell, storePlan } = await openStocked(20);
  const held = Promise.withResolvers<void>();
  const first = products.write('a', (tx) => sell(tx, () => held.promise));
  await turns();
  const others = many(3, () => products.write('a', sell));
  await turns();
  expect(storePlan.calls('transaction')).toBe(2);
  held.resolve();
  await Promise.all([first, ...others]);
  expect(storePlan.calls('transaction')).toBe(4);
});

test('a body that throws fails its own caller, and the next one has its turn', async () => {
  const { products, sell } = await openStocked(20);
  const own = new Error('my own');
  const failing = products.write('a', async () => {
    throw own;
  });
  const other = products.write('a', sell);
  await expect(failing).rejects.toBe(own);
  expect(await other).toMatchObject({ value: { stock: 19 } });
});

test('timeoutMs and signal end the wait for a turn', async () => {
  const { clock, products, sell } = await openStocked(20);
  const held = Promise.withResolvers<void>();
  const first = products.write('a', (tx) => sell(tx, () => held.promise));
  await turns();
  const ending = new AbortController();
  const ran: string[] = [];
  const body = (name: string) => async (tx: MemoryTx) => {
    ran.push(name);
    return await sell(tx);
  };
  const calls = [
    products.write('a', body('near'), { timeoutMs: 50 }),
    products.write('a', body('late'), { timeoutMs: 50 }),
    products.write('a', body('stopped'), { signal: ending.signal }),
  ];
  const failing = Promise.allSettled(calls);
  const patient = products.write('a', body('patient'));
  await turns();
  clock.advance(50);
  ending.abort(new Error('stop'));
  expect(await failing).toMatchObject([
    { reason: { code: 'LOCKSTEP_STORE_TIMEOUT' } },
    { reason: { code: 'LOCKSTEP_STORE_TIMEOUT' } },
    { reason: { message: 'stop' } },
  ]);
  held.resolve();
  await first;
  expect(await patient).toMatchObject({ value: { stock: 18 } });
  expect(ran).toEqual(['patient']);
});

test('a turn that does not come in time is refused', async () => {
  const { clock, products, sell } = await openStocked(20);
  const held = Promise.withResolvers<void>();
  const first = products.write('a', (tx) => sell(tx, () => held.promise));
  await turns();
  const waiting = Promise.allSettled(many(3, () => products.write('a', sell)));
  await turns();
  clock.advance(5_000);
  for (const each of await waiting) {
    expect(each).toMatchObject({ reason: { code: 'LOCKSTEP_STORE_OVERLOADED' } });
  }
  held.resolve();
  expect(await first).toMatchObject({ value: { stock: 19 } });
});

test('a body that writes its own row past its transaction is refused by name', async () => {
  const { products } = await openStocked(20);
  const writing = products.write('a', async () => {
    await turns();
    await products.put('a', LAMP);
  });
  await expect(writing).rejects.toMatchObject({
    code: 'LOCKSTEP_INVALID_OPTION',
    message: expect.stringContaining('writes "a" while it changes that very row'),
  });
  expect(await products.get('a', { fresh: true })).toMatchObject({ stock: 20 });
});

test('the next one comes at the commit, before the cache has heard of it', async () => {
  const { cachePlan, products, sell } = await openStocked(20);
  const told = cachePlan.pauseNext('execute', carries('put'));
  const first = products.write('a', sell);
  await told.reached;
  expect(await products.write('a', sell)).toMatchObject({ value: { stock: 18 } });
  told.release();
  expect(await first).toMatchObject({ value: { stock: 19 } });
  expect(await products.get('a')).toMatchObject({ stock: 18 });
});
