import { expect, test } from 'vitest';
import { ALL, ALL_SUITES, runAll } from '../src/all.js';
import { PRODUCTION_MIXES } from '../src/peers/production.js';

const SMALL = { turns: 1, turnMs: 20, pool: 4, products: 100, peers: ['by hand', 'bentocache'] as const };

/** Twenty suites with servers of their own: on a machine that others keep busy they take minutes. */
const BUSY_MS = 600_000;

test(
  'a small run of all suites: each in one form, every figure a number, and ours right in each',
  async () => {
    const small = { ...SMALL, peers: [...SMALL.peers] };
    const result = await runAll(
      {
        hits: { turns: 1, turnMs: 20 },
        near: { ...ALL.near, turns: 1, turnMs: 20, readers: [1] },
        writes: { ...ALL.writes, ...small, writers: [1] },
        contention: { ...ALL.contention, ...small, callers: [1], ways: ['update'] },
        plans: { ...ALL.plans, sizes: [100], feed: 100 },
        relay: { ...ALL.relay, turns: 1, pool: 4, changes: 1_200 },
        bulk: { rows: 100, turns: 1 },
        stampede: { ...ALL.stampede, ...small, readers: 8, processes: [1] },
        mix: { ...ALL.mix, ...small, callers: 4, reads: [50], skews: [0.9] },
        misses: { ...ALL.misses, ...small, readers: [1], rowsOf: () => 10 },
        production: { ...ALL.production, ...small, callers: 4, mixes: PRODUCTION_MIXES.slice(5, 6) },
        transactions: { ...ALL.transactions, ...small, callers: [1] },
        payloads: { ...ALL.payloads, ...small, callers: 4, sizes: [10_000] },
        sizes: { ...ALL.sizes, ...small, callers: 4, sizes: [1_000] },
        processes: { ...ALL.processes, ...small, callers: 4, processes: [1] },
        memory: { ...ALL.memory, ...small, sizes: [300] },
        costs: { ...ALL.costs, ...small, callers: 4, once: 10, operations: ['put', 'delete'] },
        log: { ...ALL.log, ...small, calls: 20 },
        idle: { ms: 100 },
      },
      ALL_SUITES,
      () => undefined,
    );
    expect(Object.keys(result)).toEqual([
      ...['reads', 'getMany', 'near', 'writes', 'contention', 'plans', 'relay', 'bulk', 'stampede', 'mix'],
      ...[
        'misses',
        'production',
        'transactions',
        'payloads',
        'sizes',
        'processes',
        'memory',
        'costs',
        'log',
        'idle',
      ],
    ]);
    for (const [suite, section] of Object.entries(result)) {
      expect(Object.keys(section), suite).toEqual(
        expect.arrayContaining(['ours', 'peers', 'limit', 'ratio']),
      );
      const { limit, ours, peers, ratio } = section;
      expect(Object.keys(ours), suite).not.toEqual([]);
      // Differences of two samples (memory, processor time of ten milliseconds, sizes of tables) may be none at all.
      const least = ['memory', 'costs', 'log'].includes(suite) ? Number.NEGATIVE_INFINITY : 0;
      for (const each of [ours, ...[peers, limit].flatMap((side) => Object.values(side))]) {
        for (const [name, figure] of Object.entries(each)) {
          expect(figure, `${suite}: ${name}`).not.toBeNaN();
          expect(figure, `${suite}: ${name}`).toBeGreaterThanOrEqual(least);
        }
      }
      if (least !== 0) continue;
      for (const each of Object.values(ratio)) {
        for (const [name, figure] of Object.entries(each))
          expect(figure, `${suite}: ${name}`).toBeGreaterThanOrEqual(0);
      }
    }
    expect(result.plans?.ours['beyond the limit']).toBe(0);
    expect(result.mix?.ours['stale keys']).toBe(0);
    expect(result.production?.ours['stale keys']).toBe(0);
    expect(result.stampede?.ours['loads, 1 × 8 readers']).toBe(1);
    expect(result.log?.ours['log: put, 1 writer']).toBeGreaterThan(0);
  },
  BUSY_MS,
);
