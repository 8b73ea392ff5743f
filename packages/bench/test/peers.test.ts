import { expect, test } from 'vitest';
import { type CaseResult, caseOf } from '../src/peers/figures.js';
import { GROUND } from '../src/peers/ground.js';
import { MISSES, runMisses } from '../src/peers/misses.js';
import { MIX, runMix } from '../src/peers/mix.js';
import { PEERS } from '../src/peers/peers.js';
import { rowOf } from '../src/peers/row.js';
import { runStampede, STAMPEDE } from '../src/peers/stampede.js';
import { runTransactions, TRANSACTIONS } from '../src/peers/transactions.js';
import { runWrites, WRITES } from '../src/peers/writes.js';
import { zipf } from '../src/peers/zipf.js';

// Small runs on real servers: every case is there and is a number, and ours is right in each. Never a time.

const SMALL = { ...GROUND, products: 100, pool: 4, turns: 1, turnMs: 20 };
const silent = () => undefined;

function expectWhole(
  result: Readonly<Record<string, CaseResult>>,
  count: number,
  others: readonly string[] = Object.keys(PEERS),
): void {
  expect(Object.keys(result)).toHaveLength(count);
  for (const [name, { limit = {}, ours, peers, ratio, spread }] of Object.entries(result)) {
    expect(Object.keys(peers), name).toEqual(others);
    expect(Object.keys(ratio), name).toEqual([...others, ...Object.keys(limit)]);
    for (const figure of [ours, ...Object.values(peers), ...Object.values(spread).flat()]) {
      expect(figure, name).toBeGreaterThanOrEqual(0);
    }
  }
}

test('writes', async () => {
  const result = Object.entries(await runWrites({ ...WRITES, ...SMALL, writers: [1, 8] }, silent));
  const isPut = ([name]: readonly [string, unknown]) => name.startsWith('put');
  expectWhole(Object.fromEntries(result.filter(isPut)), 2);
  const changes = Object.fromEntries(result.filter((each) => !isPut(each)));
  expectWhole(changes, 4, ['by hand', 'tuned by hand']);
});

test('a stampede asks the database once, whatever the number of processes', async () => {
  const peers = ['by hand', 'bentocache'] as const;
  const options = { ...STAMPEDE, ...SMALL, peers: [...peers], readers: 20, processes: [1, 2] };
  const result = await runStampede(options, silent);
  expect(result['loads, 1 × 20 readers']?.ours).toBe(1);
  expect(result['loads, 2 × 20 readers']?.ours).toBe(1);
  // The count counts: by hand each reader asks.
  expect(result['loads, 1 × 20 readers']?.peers['by hand']).toBeGreaterThan(1);
});

test('a mix of reads and writes leaves nothing stale', async () => {
  const { cases, stale } = await runMix({ ...MIX, ...SMALL, callers: 8, reads: [50], skews: [0.9] }, silent);
  expectWhole(cases, 1);
  expect(stale['lockstep']).toBe(0);
});

test('on MongoDB: writes, misses, transactions, a mix', async () => {
  const options = { ...SMALL, store: 'mongo' as const };
  const some = { ...options, peers: ['by hand' as const] };
  const { 'put, 1 writer': put } = await runWrites({ ...WRITES, ...options, writers: [1] }, silent);
  // Change streams need no outbox: nothing there is tuned by hand.
  expect(Object.keys(put?.peers ?? {})).toEqual(Object.keys(PEERS).filter((name) => !name.includes('tuned')));
  const misses = await runMisses({ ...MISSES, ...some, readers: [1], rowsOf: () => 10 }, silent);
  const transactions = await runTransactions({ ...TRANSACTIONS, ...some, callers: [1] }, silent);
  const { cases, stale } = await runMix({ ...MIX, ...some, callers: 8, reads: [50], skews: [0.9] }, silent);
  expect(stale['lockstep']).toBe(0);
  for (const each of [misses, transactions, cases]) {
    for (const [name, { ours, peers }] of Object.entries(each)) {
      for (const figure of [ours, ...Object.values(peers)]) expect(figure, name).toBeGreaterThan(0);
    }
  }
});

test('a row has about as many bytes as asked for, and is the same each time', () => {
  for (const bytes of [300, 10_000, 100_000]) {
    expect(JSON.stringify(rowOf(7, bytes)).length / bytes).toBeCloseTo(1, 0);
    expect(rowOf(7, bytes)).toEqual(rowOf(7, bytes));
  }
  expect(rowOf(7, 300).attributes.text).not.toBe(rowOf(8, 300).attributes.text);
});

test('ratios are the medians of the turns’ own', () => {
  const { ours, peers, ratio } = caseOf('calls/s', 'more', {
    lockstep: { kind: 'ours', figures: [10, 20, 90] },
    other: { kind: 'peer', figures: [5, 40, 30] },
  });
  expect([ours, peers['other'], ratio['other']]).toEqual([20, 30, 2]);
});

test('keys by Zipf’s law: the first is drawn as often as its weight says', () => {
  const keyOf = zipf(1_000, 0.9);
  const draws = Array.from({ length: 100_000 }, (_, n) => keyOf(n));
  const counts = Map.groupBy(draws, (key) => key);
  let total = 0;
  for (let k = 1; k <= 1_000; k++) total += k ** -0.9;
  expect((counts.get(0)?.length ?? 0) / draws.length).toBeCloseTo(1 / total, 2);
  expect(Math.max(...[...counts.values()].map(({ length }) => length))).toBe(counts.get(0)?.length);
});
