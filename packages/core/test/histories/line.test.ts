import { describe, expect, test, vi } from 'vitest';
import { RowToUpdate } from '../../src/collection/row-to-update.js';
import { runLineWorld } from './line-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Math.ceil(Number(process.env['LOCKSTEP_HISTORIES'] ?? 400) / 2);
const CONTROL_RUNS = 300;
const TIMEOUT_MS = 120_000 + RUNS * 500;

describe('histories of callers that change one row', { timeout: TIMEOUT_MS }, () => {
  test('every change is in the row, once, where its caller was told', async () => {
    expect(await searchIn((seed) => runLineWorld({ seed }), RUNS)).toBeUndefined();
  });

  test('so it is on a good network', async () => {
    expect(await searchIn((seed) => runLineWorld({ seed, faults: 0 }), RUNS)).toBeUndefined();
  });

  test('so it is in a strict collection', async () => {
    const run = (seed: number): Promise<string[]> => runLineWorld({ seed, consistency: 'strict' });
    expect(await searchIn(run, RUNS)).toBeUndefined();
  });

  test('so it is where the row can’t be locked', async () => {
    const run = (seed: number): Promise<string[]> =>
      runLineWorld({
        seed,
        storeOf: (store) => ({ ...store, capabilities: { ...store.capabilities, locks: false } }),
      });
    expect(await searchIn(run, RUNS)).toBeUndefined();
  });

  test('a version of a row that was passed, and holds as a condition, is caught', async () => {
    const run = (seed: number): Promise<string[]> =>
      runLineWorld({
        seed,
        // The statement's own version: to the engine one more than what it tells.
        told: (result) => (result.coalesced ? { ...result, version: result.version + 1 } : result),
      });
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });

  test('a change that drops a function is caught', async () => {
    const { foreseen } = RowToUpdate.prototype;
    using _ = vi.spyOn(RowToUpdate.prototype, 'foreseen').mockImplementation(async function (
      this: RowToUpdate<unknown>,
      before,
      after,
    ) {
      // The next function gets the row as it was before this one.
      return (await foreseen.call(this, before, after)) === undefined ? undefined : before;
    });
    expect(await searchIn((seed) => runLineWorld({ seed }), CONTROL_RUNS)).toBeDefined();
  });

  test('a change without a condition is caught', async () => {
    const run = (seed: number): Promise<string[]> =>
      runLineWorld({
        seed,
        storeOf: (store) => ({
          ...store,
          write: (commands, options) =>
            store.write(
              commands.map((command) => {
                if (command.kind !== 'patch') return command;
                const { ifVersion: _, ...blind } = command;
                return blind;
              }),
              options,
            ),
        }),
      });
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});
