import { describe, expect, test } from 'vitest';
import { ROW_TAGS_CONTROLS } from './row-tags-controls.js';
import { runRowTagsWorld } from './row-tags-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 400);
const FEWER_RUNS = Math.ceil(RUNS / 4);
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 100;

describe('histories of tagged rows', { timeout: TIMEOUT_MS }, () => {
  for (const crowded of [false, true]) {
    const who = crowded ? 'a crowd at one row' : 'some clients';
    test(`no row that was ended is read again, with faults and evictions, ${who}`, async () => {
      expect(
        await searchIn((seed) => runRowTagsWorld({ seed, crowded }), crowded ? FEWER_RUNS : RUNS),
      ).toBeUndefined();
    });
  }

  test('nor one of a strict collection', async () => {
    expect(await searchIn((seed) => runRowTagsWorld({ seed, strict: true }), FEWER_RUNS)).toBeUndefined();
  });

  test.for(ROW_TAGS_CONTROLS)('a rule taken out is caught: $name', async ({ change, world }) => {
    using _ = change?.();
    expect(await searchIn((seed) => runRowTagsWorld({ ...world(), seed }), CONTROL_RUNS)).toBeDefined();
  });
});
