import { describe, expect, test } from 'vitest';
import { LOOKUP_MUTANTS } from './lookups-controls.js';
import { runLookupsWorld } from './lookups-world.js';
import { searchIn } from './search.js';

const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 100);
const CONTROL_RUNS = 400;
const TIMEOUT_MS = 120_000 + RUNS * 100;

describe('histories of rows that are found by a unique value', { timeout: TIMEOUT_MS }, () => {
  test('G2, G5 hold while the value goes from row to row', async () => {
    expect(await searchIn((seed) => runLookupsWorld({ seed }), RUNS)).toBeUndefined();
  });
  test('G2, G5 hold on a network that loses much', async () => {
    expect(await searchIn((seed) => runLookupsWorld({ seed, faults: 0.1 }), RUNS)).toBeUndefined();
  });
  test.for(LOOKUP_MUTANTS)('a missing rule is caught: $name', async ({ world }) => {
    expect(await searchIn((seed) => runLookupsWorld({ seed, ...world }), CONTROL_RUNS)).toBeDefined();
  });
});
