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

/**
 * The other sides, all on ioredis: its `GET`, or `MGET`, and `JSON.parse`; the same with `enableAutoPipelining`; and
 * gets of one tick in one `MGET`, with nothing around them.
 */
export const OTHERS = {
  reads: ['the bare client', 'autopipelined', 'MGET of a tick'],
  getMany: ['the bare client'],
} as const satisfies Record<keyof typeof CASES, readonly OtherSide[]>;

export type OtherSide = 'the bare client' | 'autopipelined' | 'MGET of a tick';

/** One case: medians of each side's turns, and ours ÷ the others', turn by turn. */
export interface Measured {
  readonly unit: 'ms' | 'rows/s';
  readonly ours: Spread;
  readonly others: Readonly<Partial<Record<OtherSide, { readonly figure: Spread; readonly ratio: Spread }>>>;
}

/** By the names of {@link CASES}. */
export type HitsResult = Readonly<Record<keyof typeof CASES, Readonly<Record<string, Measured>>>>;

/** Hits of one row and of many, against the bare client on the same server, in turns that change places. */
export async function runHits(options: HitsOptions, progress: (line: string) => void): Promise<HitsResult> {
  const bench = await readBench();
  const measuredOf = async (kind: keyof typeof CASES): Promise<Record<string, Measured>> => {
    const all: Record<string, Measured> = {};
    for (const each of CASES[kind]) {
      const measured = await measure(bench, each, OTHERS[kind], options);
      all[each.name] = measured;
      progress(textOf(each.name, measured));
    }
    return all;
  };
  try {
    return { reads: await measuredOf('reads'), getMany: await measuredOf('getMany') };
  } finally {
    await bench.close();
  }
}

async function measure(
  bench: ReadBench,
  { callers, latency, rows }: Case,
  others: readonly OtherSide[],
  { turnMs, turns }: HitsOptions,
): Promise<Measured> {
  const calls: Readonly<Record<'ours' | OtherSide, (n: number) => Promise<unknown>>> = {
    ours: (n) => (rows === 1 ? bench.ours(n) : bench.oursMany(n, rows)),
    'the bare client': (n) => (rows === 1 ? bench.theirs(n) : bench.theirsMany(n, rows)),
    autopipelined: bench.piped,
    'MGET of a tick': bench.batched,
  };
  const sides = ['ours', ...others] as const;
  const figures = new Map(sides.map((side) => [side, [] as number[]]));
  for (let round = 0; round <= turns; round++) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const { p50Ms, perSecond } = await turn(callers, { ms: turnMs }, calls[side]);
      // The first round warms up.
      if (round > 0) figures.get(side)?.push(latency === true ? p50Ms : perSecond * rows);
    }
  }
  const ours = figures.get('ours') ?? [];
  const beside = others.map((side) => {
    const theirs = figures.get(side) ?? [];
    return [
      side,
      { figure: spread(theirs), ratio: spread(ours.map((each, i) => each / (theirs[i] as number))) },
    ];
  });
  return { unit: latency === true ? 'ms' : 'rows/s', ours: spread(ours), others: Object.fromEntries(beside) };
}

/** The median, and the quartiles, of values that come in any order. */
function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN;
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

function textOf(name: string, { others, ours, unit }: Measured): string {
  const digits = unit === 'ms' ? 3 : 0;
  const text = ({ high, low, median }: Spread, places: number): string =>
    `${median.toFixed(places)} (${low.toFixed(places)} to ${high.toFixed(places)})`;
  const beside = Object.entries(others).map(
    ([side, { figure, ratio }]) => `  ${side}: ${text(figure, digits)}, ratio ${text(ratio, 2)}`,
  );
  return [`${name}: ours ${text(ours, digits)} ${unit}`, ...beside].join('\n');
}
