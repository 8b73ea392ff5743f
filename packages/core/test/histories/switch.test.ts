import { beforeEach, describe, expect, test, vi } from 'vitest';
import { runBufferWorld } from './buffer-world.js';
import { search, searchIn } from './search.js';
import { leavesAlone, readsOn } from './switch-controls.js';

const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 150);
/** Seeds in which a missing rule must show. */
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 50;

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});

describe('histories of caches that are switched off and on', { timeout: TIMEOUT_MS }, () => {
  const switches = true;

  test.for([
    { name: 'write-through', world: {} },
    { name: 'a good network', world: { faults: 0 } },
    { name: 'cache-aside', world: { strategy: 'cache-aside' } },
    { name: 'strict', world: { consistency: 'strict', evicts: false } },
    { name: 'a store without versions', world: { versioned: false, evicts: false } },
    { name: 'a replica that lags', world: { replica: true, evicts: false } },
  ] as const)('$name: off, reads see what the store has; on, G1 to G5 hold at once', async ({ world }) => {
    expect(await search({ ...world, switches }, RUNS)).toBeUndefined();
  });

  test('the buffer: off, reads see what was unflushed; on, G2, G5, G9 hold at once', async () => {
    expect(await searchIn((seed) => runBufferWorld({ seed, switches, faults: 0 }), RUNS)).toBeUndefined();
    expect(await searchIn((seed) => runBufferWorld({ seed, switches }), RUNS)).toBeUndefined();
  });

  test.for([
    { name: 'off, it reads from the cache', application: readsOn, sees: /^off: read of/m },
    { name: 'off, its writes leave the cache alone', application: leavesAlone, sees: /^G[25]/m },
  ])('a control fails: $name', async ({ application, sees }) => {
    const finding = await search({ switches, faults: 0, application }, CONTROL_RUNS);
    expect(finding?.problems.join('\n')).toMatch(sees);
  });

  test('a control fails: off, it reads the store without what is unflushed', async () => {
    const world = { switches, faults: 0, readUnflushed: true };
    const finding = await searchIn((seed) => runBufferWorld({ ...world, seed }), CONTROL_RUNS);
    expect(finding?.problems.join('\n')).toContain('G2');
  });
});
