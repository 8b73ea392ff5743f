import { TURN_MS, turn } from './bursts/turn.js';
import { type ReadBench, readBench } from './reads.js';

/** One way to read, and what it is measured by. */
interface Case {
  readonly name: string;
  readonly callers: number;
  /** Rows of each call. */
  readonly rows: number;
  /** The median latency, where less is better; otherwise the rows of a second, where more is. */
  readonly latency?: boolean;
}

/** What is read by `get`, and what by `getMany`. */
export const CASES = {
  reads: [
    { name: '1 reader', callers: 1, rows: 1, latency: true },
    { name: '256 readers', callers: 256, rows: 1 },
  ],
  getMany: [
    { name: '50 keys, 1 caller', callers: 1, rows: 50 },
    { name: '50 keys, 32 callers', callers: 32, rows: 50 },
  ],
} as const satisfies Record<string, readonly Case[]>;

export interface HitsOptions {
  readonly turns: number;
  readonly turnMs: number;
}

export const HITS: HitsOptions = { turns: 15, turnMs: TURN_MS / 4 };

/** A median over the turns, and the quartiles around it. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** One case: medians of each side's turns, and ours ÷ the limit's, turn by turn. */
export interface Measured {
  readonly unit: 'ms' | 'rows/s';
  readonly ours: Spread;
  /** The bare client's `GET`, or `MGET`, and `JSON.parse`. */
  readonly limit: Spread;
  readonly ratio: Spread;
}

/** By the names of {@link CASES}. */
export type HitsResult = Readonly<Record<keyof typeof CASES, Readonly<Record<string, Measured>>>>;

/** Hits of one row and of many, against the bare client on the same server, in turns that change places. */
export async function runHits(options: HitsOptions, progress: (line: string) => void): Promise<HitsResult> {
  const bench = await readBench();
  const measuredOf = async (cases: readonly Case[]): Promise<Record<string, Measured>> => {
    const all: Record<string, Measured> = {};
    for (const each of cases) {
      const measured = await measure(bench, each, options);
      all[each.name] = measured;
      progress(lineOf(each.name, measured));
    }
    return all;
  };
  try {
    return { reads: await measuredOf(CASES.reads), getMany: await measuredOf(CASES.getMany) };
  } finally {
    await bench.close();
  }
}

async function measure(bench: ReadBench, each: Case, { turnMs, turns }: HitsOptions): Promise<Measured> {
  const { callers, latency, rows } = each;
  const call = {
    ours: (n: number) => (rows === 1 ? bench.ours(n) : bench.oursMany(n, rows)),
    limit: (n: number) => (rows === 1 ? bench.theirs(n) : bench.theirsMany(n, rows)),
  };
  const sides = { ours: [] as number[], limit: [] as number[] };
  for (let round = 0; round <= turns; round++) {
    for (const side of round % 2 === 0 ? (['ours', 'limit'] as const) : (['limit', 'ours'] as const)) {
      const { p50Ms, perSecond } = await turn(callers, { ms: turnMs }, call[side]);
      // The first round warms up.
      if (round > 0) sides[side].push(latency === true ? p50Ms : perSecond * rows);
    }
  }
  const ratios = sides.ours.map((ours, i) => ours / (sides.limit[i] as number));
  const unit = latency === true ? 'ms' : 'rows/s';
  return { unit, ours: spread(sides.ours), limit: spread(sides.limit), ratio: spread(ratios) };
}

/** The median, and the quartiles, of values that come in any order. */
function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN;
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

function lineOf(name: string, { limit, ours, ratio, unit }: Measured): string {
  const digits = unit === 'ms' ? 3 : 0;
  const text = ({ high, low, median }: Spread, places: number): string =>
    `${median.toFixed(places)} (${low.toFixed(places)} to ${high.toFixed(places)})`;
  return `${name}: ratio ${text(ratio, 2)}; ours ${text(ours, digits)} ${unit}, limit ${text(limit, digits)}`;
}
