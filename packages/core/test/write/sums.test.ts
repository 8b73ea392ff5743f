import { describe, expect, test } from 'vitest';
import { ConflictError, InvalidOptionError } from '../../src/errors.js';
import { decimalOf, decimalText, haveOneSign, plus, stepsBefore, sumOf } from '../../src/kit/decimal.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

interface Counter {
  readonly next: number;
  readonly balance: `${number}`;
  readonly big: bigint;
}

function openCounters(validate: (row: Counter) => void = () => undefined) {
  const store = memoryStore<Counter>({ name: 'counters', validate });
  const lockstep = createLockstep({ cache: memoryCache() });
  const sent: number[] = [];
  const write: typeof store.write = (commands, call) => {
    sent.push(commands.length);
    return store.write(commands, call);
  };
  const counters = lockstep.collection<Counter>({ name: 'counters', store: { ...store, write } });
  return { counters, lockstep, sent };
}

const ROW: Counter = { next: 0, balance: '0', big: 0n };
const settled = async (calls: readonly Promise<{ value: Counter | null }>[], field: keyof Counter) =>
  (await Promise.allSettled(calls)).map((each) =>
    each.status === 'fulfilled' ? each.value.value?.[field] : (each.reason as { code: string }).code,
  );

describe('increments that travel together', () => {
  test('give each caller its own number, in one statement', async () => {
    const { counters, lockstep, sent } = openCounters();
    await counters.put('a', ROW);
    sent.length = 0;
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => counters.increment('a', 'next', 1)));
    expect(results.map(({ value }) => value?.next)).toEqual([1, 2, 3, 4, 5]);
    expect(results.map(({ coalesced }) => coalesced)).toEqual([true, true, true, true, false]);
    expect(sent).toEqual([1]);
    const [first, last] = [results[0], results[4]];
    await expect(counters.put('a', ROW, { ifVersion: first?.version ?? null })).rejects.toBeInstanceOf(
      ConflictError,
    );
    expect(await counters.getVersioned('a')).toMatchObject({ value: last?.value, version: last?.version });
    await lockstep.close();
  });

  test('are exact for decimals and for large integers', async () => {
    const { counters, lockstep } = openCounters();
    await counters.put('a', ROW);
    const tenths = Array.from({ length: 10 }, () => counters.increment('a', 'balance', 0.1));
    expect(await settled(tenths, 'balance')).toEqual([
      '0.1',
      '0.2',
      '0.3',
      '0.4',
      '0.5',
      '0.6',
      '0.7',
      '0.8',
      '0.9',
      '1.0',
    ]);
    const amounts = [2 ** 53 - 1, 2n, '2', 3].map((by) => counters.increment('a', 'big', by));
    expect(await settled(amounts, 'big')).toEqual([
      9007199254740991n,
      9007199254740993n,
      9007199254740995n,
      9007199254740998n,
    ]);
    await lockstep.close();
  });

  test('are refused for what each would be refused for alone, in their order', async () => {
    const { counters, lockstep } = openCounters(({ next }) => {
      if (next < 0 || !Number.isInteger(next)) throw new Error(`${next} is none`);
    });
    await counters.put('a', { ...ROW, next: 3 });
    const refused = 'LOCKSTEP_STORE_REFUSED';
    const call = (by: number) => counters.increment('a', 'next', by);
    expect(await settled([-2, -2, -1, 5].map(call), 'next')).toEqual([1, refused, 0, 5]);
    expect(await settled([0.5, 0.5].map(call), 'next')).toEqual([refused, refused]);
    expect(await settled([1.7e308, 1.7e308].map(call), 'next')).toEqual([1.7e308, refused]);
    await lockstep.close();
  });

  test('of a store that does not take sums go one by one', async () => {
    const store = memoryStore<Counter>({ name: 'counters' });
    const capabilities = { ...store.capabilities, sums: false };
    const lockstep = createLockstep({ cache: memoryCache() });
    const counters = lockstep.collection<Counter>({ name: 'counters', store: { ...store, capabilities } });
    await counters.put('a', ROW);
    const results = await Promise.all([1, 2, 3].map(() => counters.increment('a', 'next', 1)));
    expect(results.map(({ value, coalesced }) => [value?.next, coalesced])).toEqual([
      [1, false],
      [2, false],
      [3, false],
    ]);
    await lockstep.close();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 'one', '1e3', '', '.5', ' 1', true, [1], undefined])(
    'an amount of %s is refused by name',
    async (by) => {
      const { counters } = openCounters();
      await counters.put('a', ROW);
      const refused = counters.increment('a', 'next', by as number);
      await expect(refused).rejects.toBeInstanceOf(InvalidOptionError);
      await expect(refused).rejects.toThrow(/^by/);
    },
  );
});

test('decimals', () => {
  const text = (amount: number | bigint | string) => {
    const decimal = decimalOf(amount);
    return decimal && decimalText(decimal);
  };
  expect([0.1, 1e-7, -2.5, 1e21, '-0.05', '007.10', 5n].map(text)).toEqual([
    '0.1',
    '0.0000001',
    '-2.5',
    '1000000000000000000000',
    '-0.05',
    '7.10',
    '5',
  ]);
  expect(decimalText(plus({ units: 1n, scale: 1 }, { units: 25n, scale: 2 }))).toBe('0.35');
  expect(stepsBefore('1.00', [0.25, 0.5, 0.25])).toEqual(['0.25', '0.75']);
  expect(stepsBefore('none', [1, 1])).toBeUndefined();
  expect(stepsBefore(10, [1, 2, 3])).toEqual(['5', '7']);
  const largest = Number.MAX_SAFE_INTEGER;
  expect(stepsBefore('-9007199254740990', [-1, -1, 3])).toEqual(['-9007199254740992', '-9007199254740993']);
  expect(stepsBefore('9007199254740993', [1, 2])).toEqual(['9007199254740991']);
  expect(sumOf(largest - 1, 1)).toBe(largest);
  expect(sumOf(largest, 1)).toBe('9007199254740992');
  expect(sumOf(largest, largest)).toBe('18014398509481982');
  expect(sumOf('0.5', 0.5)).toBe('1.0');
  expect([haveOneSign(1, -1), haveOneSign(0, '-1'), haveOneSign('0.1', 2n), haveOneSign(-1n, '0.1')]).toEqual(
    [false, true, true, false],
  );
});
