import { TURN_MS } from '../bursts/turn.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import type { MixResult } from './mix.js';
import { type Calls, differing, mixed } from './traffic.js';
import { figuresInTurns } from './turns.js';
import { zipf } from './zipf.js';

/** One cluster of caches in production, as its operators have measured it over a week. */
export interface ProductionMix {
  readonly name: string;
  readonly calls: Calls;
  /** The exponent of Zipf's law. */
  readonly skew: number;
  readonly valueBytes: number;
  /** The most common one. */
  readonly ttlS: number;
}

const [MINUTE, DAY] = [60, 86_400];

/**
 * Ten of the 54 clusters that Twitter has published (March 2020; Yang, Yue and Rashmi, OSDI '20; the figures are those of
 * `stat/2020Mar.md` in github.com/twitter/cache-trace, CC BY 4.0): each differs from the others by what it reads and
 * writes, how uneven its keys are asked for, by size or by time to live. `set`, `add`, `cas` and `prepend` are puts.
 */
export const PRODUCTION_MIXES: readonly ProductionMix[] = [
  { name: 'cluster 2', calls: { get: 100, put: 0 }, skew: 1.49, valueBytes: 68, ttlS: 4 * DAY },
  { name: 'cluster 8', calls: { get: 50, put: 50 }, skew: 1.74, valueBytes: 9_497, ttlS: 23 * MINUTE },
  { name: 'cluster 12', calls: { get: 20, put: 80 }, skew: 0.3, valueBytes: 1_030, ttlS: 5 * MINUTE },
  {
    name: 'cluster 14',
    calls: { get: 65, put: 13, remove: 22 },
    skew: 1.3,
    valueBytes: 414,
    ttlS: DAY,
  },
  { name: 'cluster 15', calls: { get: 0, put: 100 }, skew: 0.02, valueBytes: 102, ttlS: 30 },
  {
    name: 'cluster 23',
    calls: { get: 37, put: 31, increment: 30, remove: 2 },
    skew: 0.27,
    valueBytes: 224,
    ttlS: 2 * MINUTE,
  },
  { name: 'cluster 25', calls: { get: 96, put: 4 }, skew: 0.99, valueBytes: 28, ttlS: 30 * DAY },
  { name: 'cluster 37', calls: { get: 63, put: 37 }, skew: 0.43, valueBytes: 20_134, ttlS: 20 },
  { name: 'cluster 50', calls: { get: 52, put: 48 }, skew: 1.28, valueBytes: 67_485, ttlS: 15 * MINUTE },
  { name: 'cluster 52', calls: { get: 93, put: 7 }, skew: 1.21, valueBytes: 273, ttlS: DAY },
];

export interface ProductionOptions extends Omit<GroundOptions, 'products' | 'ttlS' | 'valueBytes'> {
  readonly turns: number;
  readonly turnMs: number;
  readonly callers: number;
  readonly mixes: readonly ProductionMix[];
}

export const PRODUCTION: ProductionOptions = {
  ...GROUND,
  peers: ['by hand', 'bentocache'],
  turns: 3,
  turnMs: TURN_MS,
  callers: 64,
  mixes: PRODUCTION_MIXES,
};

/** What all rows of a table take at most. */
const TABLE_BYTES = 20_000_000;

/** The mixes of production, one after the other, on tables of their own; and what is stale when all is done. */
export async function runProduction(
  { mixes, ...options }: ProductionOptions,
  progress: (line: string) => void,
): Promise<MixResult> {
  const cases: Record<string, CaseResult> = {};
  const stale: Record<string, number> = {};
  for (const { calls, name: mix, skew, ttlS, valueBytes } of mixes) {
    const products = Math.min(GROUND.products, Math.floor(TABLE_BYTES / valueBytes));
    const grounds = await openGrounds({ ...options, products, valueBytes, ttlS });
    const keyOf = zipf(products, skew);
    try {
      const turns = await figuresInTurns(grounds.sides, options.turns, async (side, round, name) => {
        const traffic = { ...options, calls, keyOf, round, row: grounds.row };
        const { perSecond, written } = await mixed(side, traffic);
        stale[name] = (stale[name] ?? 0) + (await differing(side, written));
        return perSecond;
      });
      cases[mix] = caseOf('calls/s', 'more', turns);
      progress(tableOf(mix, cases[mix]));
    } finally {
      await grounds.close();
    }
  }
  progress(`stale keys afterwards: ${JSON.stringify(stale)}`);
  return { cases, stale };
}
