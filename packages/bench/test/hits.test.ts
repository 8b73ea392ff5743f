import { expect, test } from 'vitest';
import { CASES, runHits } from '../src/hits.js';

test('the suite of hits has a figure of either side for every case', async () => {
  const result = await runHits({ turns: 1, turnMs: 20 }, () => undefined);
  for (const kind of ['reads', 'getMany'] as const) {
    expect(Object.keys(result[kind])).toEqual(CASES[kind].map(({ name }) => name));
    for (const { limit, ours, ratio } of Object.values(result[kind])) {
      for (const { high, low, median } of [limit, ours, ratio]) {
        for (const figure of [low, median, high]) expect(figure).toBeGreaterThan(0);
      }
    }
  }
});
