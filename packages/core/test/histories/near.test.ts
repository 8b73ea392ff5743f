import { describe, expect, test, vi } from 'vitest';
import { KeyChanges } from '../../src/near/changes.js';
import { NearEntries } from '../../src/near/entries.js';
import { NearWatch } from '../../src/near/watch.js';
import { countedAtAnswers, lateReplies, messagesAlone, tagsNotedLate, unordered } from './near-controls.js';
import { type NearWorldOptions, runNearWorld } from './near-world.js';
import { searchIn } from './search.js';
import { type NearLists, runViewsWorld, type ViewsWorldOptions } from './views-world.js';

/** As in `histories.test.ts`. */
const RUNS = Number(process.env['LOCKSTEP_HISTORIES'] ?? 40);
const CONTROL_RUNS = 600;
const TIMEOUT_MS = 120_000 + RUNS * 100;

const within = (options: Omit<NearWorldOptions, 'seed'>) => (seed: number) =>
  runNearWorld({ seed, ...options });

const withLateReplies = (seed: number): Promise<string[]> =>
  runNearWorld({ seed, faults: 0, ...lateReplies() });

describe('histories of near entries', { timeout: TIMEOUT_MS }, () => {
  test.for([
    { name: 'channels that break, evictions and restarts', faults: 0.01 },
    { name: 'channels that are slow alone', faults: 0 },
  ])('no read is older than the bound allows: $name', async ({ faults }) => {
    const from = new Map<string, number>();
    const onRead = (each: string): void => void from.set(each, (from.get(each) ?? 0) + 1);
    expect(await searchIn(within({ faults, onRead }), RUNS)).toBeUndefined();
    expect(from.get('near')).toBeGreaterThan(5 * RUNS);
    expect(from.get('cache')).toBeGreaterThan(RUNS);
  });

  test('no read is older than the bound allows: replies that are overtaken by messages', async () => {
    expect(await searchIn(withLateReplies, RUNS)).toBeUndefined();
  });

  test('a message that is lost unseen is caught', async () => {
    const tells: NearWorldOptions['tells'] = (_, scheduler) => !scheduler.chance(0.3);
    expect(await searchIn(within({ tells, faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a ping whose answer does not come behind the changes before it is caught', async () => {
    expect(await searchIn(within({ cacheOf: unordered, faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a ping that is counted at its answer is caught', async () => {
    const run = async (seed: number): Promise<string[]> => {
      using counted = countedAtAnswers();
      const holds = { chance: 0.2, maxMs: 300 };
      return await runNearWorld({ seed, faults: 0, holds, cacheTimeoutMs: 300, onClock: counted.use });
    };
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });

  test('a reply that is stored though its key changed while it was under way is caught', async () => {
    const store = NearEntries.prototype.store;
    using _ = vi.spyOn(NearEntries.prototype, 'store').mockImplementation(function (
      this: NearEntries<unknown>,
      key,
      mark,
      ...found
    ) {
      store.call(this, key, this.mark(key) ?? mark, ...found);
    });
    expect(await searchIn(withLateReplies, CONTROL_RUNS)).toBeDefined();
  });

  test('a channel whose break is not told is caught', async () => {
    using _ = vi.spyOn(NearWatch.prototype, 'lost').mockReturnValue();
    expect(await searchIn(within({ faults: 0.06 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a write that its own process sees with the message alone is caught', async () => {
    const run = async (seed: number): Promise<string[]> => {
      using messages = messagesAlone();
      return await runNearWorld({ seed, faults: 0, cacheOf: messages.cacheOf });
    };
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});

/** As `within`, of views' near entries. */
const views =
  (near: NearLists, options: Omit<ViewsWorldOptions, 'seed' | 'near'> = {}) =>
  (seed: number) =>
    runViewsWorld({ seed, near, ...options });

describe('histories of near entries of views', { timeout: TIMEOUT_MS }, () => {
  test.for([
    { name: 'channels that break, evictions and restarts', faults: 0.01 },
    { name: 'channels that are slow alone', faults: 0 },
  ])('no list is older than the bound allows: $name', async ({ faults }) => {
    const from = { near: 0, beyond: 0 };
    const onRead: NearLists['onRead'] = (each) => void from[each]++;
    expect(await searchIn(views({ onRead }, { faults }), RUNS)).toBeUndefined();
    expect(from.near).toBeGreaterThan(5 * RUNS);
    expect(from.beyond).toBeGreaterThan(RUNS);
  });

  test('a message that is lost unseen is caught', async () => {
    // A list that is loaded anew elsewhere makes up for a lost message, and soon is.
    const tells: NearLists['tells'] = (_, chance) => !chance(0.9);
    expect(await searchIn(views({ tells }, { faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a channel that hangs, whose ping is answered all the same, is caught', async () => {
    expect(await searchIn(views({}, { cacheOf: unordered, faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a change of a tag that is not looked at is caught', async () => {
    using _ = vi.spyOn(KeyChanges.prototype, 'areAt').mockReturnValue(true);
    expect(await searchIn(views({}, { faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a reply that is stored though a tag changed while it was under way is caught', async () => {
    using _ = tagsNotedLate();
    expect(await searchIn(views({}, { faults: 0 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a channel whose break is not told is caught', async () => {
    using _ = vi.spyOn(NearWatch.prototype, 'lost').mockReturnValue();
    expect(await searchIn(views({}, { faults: 0.06 }), CONTROL_RUNS)).toBeDefined();
  });

  test('a write that its own process sees with the message alone is caught', async () => {
    const run = async (seed: number): Promise<string[]> => {
      using messages = messagesAlone();
      return await runViewsWorld({ seed, faults: 0, near: {}, cacheOf: messages.cacheOf });
    };
    expect(await searchIn(run, CONTROL_RUNS)).toBeDefined();
  });
});
