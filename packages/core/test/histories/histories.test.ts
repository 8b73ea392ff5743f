import { describe, expect, test } from 'vitest';
import { LATE_MUTANTS } from './late-mutants.js';
import { MUTANTS } from './mutants.js';
import { naive } from './naive.js';
import { search } from './search.js';

/** Histories per world: `LOCKSTEP_HISTORIES=100000` for a night, `LOCKSTEP_SEED=239` to replay one. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 400);
/** These take longer. */
const LATE_RUNS = Math.ceil(RUNS / 4);
/** Seeds in which a missing rule must show. */
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 50;

const LATE = { consistency: 'strict', evicts: false, late: true } as const;

const SIZES = [
  { size: 'some clients', crowded: false },
  { size: 'a crowd at one key', crowded: true },
];

describe.for(SIZES)(
  'histories under a deterministic scheduler, $size',
  { timeout: TIMEOUT_MS },
  ({ crowded }) => {
    test('G1, G2, G3, G5 hold with write-through, faults and evictions', async () => {
      expect(await search({ crowded }, RUNS)).toBeUndefined();
    });
    test('G1, G2, G3, G5 hold with write-through on a good network', async () => {
      expect(await search({ crowded, faults: 0 }, RUNS)).toBeUndefined();
    });
    test('G1, G2, G3, G5 hold with cache-aside', async () => {
      expect(await search({ crowded, strategy: 'cache-aside' }, RUNS)).toBeUndefined();
    });
    test('G1, G2, G3, G5 hold with a lagging replica', async () => {
      expect(await search({ crowded, replica: true, evicts: false }, RUNS)).toBeUndefined();
    });
    test('G1, G2, G3, G5 hold with sessions that keep a snapshot', async () => {
      expect(await search({ crowded, snapshots: 'refuse' }, RUNS)).toBeUndefined();
    });
    test('G2, G7 hold with strict', async () => {
      expect(await search({ crowded, consistency: 'strict', evicts: false }, RUNS)).toBeUndefined();
    });
    test('G2, G7 hold with strict while statements and commits come late', async () => {
      expect(await search({ crowded, ...LATE }, LATE_RUNS)).toBeUndefined();
    });
    test('G2, G7 hold with strict while the cache restarts, empty, and all comes late', async () => {
      expect(await search({ crowded, ...LATE, restarts: true }, LATE_RUNS)).toBeUndefined();
    });
    test('G2 holds for a store without versions', async () => {
      expect(await search({ crowded, versioned: false, evicts: false }, RUNS)).toBeUndefined();
    });
  },
);

describe('negative controls', { timeout: TIMEOUT_MS }, () => {
  test('the naive pattern (commit, then SET) is caught', async () => {
    expect(await search({ application: naive, faults: 0 }, CONTROL_RUNS)).toBeDefined();
  });
  test('a row that stays below a tombstone which a snapshot hides is caught', async () => {
    expect(await search({ crowded: true, snapshots: 'hide' }, CONTROL_RUNS)).toBeDefined();
  });
  test.for(LATE_MUTANTS)('rule 7 taken out is caught: $name', async ({ world }) => {
    expect(await search({ crowded: true, ...LATE, ...world }, CONTROL_RUNS)).toBeDefined();
  });
  test.for(MUTANTS)('rule $rule taken out is caught: $name', async ({ apply, world }) => {
    expect(await search({ crowded: true, ...world, apply }, CONTROL_RUNS)).toBeDefined();
  });
});
