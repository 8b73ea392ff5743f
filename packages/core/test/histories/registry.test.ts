import { describe, expect, test } from 'vitest';
import { REGISTRY_MUTANTS } from './registry-controls.js';
import { runRegistryWorld } from './registry-world.js';
import { searchIn } from './search.js';

const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 100);
const CONTROL_RUNS = 400;
const TIMEOUT_MS = 120_000 + RUNS * 100;

describe('histories of several collections on one table', { timeout: TIMEOUT_MS }, () => {
  test('G2, G5 hold through all of them, one of which is declared late', async () => {
    expect(await searchIn((seed) => runRegistryWorld({ seed }), RUNS)).toBeUndefined();
  });
  test('G2, G5 hold with a relay that does not hear of the late one', async () => {
    expect(await searchIn((seed) => runRegistryWorld({ seed, deafRelay: true }), RUNS)).toBeUndefined();
  });
  test('G5 holds after a failover, with a process that goes on with the old primary', async () => {
    expect(await searchIn((seed) => runRegistryWorld({ seed, split: true }), RUNS)).toBeUndefined();
  });
  test('G5 holds with a cache that was filled before the first record', async () => {
    expect(await searchIn((seed) => runRegistryWorld({ seed, filled: true }), RUNS)).toBeUndefined();
  });
  test('G5 holds with a relay that starts after all writes, and after a failover', async () => {
    const late = { lateRelay: true };
    expect(await searchIn((seed) => runRegistryWorld({ seed, ...late }), RUNS)).toBeUndefined();
    const split = { ...late, split: true };
    expect(await searchIn((seed) => runRegistryWorld({ seed, ...split }), RUNS)).toBeUndefined();
  });
  test.for(REGISTRY_MUTANTS)('a missing rule is caught: $name', async ({ adapt, change, world }) => {
    const changed = change?.();
    // Some make a world that never comes to its end, which tells nothing.
    const run = (seed: number) =>
      runRegistryWorld({ ...world, seed, ...(adapt && { adapt }) }).catch(() => []);
    const found = await searchIn(run, CONTROL_RUNS);
    changed?.mockRestore();
    expect(found).toBeDefined();
  });
});
