import { describe, expect, test } from 'vitest';
import { runMajorityWorld } from './majority-world.js';
import { searchIn } from './search.js';

const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 400);
const CONTROL_RUNS = 3_000;

describe('histories of a store whose readers see a write later than its writers', {
  timeout: 120_000 + RUNS * 50,
}, () => {
  test.each([0, 0.02])(
    'G2, G3 hold, and no condition passes over a write, with faults %d',
    async (faults) => {
      expect(await searchIn((seed) => runMajorityWorld({ seed, faults }), RUNS)).toBeUndefined();
    },
  );

  test.each([['share the version'], ['passed over']])(
    'own statements that are told by what readers see are caught: rows %s',
    async (problem) => {
      const control = async (seed: number): Promise<string[]> =>
        (await runMajorityWorld({ seed, looksAt: 'majority' })).filter((each) => each.includes(problem));
      expect(await searchIn(control, CONTROL_RUNS)).toBeDefined();
    },
  );
});
