import { describe, expect, test, vi } from 'vitest';
import { NearEntries } from '../../src/near/entries.js';
import { ROW_TAGS_CONTROLS } from './row-tags-controls.js';
import { runRowTagsWorld } from './row-tags-world.js';
import { searchIn } from './search.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 400);
const FEWER_RUNS = Math.ceil(RUNS / 4);
const CONTROL_RUNS = 3_000;
const TIMEOUT_MS = 120_000 + RUNS * 100;

const keepList = NearEntries.prototype.keepList;

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

  test('nor one that is near, or whose list is, behind the bound', async () => {
    const from = new Map<string, number>();
    const onRead = (each: string): void => void from.set(each, (from.get(each) ?? 0) + 1);
    expect(await searchIn((seed) => runRowTagsWorld({ seed, near: { onRead } }), FEWER_RUNS)).toBeUndefined();
    expect(from.get('near')).toBeGreaterThan(FEWER_RUNS);
    expect(from.get('cache')).toBeGreaterThan(FEWER_RUNS);
  });

  test('a change of the list that nobody is told of is caught', async () => {
    const near = {
      tells: (key: string, chance: (probability: number) => boolean) =>
        !key.endsWith('%t:ended') || chance(0.3),
    };
    expect(await searchIn((seed) => runRowTagsWorld({ seed, near, faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a list that was replaced while it was read is caught', async () => {
    using _ = vi.spyOn(NearEntries.prototype, 'keepList').mockImplementation(function (
      this: NearEntries<unknown>,
      _mark,
      list,
    ) {
      keepList.call(this, this.mark('') ?? _mark, list);
    });
    expect(
      await searchIn((seed) => runRowTagsWorld({ seed, near: {}, faults: 0 }), CONTROL_RUNS),
    ).toBeDefined();
  });

  test.for(ROW_TAGS_CONTROLS)('a rule taken out is caught: $name', async ({ change, world }) => {
    using _ = change?.();
    expect(await searchIn((seed) => runRowTagsWorld({ ...world(), seed }), CONTROL_RUNS)).toBeDefined();
  });
});
