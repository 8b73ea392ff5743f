import { TURN_MS, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { warm } from './processes.js';
import { figuresInTurns } from './turns.js';

export interface PayloadsOptions extends Omit<GroundOptions, 'products' | 'valueBytes'> {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: number;
  /** Bytes of a row as JSON. */
  readonly sizes: readonly number[];
}

export const PAYLOADS: PayloadsOptions = {
  ...GROUND,
  peers: ['by hand', 'bentocache'],
  limit: true,
  turns: 3,
  turnMs: TURN_MS,
  callers: 32,
  sizes: [300, 10_000, 100_000],
};

/** What all rows of a table take at most. */
const TABLE_BYTES = 10_000_000;

/** Hits and puts of small, middling and large rows. */
export async function runPayloads(
  { callers, sizes, turnMs, turns, ...ground }: PayloadsOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const result: Record<string, CaseResult> = {};
  for (const valueBytes of sizes) {
    const products = Math.min(GROUND.products, Math.floor(TABLE_BYTES / valueBytes));
    const grounds = await openGrounds({ ...ground, products, valueBytes });
    const keyOf = (n: number) => (n * 7_919) % products;
    try {
      await warm(Object.values(grounds.sides), products);
      for (const kind of ['hits', 'puts'] as const) {
        const measured = await figuresInTurns(grounds.sides, turns, async (side) => {
          const { perSecond } = await turn(callers, { ms: turnMs }, (n) =>
            kind === 'hits' ? side.get(String(keyOf(n))) : side.put({ ...grounds.row(keyOf(n)), stock: n }),
          );
          return perSecond;
        });
        const key = `${kind}, ${valueBytes < 1_000 ? `${valueBytes} B` : `${valueBytes / 1_000} kB`}`;
        result[key] = caseOf('rows/s', 'more', measured);
        progress(tableOf(key, result[key]));
      }
    } finally {
      await grounds.close();
    }
  }
  return result;
}
