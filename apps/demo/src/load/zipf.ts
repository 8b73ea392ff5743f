import { type WeightedDraw, weightedDraw } from './alias.js';

/**
 * Ranks 0 to `count - 1` by Zipf's law: rank r is drawn in proportion to 1 / (r + 1) ** exponent. An
 * exponent of 0 draws all alike. Throws `RangeError` for a count below 1 or a negative exponent.
 */
export function zipfDraw(count: number, exponent: number): WeightedDraw {
  if (!(Number.isInteger(count) && count >= 1)) throw new RangeError(`zipfDraw: count ${count}`);
  if (!(exponent >= 0 && Number.isFinite(exponent))) throw new RangeError(`zipfDraw: exponent ${exponent}`);
  const weights = new Float64Array(count);
  for (let rank = 0; rank < count; rank += 1) weights[rank] = (rank + 1) ** -exponent;
  return weightedDraw(weights);
}
