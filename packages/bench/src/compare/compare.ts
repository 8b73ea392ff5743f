import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RatioInterval, ratioInterval } from './interval.js';
import type { Figures, SuiteName } from './suites.js';

export interface CompareOptions {
  /** The folder of the other checkout, built. */
  readonly before: string;
  readonly suites: readonly SuiteName[];
  readonly pairs: number;
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
 * Measures this checkout ("after") and another ("before") in turn, each time in a process of its own, by the same
 * benchmark: this one's, which is copied beside the other's for the time being.
 */
export async function compare(
  { before, limitPercent, pairs, suites, turnMs }: CompareOptions,
  progress: (line: string) => void,
): Promise<Record<string, Compared>> {
  const theirs = await beside(before);
  const measured: Record<string, [number, number][]> = {};
  try {
    for (const suite of suites) {
      for (let pair = 0; pair < pairs; pair++) {
        const figures = { before: {} as Figures, after: {} as Figures };
        for (const side of pair % 2 === 0 ? (['before', 'after'] as const) : (['after', 'before'] as const)) {
          figures[side] = await measure(side === 'before' ? theirs : DIST, suite, turnMs);
        }
        for (const [name, after] of Object.entries(figures.after)) {
          const other = figures.before[name];
          if (other === undefined) continue;
          measured[name] ??= [];
          measured[name].push([other, after]);
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

async function measure(dist: string, suite: SuiteName, turnMs: number): Promise<Figures> {
  const child = fork(join(dist, 'compare/measure.js'), [suite, String(turnMs)], {
    cwd: join(dist, '..'),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  let figures: Figures | undefined;
  child.on('message', (message) => {
    figures = message as Figures;
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0 || figures === undefined)
    throw new Error(
      `${suite} of ${dist} ended with ${code} and ${figures === undefined ? 'no' : 'its'} figures`,
    );
  return figures;
}
