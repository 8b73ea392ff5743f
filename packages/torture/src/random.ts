import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** A seeded source of numbers, 0 <= n < 1: two sources of one seed give the same numbers. */
export type Random = () => number;

/** Makes a source; `stream` separates sources that share a run's seed. */
export function seededRandom(seed: number, stream = 0): Random {
  // Neighbouring seeds start alike in this generator, so that they are spread over the whole range first.
  const generator = xoroshiro128plus(
    Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35),
  );
  for (let i = 0; i < 16; i += 1) generator.next();
  return () => uniformFloat64(generator);
}

/** A whole number, `min <= n <= max`. */
export function randomInt(random: Random, min: number, max: number): number {
  return min + Math.floor(random() * (max - min + 1));
}

/** An element of a list that is not empty. */
export function randomChoice<T>(random: Random, list: readonly T[]): T {
  const chosen = list[Math.floor(random() * list.length)];
  if (chosen === undefined) throw new RangeError('randomChoice: the list is empty');
  return chosen;
}

/** The numbers 0 to `length - 1` in a seeded order (Fisher and Yates). */
export function shuffledIndexes(length: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  for (let i = length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    const kept = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = kept;
  }
  return order;
}
