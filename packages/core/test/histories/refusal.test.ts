import { describe, expect, test } from 'vitest';
import type { CacheProbe } from '../../src/contracts/cache.js';
import { runRefusalWorld } from './refusal-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Math.ceil(Number(process.env['LOCKSTEP_HISTORIES'] ?? 400) / 10);
const CONTROL_RUNS = 200;
const TIMEOUT_MS = 120_000 + RUNS * 500;

describe('histories of a cache that answers reads and refuses writes', { timeout: TIMEOUT_MS }, () => {
  test('no read returns what was replaced longer ago than the bound', async () => {
    expect(await searchIn((seed) => runRefusalWorld({ seed }), RUNS)).toBeUndefined();
  });

  test('hits that are believed without proof are caught', async () => {
    const nowMs = Number.MAX_SAFE_INTEGER / 2_000;
    const proof: ReadonlyMap<string, CacheProbe> = new Map([['', { generation: undefined, nowMs }]]);
    const run = (seed: number): Promise<string[]> =>
      runRefusalWorld({ seed, adapt: (cache) => ({ ...cache, probe: async () => proof }) });
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});
