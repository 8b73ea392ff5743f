import type { Product } from '../bursts/product.js';
import { turn } from '../bursts/turn.js';
import type { GroundedSide } from './ground.js';
import type { Side } from './side.js';

/** Of a hundred calls: how many of each kind. */
export interface Calls {
  readonly get: number;
  readonly put: number;
  readonly increment?: number;
  readonly remove?: number;
}

export interface Traffic {
  readonly calls: Calls;
  readonly callers: number;
  readonly turnMs: number;
  readonly keyOf: (n: number) => number;
  readonly row: (n: number) => Product;
  /** Another part of the sequence of keys for each round. */
  readonly round: number;
}

/** Calls of several kinds at once, in an order that is the same for every side. */
export async function mixed(
  side: Side,
  { callers, calls, keyOf, round, row, turnMs }: Traffic,
): Promise<{ readonly perSecond: number; readonly written: ReadonlySet<string> }> {
  const written = new Set<string>();
  const { get, increment = 0, put } = calls;
  const { perSecond } = await turn(callers, { ms: turnMs }, async (n) => {
    const key = keyOf(n + round * 1_000_003);
    const id = String(key);
    // Spread evenly.
    const kind = (n * 61) % 100;
    if (kind < get) return await side.get(id);
    written.add(id);
    if (kind < get + put) return await side.put({ ...row(key), stock: n });
    // As in an application: a row that somebody has just removed is written anew.
    if (kind < get + put + increment) {
      return await side.increment(id).catch((error: unknown) => {
        if (!isNoRow(error)) throw error;
      });
    }
    return await side.delete(id);
  });
  return { perSecond, written };
}

function isNoRow(error: unknown): boolean {
  return error instanceof Error && 'noRow' in error && error.noRow === true;
}

/** Of the keys that were written: how many a reader gets otherwise than the table has them. */
export async function differing(side: GroundedSide, written: ReadonlySet<string>): Promise<number> {
  let count = 0;
  for (const id of written) {
    const [cached, stored] = await Promise.all([side.get(id), side.table.load(id)]);
    if (cached?.stock !== stored?.stock) count += 1;
  }
  return count;
}
