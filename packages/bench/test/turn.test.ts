import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { median, turn } from '../src/bursts/turn.js';

test('the median is the middle value, or the mean of the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});

test('a turn makes every call once, with as many under way as there are writers', async () => {
  const calls: number[] = [];
  let underWay = 0;
  let most = 0;
  const result = await turn(4, { calls: 100 }, async (n) => {
    most = Math.max(most, ++underWay);
    await Promise.resolve();
    calls.push(n);
    underWay--;
  });
  expect(calls.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(most).toBe(4);
  expect(result.calls).toBe(100);
  expect(result.perSecond).toBeGreaterThan(0);
});

test('a turn ends with its time, and counts what it began', async () => {
  let calls = 0;
  const result = await turn(4, { ms: 20 }, async () => {
    calls++;
    await setImmediate();
  });
  expect(result.calls).toBe(calls);
  expect(calls).toBeGreaterThan(4);
  const none = await turn(4, { ms: 0 }, () => Promise.reject(new Error('not to be called')));
  expect(none.calls).toBe(0);
});
