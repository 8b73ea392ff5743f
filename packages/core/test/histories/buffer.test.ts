import { describe, expect, test } from 'vitest';
import { CONTROLS } from './buffer-controls.js';
import { runBufferWorld } from './buffer-world.js';
import { searchIn } from './search.js';

const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 600);
/** Seeds in which a missing rule must show. */
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 50;

describe('histories of the buffer under a deterministic scheduler', { timeout: TIMEOUT_MS }, () => {
  test('G2, G5, G9 hold with faults, crashes, evictions and clocks that are apart', async () => {
    expect(await searchIn((seed) => runBufferWorld({ seed }), RUNS)).toBeUndefined();
  });
  test('G2, G5, G9 hold on a good network', async () => {
    expect(await searchIn((seed) => runBufferWorld({ seed, faults: 0 }), RUNS)).toBeUndefined();
  });
  test('G2, G5, G9 hold where the clocks are further apart than a call may take', async () => {
    const world = { cacheTimeoutMs: 10, faults: 0.05 };
    expect(await searchIn((seed) => runBufferWorld({ ...world, seed }), RUNS)).toBeUndefined();
  });
  test.for(CONTROLS)('taken out, a rule is missed: $name', async ({ world }) => {
    expect(await searchIn((seed) => runBufferWorld({ ...world, seed }), CONTROL_RUNS)).toBeDefined();
  });
});
