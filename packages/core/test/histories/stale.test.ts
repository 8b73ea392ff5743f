import { describe, expect, test } from 'vitest';
import { searchIn } from './search.js';
import { STALE_CONTROLS } from './stale-controls.js';
import { runStaleWorld } from './stale-world.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 60);
const CONTROL_RUNS = 400;
const TIMEOUT_MS = 120_000 + RUNS * 50;

describe('histories of a store that is away for a while', { timeout: TIMEOUT_MS }, () => {
  test.for([
    { name: 'with faults and evictions', faults: 0.02 },
    { name: 'on a good network', faults: 0 },
  ])('what expired is served only then, and nothing that was invalidated, $name', async ({ faults }) => {
    expect(await searchIn((seed) => runStaleWorld({ seed, faults }), RUNS)).toBeUndefined();
  });

  test.for(STALE_CONTROLS)('a missing rule is caught: $name', async ({ sees, world }) => {
    const run = async (seed: number): Promise<string[]> =>
      (await runStaleWorld({ seed, ...world })).filter((problem) => sees.test(problem));
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});
