import type { Random } from '@lockstep/torture';

/** Draws an index with the probability that its weight has of all weights, in constant time. */
export type WeightedDraw = (random: Random) => number;

/**
 * Walker's alias method (Vose's construction). Weights are finite and not negative, at least one is
 * positive; anything else throws `RangeError`.
 */
export function weightedDraw(weights: ArrayLike<number>): WeightedDraw {
  const size = weights.length;
  let total = 0;
  for (let i = 0; i < size; i += 1) {
    const weight = weights[i] ?? 0;
    if (!(weight >= 0 && Number.isFinite(weight))) throw new RangeError(`weightedDraw: weight ${weight}`);
    total += weight;
  }
  if (total <= 0) throw new RangeError('weightedDraw: no positive weight');
  const threshold = new Float64Array(size);
  const alias = new Uint32Array(size);
  const small: number[] = [];
  const large: number[] = [];
  for (let i = 0; i < size; i += 1) {
    threshold[i] = ((weights[i] ?? 0) * size) / total;
    ((threshold[i] ?? 0) < 1 ? small : large).push(i);
  }
  for (;;) {
    const less = small.pop();
    const more = less === undefined ? undefined : large.pop();
    if (less === undefined || more === undefined) {
      // Rounding leaves a few without a partner; their share is theirs alone.
      for (const rest of [...small, ...large, ...(less === undefined ? [] : [less])]) threshold[rest] = 1;
      break;
    }
    alias[less] = more;
    threshold[more] = (threshold[more] ?? 0) + (threshold[less] ?? 0) - 1;
    ((threshold[more] ?? 0) < 1 ? small : large).push(more);
  }
  return (random) => {
    const scaled = random() * size;
    const index = Math.floor(scaled);
    return scaled - index < (threshold[index] ?? 1) ? index : (alias[index] ?? index);
  };
}
