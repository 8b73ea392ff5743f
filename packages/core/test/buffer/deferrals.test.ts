import { expect, test } from 'vitest';
import { Deferrals } from '../../src/buffer/deferrals.js';
import { manualClock } from '../../src/faults/index.js';

function open() {
  const clock = manualClock();
  const others = new Set<string>();
  const deferrals = new Deferrals(clock, async (key) => [...others].some((other) => other !== key));
  const refused = (key: string, last = deferrals.isLast(key, 1)): Promise<boolean> =>
    deferrals.isFinal(key, 1, last);
  return { clock, others, deferrals, refused };
}

test('a refusal counts only for a try that began when no other write was left', async () => {
  const { clock, deferrals, others, refused } = open();
  others.add('giver');
  expect(await refused('taker')).toBe(false);
  await clock.advance(2_500);
  expect(await refused('taker')).toBe(false);
  // Begun before the giver was flushed, refused before it, and told after it.
  const begun = deferrals.isLast('taker', 1);
  others.delete('giver');
  expect(await refused('taker', begun)).toBe(false);
  expect(await refused('taker', begun)).toBe(false);
  expect(deferrals.isLast('taker', 1)).toBe(true);
  expect(deferrals.isLast('taker', 2)).toBe(false);
  expect(await refused('taker')).toBe(true);
});

test('one that waits for another that waits is tried again behind both', async () => {
  const { clock, others, refused } = open();
  for (const key of ['second', 'third']) {
    others.add(key);
    expect(await refused(key)).toBe(false);
  }
  await clock.advance(2_500);
  for (let tries = 0; tries < 3; tries++) expect(await refused('third')).toBe(false);
});

test('what waits for each other ends as refusals', async () => {
  const { clock, others, refused } = open();
  for (const key of ['a', 'b']) {
    others.add(key);
    expect(await refused(key)).toBe(false);
  }
  await clock.advance(30_500);
  expect(await refused('a')).toBe(true);
  expect(await refused('b')).toBe(true);
});
