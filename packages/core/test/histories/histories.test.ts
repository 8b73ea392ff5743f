import { describe, expect, test } from 'vitest';
import { MUTANTS } from './mutants.js';
import { naive } from './naive.js';
import { search } from './search.js';

/** Histories per world: `LOCKSTEP_HISTORIES=100000` for a night, `LOCKSTEP_SEED=239` to replay one. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 600);
/** Seeds in which a missing rule must show. */
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 50;

describe('histories under a deterministic scheduler', { timeout: TIMEOUT_MS }, () => {
  test('G1, G2, G3, G5 hold with write-through, faults and evictions', async () => {
    expect(await search({}, RUNS)).toBeUndefined();
  });
  test('G1, G2, G3, G5 hold with write-through on a good network', async () => {
    expect(await search({ faults: 0 }, RUNS)).toBeUndefined();
  });
  test('G1, G2, G3, G5 hold with cache-aside', async () => {
    expect(await search({ strategy: 'cache-aside' }, RUNS)).toBeUndefined();
  });
  test('G1, G2, G3, G5 hold with a lagging replica', async () => {
    expect(await search({ replica: true, evicts: false }, RUNS)).toBeUndefined();
  });
  test('G2, G7 hold with strict', async () => {
    expect(await search({ consistency: 'strict', evicts: false }, RUNS)).toBeUndefined();
  });
  test('G2 holds for a store without versions', async () => {
    expect(await search({ versioned: false, evicts: false }, RUNS)).toBeUndefined();
  });
});

describe('negative controls', { timeout: TIMEOUT_MS }, () => {
  test('the naive pattern (commit, then SET) is caught', async () => {
    expect(await search({ application: naive, faults: 0 }, CONTROL_RUNS)).toBeDefined();
  });
  test.for(MUTANTS)('rule $rule taken out is caught: $name', async ({ apply, world }) => {
    expect(await search({ ...world, apply }, CONTROL_RUNS)).toBeDefined();
  });
});
