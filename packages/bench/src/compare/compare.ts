import { cp, mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RatioInterval, ratioInterval } from './interval.js';
import { Side } from './side.js';
import type { SuiteName } from './suites.js';

export interface CompareOptions {
  /** The folder of the other checkout, built. */
  readonly before: string;
  readonly suites: readonly SuiteName[];
  /** A word that a scenario's name must have; empty: all are measured. */
  readonly only: string;
  readonly pairs: number;
  /** Measured turns of each side of a pair, for each scenario. */
  readonly turns: number;
  /** How long each turn goes on. */
  readonly turnMs: number;
  /** The most that a figure may be worse, in per cent. */
  readonly limitPercent: number;
}

/** One figure of both checkouts: processor time per call, in µs (medians would hide a drift: these are the pairs). */
export interface Compared extends RatioInterval {
  readonly pairs: readonly (readonly [before: number, after: number])[];
  /** True where the whole interval lies beyond the limit. */
  readonly worse: boolean;
}

const DIST = fileURLToPath(new URL('..', import.meta.url));

/**
 * Measures this checkout ("after") and another ("before"), by the same benchmark: this one's, which is copied beside the
 * other's for the time being. A pair is two processes, which take short turns: what else the machine does meets both.
 */
export async function compare(
  { before, limitPercent, only, pairs, suites, turnMs, turns }: CompareOptions,
  progress: (line: string) => void,
): Promise<Record<string, Compared>> {
  const theirs = await beside(before);
  const measured: Record<string, [number, number][]> = {};
  try {
    for (const suite of suites) {
      for (let pair = 0; pair < pairs; pair++) {
        const sides = await Promise.all([Side.start(theirs, suite), Side.start(DIST, suite)]);
        try {
          for (const [name, ratio] of await measure(sides, { only, pair, turns, turnMs })) {
            measured[name] ??= [];
            measured[name].push(ratio);
          }
        } finally {
          await Promise.all(sides.map((side) => side.end()));
        }
        progress(`${suite}: pair ${pair + 1} of ${pairs}`);
      }
    }
  } finally {
    await rm(theirs, { recursive: true, force: true });
  }
  return Object.fromEntries(
    Object.entries(measured).map(([name, list]) => {
      const interval = ratioInterval(list);
      return [name, { ...interval, worse: interval.low > 1 + limitPercent / 100, pairs: list }];
    }),
  );
}

/** A copy of this benchmark from where imports find the other checkout's packages. */
async function beside(before: string): Promise<string> {
  const home = join(await realpath(before), 'packages/bench');
  const built = join(home, 'dist');
  if (!(await stat(built).catch(() => undefined))?.isDirectory()) {
    throw new Error(`${before}: there is no built checkout (packages/bench/dist): build it first`);
  }
  const folder = await mkdtemp(join(home, 'compare-'));
  await cp(DIST, folder, { recursive: true });
  return folder;
}

/** The µs per call of both sides, by figure: of all processes, and behind a colon of one. */
async function measure(
  sides: readonly [before: Side, after: Side],
  {
    only,
    pair,
    turns,
    turnMs,
  }: Pick<CompareOptions, 'only' | 'turns' | 'turnMs'> & { readonly pair: number },
): Promise<Map<string, [before: number, after: number]>> {
  const figures = new Map<string, [number, number]>();
  const [before, after] = sides;
  for (const scenario of after.scenarios.filter(
    (each) => each.includes(only) && before.scenarios.includes(each),
  )) {
    const used = sides.map(() => ({ calls: 0, us: {} as Record<string, number> }));
    // The first turn warms up: connections, plans, compiled code.
    for (let turn = 0; turn <= turns; turn++) {
      for (const side of (pair + turn) % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
        const { calls, us } = await sides[side].turn({ scenario, ms: turnMs });
        const sum = used[side];
        if (turn === 0 || sum === undefined) continue;
        sum.calls += calls;
        for (const [process, each] of Object.entries(us)) sum.us[process] = (sum.us[process] ?? 0) + each;
      }
    }
    const perCall = (process?: string): [number, number] =>
      used.map(({ calls, us }) => {
        const all = Object.entries(us).filter(([each]) => process === undefined || each === process);
        return all.reduce((sum, [, each]) => sum + each, 0) / calls;
      }) as [number, number];
    figures.set(scenario, perCall());
    for (const process of Object.keys(used[1]?.us ?? {}))
      figures.set(`${scenario}: ${process}`, perCall(process));
  }
  return figures;
}
