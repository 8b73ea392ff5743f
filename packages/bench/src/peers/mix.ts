import { type Product, product } from '../bursts/product.js';
import { TURN_MS, turn } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundedSide, type GroundOptions, openGrounds } from './ground.js';
import { turnsOf } from './stampede.js';
import { zipf } from './zipf.js';

export interface MixOptions extends GroundOptions {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: number;
  /** Of a hundred calls: how many read. */
  readonly reads: readonly number[];
  /** How uneven keys are asked for: the exponent of Zipf's law. */
  readonly skews: readonly number[];
}

export const MIX: MixOptions = {
  ...GROUND,
  turns: 3,
  turnMs: TURN_MS,
  callers: 64,
  reads: [99, 90, 50],
  skews: [0.9, 1.2],
};

export interface MixResult {
  readonly cases: Readonly<Record<string, CaseResult>>;
  /** Keys whose cached row differed from the table's when nobody wrote any more, of each side, over all turns. */
  readonly stale: Readonly<Record<string, number>>;
}

/** Readers and writers of one table at once, keys by Zipf's law; and what the cache holds when they are done. */
export async function runMix(options: MixOptions, progress: (line: string) => void): Promise<MixResult> {
  const grounds = await openGrounds(options);
  const stale: Record<string, number> = Object.fromEntries(
    Object.keys(grounds.sides).map((name) => [name, 0]),
  );
  const cases: Record<string, CaseResult> = {};
  try {
    for (const skew of options.skews) {
      const keyOf = zipf(options.products, skew);
      for (const reads of options.reads) {
        const turns = turnsOf(grounds.sides);
        for (let round = 0; round <= options.turns; round++) {
          const names = Object.keys(grounds.sides);
          for (const name of round % 2 === 0 ? names : names.toReversed()) {
            const side = grounds.sides[name] as GroundedSide;
            const { perSecond, written } = await mixed(side, options, reads, keyOf, round);
            if (round === 0) continue;
            turns[name]?.figures.push(perSecond);
            stale[name] = (stale[name] ?? 0) + (await differing(side, written));
          }
        }
        const key = `${reads}:${100 - reads}, Zipf ${skew}`;
        cases[key] = caseOf('calls/s', 'more', turns);
        progress(tableOf(key, cases[key]));
      }
    }
  } finally {
    await grounds.close();
  }
  progress(`stale keys afterwards: ${JSON.stringify(stale)}`);
  return { cases, stale };
}

async function mixed(
  side: GroundedSide,
  { callers, turnMs }: MixOptions,
  reads: number,
  keyOf: (n: number) => number,
  round: number,
): Promise<{ readonly perSecond: number; readonly written: ReadonlySet<string> }> {
  const written = new Set<string>();
  const { perSecond } = await turn(callers, { ms: turnMs }, async (n) => {
    const id = String(keyOf(n + round * 1_000_003));
    // Spread evenly, the same for every side.
    if ((n * 61) % 100 < reads) return await side.get(id);
    written.add(id);
    const row: Product = { ...product(Number(id)), stock: n };
    return await side.put(row);
  });
  return { perSecond, written };
}

/** What a reader gets, beside what the table has, of every key that was written. */
async function differing(side: GroundedSide, written: ReadonlySet<string>): Promise<number> {
  let count = 0;
  for (const id of written) {
    const [cached, stored] = await Promise.all([side.get(id), side.stock(id)]);
    if (cached?.stock !== stored) count += 1;
  }
  return count;
}
