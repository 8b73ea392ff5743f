import { describe, expect, test, vi } from 'vitest';
import { Deferrals } from '../../src/buffer/deferrals.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { StoreRefusedError } from '../../src/errors.js';
import { type Named, runOrderWorld } from './order-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Math.ceil(Number(process.env['LOCKSTEP_HISTORIES'] ?? 400) / 2);
const CONTROL_RUNS = 200;
const TIMEOUT_MS = 120_000 + RUNS * 500;

/** The store says of each refusal that no other row's write may lift it. */
function final(store: StoreAdapter<Named>): StoreAdapter<Named> {
  return {
    ...store,
    async write(commands, options) {
      const outcomes = await store.write(commands, options);
      return outcomes.map((outcome) =>
        outcome.kind === 'failed' && outcome.error instanceof StoreRefusedError
          ? { ...outcome, error: new StoreRefusedError(outcome.error.message) }
          : outcome,
      );
    },
  };
}

describe('histories of buffered writes that other rows’ writes allow', { timeout: TIMEOUT_MS }, () => {
  test('what was acknowledged in a valid order arrives, whatever the order of the flushes (G9)', async () => {
    expect(await searchIn((seed) => runOrderWorld({ seed }), RUNS)).toBeUndefined();
  });

  test('a refusal that counts at once is caught', async () => {
    const run = (seed: number): Promise<string[]> => runOrderWorld({ seed, adapt: final });
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });

  test('a refusal that counts after a while, whatever is left unflushed, is caught', async () => {
    using _ = vi.spyOn(Deferrals.prototype, 'isLast').mockReturnValue(true);
    expect(await searchIn((seed) => runOrderWorld({ seed }), CONTROL_RUNS)).toBeDefined();
  });
});
