import { expect, test } from 'vitest';
import { runContention, WAYS } from '../src/contention.js';

test('the suite of one hot row has every case, and no change is lost', async () => {
  const callers = [1, 16];
  const result = await runContention({ turns: 1, callers, ways: WAYS, turnMs: 50, pool: 4 }, () => undefined);
  const names = WAYS.flatMap((way) => callers.map((count) => `${way} ${count}`));
  expect(Object.keys(result.ratio)).toEqual(names);
  expect(Object.keys(result.sides)).toEqual(names);
  for (const name of names) {
    expect(result.ratio[name]).toBeGreaterThan(0);
    for (const side of [result.sides[name]?.ours, result.sides[name]?.theirs]) {
      for (const figure of Object.values(side ?? {})) expect(figure).toBeGreaterThan(0);
    }
  }
  expect(result.failed).toEqual({ ours: 0, theirs: 0 });
  expect(result.lost).toEqual({ ours: 0, theirs: 0 });
});
