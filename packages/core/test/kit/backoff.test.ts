import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/faults/manual-clock.js';
import { Backoff, backoffMs } from '../../src/kit/backoff.js';
import { Deadline } from '../../src/kit/wait.js';
import { turns } from '../support/shop.js';

const take = (backoff: Backoff, count: number): number[] =>
  Array.from({ length: count }, () => backoff.nextMs());

describe('a back-off', () => {
  test('grows by its factor up to its last pause, and starts again when told', () => {
    const backoff = new Backoff({ firstMs: 10, lastMs: 70, jitter: 0 });
    expect(take(backoff, 5)).toEqual([10, 20, 40, 70, 70]);
    backoff.reset();
    expect(take(backoff, 2)).toEqual([10, 20]);
    expect(take(new Backoff({ firstMs: 1, lastMs: 100, factor: 10, jitter: 0 }), 4)).toEqual([
      1, 10, 100, 100,
    ]);
    // Whoever counts failures on their own gets the same, however many there were.
    const options = { firstMs: 10, lastMs: 70, jitter: 0 };
    expect([1, 2, 3, 4, 5_000].map((failures) => backoffMs(failures, options))).toEqual([10, 20, 40, 70, 70]);
    expect(take(new Backoff({ firstMs: 50, lastMs: 20, jitter: 0 }), 2)).toEqual([20, 20]);
  });

  test('property: a pause is never longer than its longest, nor shorter than jitter allows', () => {
    const options = fc.record({
      firstMs: fc.integer({ min: 1, max: 1_000 }),
      lastMs: fc.integer({ min: 1, max: 10_000 }),
      factor: fc.double({ min: 1, max: 4, noNaN: true }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(options, fc.array(fc.double({ min: 0, max: 0.999, noNaN: true })), (given, randoms) => {
        const next = [...randoms];
        const backoff = new Backoff({ ...given, random: () => next.shift() ?? 0 });
        const { factor, firstMs, jitter, lastMs } = given;
        for (let tries = 0; tries < randoms.length; tries++) {
          const longestMs = Math.min(firstMs * factor ** tries, lastMs) * (1 + 1e-9);
          const ms = backoff.nextMs();
          expect(ms).toBeLessThanOrEqual(longestMs);
          expect(ms).toBeGreaterThanOrEqual((longestMs / (1 + 1e-6)) * (1 - jitter));
        }
      }),
    );
  });

  test('is at least half of its longest pause, and not always the same, unless told otherwise', () => {
    const pauses = take(new Backoff({ firstMs: 100, lastMs: 100 }), 100);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(100);
    expect(new Set(pauses).size).toBeGreaterThan(1);
  });

  test('waits by the clock, and no longer than until its signal aborts', async () => {
    const clock = manualClock();
    const backoff = new Backoff({ clock, firstMs: 10, lastMs: 100, jitter: 0 });
    let over = 0;
    const wait = (signal?: AbortSignal): void => void backoff.wait(signal).then(() => over++);
    wait();
    clock.advance(9);
    await turns();
    expect(over).toBe(0);
    clock.advance(1);
    await turns();
    expect(over).toBe(1);
    const ending = new AbortController();
    wait(ending.signal);
    ending.abort();
    await turns();
    expect(over).toBe(2);
    expect(clock.pending).toBe(0);
  });

  test('before a deadline waits only where the pause is over by then', async () => {
    const clock = manualClock();
    const deadline = new Deadline({ clock, timeoutMs: 35, late: () => new Error('late') });
    const backoff = new Backoff({ clock, firstMs: 10, lastMs: 100, jitter: 0 });
    const tries: Promise<boolean>[] = [];
    tries.push(backoff.waitWithin(deadline));
    clock.advance(10);
    tries.push(backoff.waitWithin(deadline));
    clock.advance(20);
    tries.push(backoff.waitWithin(deadline));
    expect(await Promise.all(tries)).toEqual([true, true, false]);
    expect(clock.pending).toBe(0);
  });
});
