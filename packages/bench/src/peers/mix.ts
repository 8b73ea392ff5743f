import { TURN_MS } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { type Calls, differing, mixed } from './traffic.js';
import { figuresInTurns } from './turns.js';
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
  const stale: Record<string, number> = {};
  for (const name of Object.keys(grounds.sides)) stale[name] = 0;
  const cases: Record<string, CaseResult> = {};
  try {
    for (const skew of options.skews) {
      const keyOf = zipf(options.products, skew);
      for (const reads of options.reads) {
        const calls: Calls = { get: reads, put: 100 - reads };
        const turns = await figuresInTurns(grounds.sides, options.turns, async (side, round, name) => {
          const { perSecond, written } = await mixed(side, {
            ...options,
            calls,
            keyOf,
            round,
            row: grounds.row,
          });
          stale[name] = (stale[name] ?? 0) + (await differing(side, written));
          return perSecond;
        });
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
