import { expect, test } from 'vitest';
import { CASES, OTHERS, runHits } from '../src/hits.js';

test('the suite of hits has a figure of every side for every case', async () => {
  const result = await runHits({ turns: 1, turnMs: 20 }, () => undefined);
  for (const kind of ['reads', 'getMany'] as const) {
    expect(Object.keys(result[kind])).toEqual(CASES[kind].map(({ name }) => name));
    for (const { others, ours } of Object.values(result[kind])) {
      expect(Object.keys(others)).toEqual([...OTHERS[kind]]);
      const spreads = [ours, ...Object.values(others).flatMap(({ figure, ratio }) => [figure, ratio])];
      for (const { high, low, median } of spreads) {
        for (const figure of [low, median, high]) expect(figure).toBeGreaterThan(0);
      }
    }
  }
});
