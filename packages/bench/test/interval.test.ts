import { expect, test } from 'vitest';
import { ratioInterval } from '../src/compare/interval.js';

test('equal pairs have the ratio 1 and no doubt', () => {
  expect(
    ratioInterval([
      [2, 2],
      [3, 3],
      [5, 5],
    ]),
  ).toEqual({ ratio: 1, low: 1, high: 1 });
});

test("the interval is Student's t of the logarithms, whatever the machine's speed at each pair", () => {
  // Logarithms 0, ln 2, ln 4: mean ln 2, standard error ln 2 / √3, t(0.975, 2) = 4.3027.
  const { high, low, ratio } = ratioInterval([
    [10, 10],
    [20, 40],
    [1, 4],
  ]);
  const margin = (4.3027 * Math.LN2) / Math.sqrt(3);
  expect(ratio).toBeCloseTo(2, 9);
  expect(low).toBeCloseTo(2 * Math.exp(-margin), 5);
  expect(high).toBeCloseTo(2 * Math.exp(margin), 5);
});
