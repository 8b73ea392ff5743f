import { expect, test } from 'vitest';
import { InvalidOptionError } from '../../src/errors.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

interface Account {
  readonly stock: number;
  readonly balance: `${number}`;
  readonly big: bigint;
  readonly name: string;
}

const ROW: Account = { stock: 5, balance: '1.00', big: 9_007_199_254_740_991n, name: 'Ada' };

async function openAccounts() {
  const store = memoryStore<Account>({ name: 'accounts' });
  let statements = 0;
  const write: typeof store.write = (commands, call) => {
    statements += 1;
    return store.write(commands, call);
  };
  const lockstep = createLockstep({ cache: memoryCache() });
  const accounts = lockstep.collection<Account>({ name: 'accounts', store: { ...store, write } });
  await accounts.put('a', ROW);
  statements = 0;
  return { accounts, statements: () => statements };
}

const settled = async (calls: readonly Promise<{ value: Account | null }>[], field: keyof Account) =>
  (await Promise.allSettled(calls)).map((each) =>
    each.status === 'fulfilled' ? each.value.value?.[field] : (each.reason as Error).message,
  );

test('what would pass a bound is refused alone, and the others travel as one statement', async () => {
  const { accounts, statements } = await openAccounts();
  const calls = [-3, -2, -2, 3, 2, -4].map((by) => accounts.increment('a', 'stock', by, { min: 0, max: 2 }));
  const refused = (problem: string) => `collection "accounts": increment of "stock" of "a": ${problem}`;
  expect(await settled(calls, 'stock')).toEqual([
    2,
    0,
    refused('-2 would be below 0 (min)'),
    refused('3 would be above 2 (max)'),
    2,
    refused('-2 would be below 0 (min)'),
  ]);
  expect(statements()).toBe(1);
  expect(await accounts.get('a', { fresh: true })).toEqual({ ...ROW, stock: 2 });
});

test('the bounds themselves may be reached, exactly', async () => {
  const { accounts } = await openAccounts();
  const spend = Array.from({ length: 11 }, () => accounts.increment('a', 'balance', -0.1, { min: '0.00' }));
  const left = await settled(spend, 'balance');
  expect(left.slice(0, 10)).toEqual([
    '0.90',
    '0.80',
    '0.70',
    '0.60',
    '0.50',
    '0.40',
    '0.30',
    '0.20',
    '0.10',
    '0.00',
  ]);
  expect(left[10]).toContain('-0.10 would be below 0.00 (min)');
  const max = 9_007_199_254_740_993n;
  const grow = [2n, 1].map((by) => accounts.increment('a', 'big', by, { max }));
  expect(await settled(grow, 'big')).toEqual([max, expect.stringContaining('(max)')]);
});

test('a row that is not there, and a field that holds no number, are refused', async () => {
  const { accounts } = await openAccounts();
  const codes = await Promise.all(
    [
      accounts.increment('b', 'stock', 1, { max: 9 }),
      accounts.increment('a', 'name' as 'stock', 1, { max: 9 }),
      accounts.increment('a', 'none' as 'stock', 1, { max: 9 }),
      accounts.increment('a', 'big', '0.5', { min: 0 }),
    ].map((call) => call.catch((error: { code: string }) => error.code)),
  );
  expect(codes).toEqual(Array(4).fill('LOCKSTEP_STORE_REFUSED'));
});

test.each([
  [{ min: Number.NaN }, 'options.min'],
  [{ max: 'many' }, 'options.max'],
  [{ min: 2, max: 1 }, 'options.min'],
  [{ min: '1.01', max: 1 }, 'options.min'],
])('bounds of %o are refused by name', async (bounds, option) => {
  const { accounts } = await openAccounts();
  const refused = accounts.increment('a', 'stock', 1, bounds as { min: number });
  await expect(refused).rejects.toBeInstanceOf(InvalidOptionError);
  await expect(refused).rejects.toMatchObject({ option });
});

test('a wrong amount is refused before the row is read', async () => {
  const { accounts } = await openAccounts();
  await expect(accounts.increment('a', 'stock', Number.NaN, { min: 0 })).rejects.toMatchObject({
    option: 'by',
  });
});
