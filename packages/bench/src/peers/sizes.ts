import { turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { coldRows, missing } from './misses.js';
import { figuresInTurns } from './turns.js';

export interface SizesOptions extends Omit<GroundOptions, 'products'> {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: number;
  /** Rows of the tables. */
  readonly sizes: readonly number[];
}

export const SIZES: SizesOptions = {
  ...GROUND,
  peers: ['by hand'],
  limit: true,
  turns: 3,
  turnMs: 500,
  callers: 32,
  sizes: [10_000, 100_000, 1_000_000],
};

/** Rows that a turn reads for the first time. */
const MISSES = 1_000;

/** Misses, hits and puts on tables of any length: keys all over the table. */
export async function runSizes(
  { callers, sizes, turnMs, turns, ...ground }: SizesOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const result: Record<string, CaseResult> = {};
  for (const products of sizes) {
    const grounds = await openGrounds({ ...ground, products });
    // A stride that shares no factor with the number of rows. Keys of puts and hits are among those that were missed.
    const misses = Math.min(MISSES, Math.floor(products / (2 * (turns + 1))));
    const stride = Math.max(1, Math.floor(products / (misses * (turns + 2))));
    const idOf = (n: number): string => String((n * stride) % products);
    try {
      const cold = coldRows();
      const miss = await figuresInTurns(grounds.sides, turns, async (side) => {
        const spread = { ...side, get: (n: string) => side.get(idOf(Number(n))) };
        const { perSecond } = await missing(spread, callers, misses, (_, count) => cold(side, count));
        return perSecond;
      });
      const known = misses * (turns + 1);
      const of = (call: 'get' | 'put') =>
        figuresInTurns(grounds.sides, turns, async (side) => {
          const { perSecond } = await turn(callers, { ms: turnMs }, (n) => {
            const key = (1 + ((n * 7_919) % known)) * stride;
            return call === 'get'
              ? side.get(String(key % products))
              : side.put({ ...grounds.row(key % products), stock: n });
          });
          return perSecond;
        });
      for (const [name, measured] of [
        ['misses', miss],
        ['hits', await of('get')],
        ['puts', await of('put')],
      ] as const) {
        const key = `${name}, ${products.toLocaleString('en')} rows`;
        result[key] = caseOf('rows/s', 'more', measured);
        progress(tableOf(key, result[key]));
      }
    } finally {
      await grounds.close();
    }
  }
  return result;
}
