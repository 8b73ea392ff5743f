import { describe, expect, test } from 'vitest';
import type { Reservation } from '../../src/write/reservation.js';
import { ValueHints } from '../../src/write/value-hints.js';

const ASKED: Reservation = { above: 0, token: 't', intent: false, aheadMs: 0 };
const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `key-${i}`);

describe('hints of values', () => {
  test('a hint says the highest version that was set', () => {
    const hints = new ValueHints();
    expect(hints.get('a')).toBeUndefined();
    hints.set('a', 8, ASKED);
    hints.set('a', 4, ASKED);
    expect(hints.get('a')).toMatchObject({ above: 8, token: undefined, intent: false, aheadMs: 0 });
    hints.set('a', 12, ASKED);
    expect(hints.get('a')?.above).toBe(12);
  });

  test('a writer that got the hint raises it, unless it is gone', () => {
    const hints = new ValueHints();
    hints.set('a', 4, ASKED);
    const reservation = hints.get('a') ?? ASKED;
    hints.set('a', 8, reservation);
    hints.set('a', 6, reservation);
    expect(hints.get('a')?.above).toBe(8);
    hints.delete('a');
    hints.set('a', 12, reservation);
    expect(hints.get('a')).toBeUndefined();
  });

  test('a deleted hint is gone, also when it was about to be forgotten', () => {
    const hints = new ValueHints();
    hints.set('a', 4, ASKED);
    for (const key of keys(20_000)) hints.set(key, 4, ASKED);
    hints.delete('a');
    hints.delete('key-5');
    expect(hints.get('a')).toBeUndefined();
    expect(hints.get('key-5')).toBeUndefined();
    expect(hints.get('key-6')?.above).toBe(4);
  });

  test('the last 20,000 keys are remembered, and never more than twice as many', () => {
    const hints = new ValueHints();
    const all = keys(100_000);
    for (const key of all) hints.set(key, 4, ASKED);
    const known = all.filter((key) => hints.get(key) !== undefined);
    expect(known.slice(-20_000)).toEqual(all.slice(-20_000));
    expect(known.length).toBeLessThanOrEqual(40_000);
  });

  test('a key in use is remembered, however many others come', () => {
    const hints = new ValueHints();
    hints.set('a', 4, ASKED);
    const lost = keys(100_000).filter((key) => {
      hints.set(key, 4, ASKED);
      return hints.get('a')?.above !== 4;
    });
    expect(lost).toEqual([]);
  });
});
