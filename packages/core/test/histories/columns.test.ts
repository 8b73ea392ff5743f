import { describe, expect, test } from 'vitest';
import { COLUMNS_CONTROLS } from './columns-controls.js';
import { runColumnsWorld } from './columns-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 60);
const CONTROL_RUNS = 400;
const TIMEOUT_MS = 120_000 + RUNS * 50;

describe('histories of rows that are patched and created', { timeout: TIMEOUT_MS }, () => {
  test.for([
    { name: 'with faults and evictions', world: {} },
    { name: 'on a good network', world: { faults: 0 } },
    { name: 'where the store tells keys once it has inserted', world: { inserts: true } },
  ])('G2, G5 hold for each column, $name', async ({ world }) => {
    expect(await searchIn((seed) => runColumnsWorld({ seed, ...world }), RUNS)).toBeUndefined();
  });

  test.for(COLUMNS_CONTROLS)('a missing rule is caught: $name', async ({ world }) => {
    expect(await searchIn((seed) => runColumnsWorld({ seed, ...world }), CONTROL_RUNS)).toBeDefined();
  });
});
