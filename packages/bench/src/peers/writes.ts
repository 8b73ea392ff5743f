import { product } from '../bursts/product.js';
import { TURN_MS, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundedSide, type GroundOptions, openGrounds } from './ground.js';
import { turnsOf } from './stampede.js';

export interface WritesOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  readonly writers: readonly number[];
}

export const WRITES: WritesOptions = { ...GROUND, turns: 5, turnMs: TURN_MS, writers: [1, 256] };

export type WritesResult = Readonly<Record<string, CaseResult>>;

/** Rows into the table and the cache: one writer's median latency, many writers' writes a second. */
export async function runWrites(
  { turnMs, turns, writers, ...ground }: WritesOptions,
  progress: (line: string) => void,
): Promise<WritesResult> {
  const grounds = await openGrounds(ground);
  const result: Record<string, CaseResult> = {};
  try {
    for (const count of writers) {
      const measured = turnsOf(grounds.sides);
      for (let round = 0; round <= turns; round++) {
        const names = Object.keys(grounds.sides);
        for (const name of round % 2 === 0 ? names : names.toReversed()) {
          const side = grounds.sides[name] as GroundedSide;
          const { p50Ms, perSecond } = await turn(count, { ms: turnMs }, (n) =>
            side.put({ ...product((n * 7_919) % ground.products), stock: n }),
          );
          if (round > 0) measured[name]?.figures.push(count === 1 ? p50Ms : perSecond);
        }
      }
      const key = `put, ${count} ${count === 1 ? 'writer' : 'writers'}`;
      result[key] = count === 1 ? caseOf('ms', 'less', measured) : caseOf('writes/s', 'more', measured);
      progress(tableOf(key, result[key]));
    }
  } finally {
    await grounds.close();
  }
  return result;
}
