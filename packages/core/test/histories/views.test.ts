import { describe, expect, test } from 'vitest';
import { searchIn } from './search.js';
import { repeatsTags, VIEWS_CONTROLS } from './views-controls.js';
import { runViewsWorld } from './views-world.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 400);
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 100;

describe('histories of views', { timeout: TIMEOUT_MS }, () => {
  for (const crowded of [false, true]) {
    const who = crowded ? 'a crowd at one list' : 'some clients';
    test(`G2, G5 hold with faults and evictions, ${who}`, async () => {
      expect(await searchIn((seed) => runViewsWorld({ seed, crowded }), RUNS)).toBeUndefined();
    });
    test(`G2, G5 hold on a good network, ${who}`, async () => {
      expect(await searchIn((seed) => runViewsWorld({ seed, crowded, faults: 0 }), RUNS)).toBeUndefined();
    });
  }

  test('G2, G5 hold where tags are asked for twice', async () => {
    const run = (seed: number): Promise<string[]> => runViewsWorld({ seed, cacheOf: repeatsTags });
    expect(await searchIn(run, RUNS)).toBeUndefined();
  });

  test.for(VIEWS_CONTROLS)('a rule taken out is caught: $name', async ({ change, world }) => {
    using _ = change?.();
    expect(await searchIn((seed) => runViewsWorld({ ...world(), seed }), CONTROL_RUNS)).toBeDefined();
  });
});
