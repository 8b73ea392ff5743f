import { turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundedSide, type GroundOptions, openGrounds } from './ground.js';
import { figuresInTurns } from './turns.js';

export interface MissesOptions extends Omit<GroundOptions, 'products'> {
  readonly turns: number;
  readonly readers: readonly number[];
  /** Rows that each turn reads, by the number of readers; no row is read a second time. */
  readonly rowsOf: (readers: number) => number;
}

export const MISSES: MissesOptions = {
  ...GROUND,
  limit: true,
  turns: 5,
  readers: [1, 256],
  rowsOf: (readers) => (readers === 1 ? 400 : 3_000),
};

/** Reads of rows that nobody has read before: from the table, and into the cache. */
export async function runMisses(
  { readers, rowsOf, turns, ...ground }: MissesOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const products = 1 + readers.reduce((sum, count) => sum + (turns + 1) * rowsOf(count), 0);
  const grounds = await openGrounds({ ...ground, products });
  const result: Record<string, CaseResult> = {};
  try {
    const cold = coldRows();
    for (const count of readers) {
      const calls = rowsOf(count);
      const measured = await figuresInTurns(grounds.sides, turns, async (side) => {
        const { p50Ms, perSecond } = await missing(side, count, calls, cold);
        return count === 1 ? p50Ms : perSecond;
      });
      const key = `miss, ${count} ${count === 1 ? 'reader' : 'readers'}`;
      result[key] = count === 1 ? caseOf('ms', 'less', measured) : caseOf('rows/s', 'more', measured);
      progress(tableOf(key, result[key]));
    }
  } finally {
    await grounds.close();
  }
  return result;
}

/** The first of so many rows that a side has not read yet. Row 0 was read when it was opened. */
export function coldRows(): (side: object, count: number) => number {
  const next = new WeakMap<object, number>();
  return (side, count) => {
    const from = next.get(side) ?? 1;
    next.set(side, from + count);
    return from;
  };
}

/** A turn of misses only, which is checked. */
export async function missing(
  side: GroundedSide,
  readers: number,
  calls: number,
  cold: (side: object, count: number) => number,
) {
  const from = cold(side, calls);
  side.takeLoads();
  const measured = await turn(readers, { calls }, (n) => side.get(String(from + n)));
  const loads = side.takeLoads();
  if (loads !== calls) throw new Error(`${calls} misses were ${loads} loads`);
  return measured;
}
