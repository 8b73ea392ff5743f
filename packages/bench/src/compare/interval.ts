/** How many times as much `after` costs as `before`: the mean of the pairs' ratios, and where it lies with 95 % confidence. */
export interface RatioInterval {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Student's t at 97.5 %, from one degree of freedom on: any textbook's table. */
const T_975: readonly number[] = [
  12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788, 2.1604,
  2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555,
  2.0518, 2.0484, 2.0452, 2.0423,
];

/** The fewest and the most pairs that an interval is made of. */
export const PAIRS = { min: 2, max: T_975.length + 1 } as const;

/**
 * The geometric mean of paired ratios with its 95 % confidence interval (Student's t on their logarithms). A
 * pair was measured side by side, so that what both share (the machine's speed at that time) drops out. `NaN` beyond
 * {@link PAIRS}.
 */
export function ratioInterval(pairs: readonly (readonly [before: number, after: number])[]): RatioInterval {
  const logs = pairs.map(([before, after]) => Math.log(after / before));
  const count = logs.length;
  const mean = logs.reduce((sum, log) => sum + log, 0) / count;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (count - 1);
  const margin = (T_975[count - 2] ?? Number.NaN) * Math.sqrt(variance / count);
  return { ratio: Math.exp(mean), low: Math.exp(mean - margin), high: Math.exp(mean + margin) };
}
