import { runWorld, type WorldOptions } from './world.js';

/** Replays one seed instead of searching. */
const SEED = process.env['LOCKSTEP_SEED'];

export interface Finding {
  readonly seed: number;
  readonly problems: readonly string[];
}

/** The first of `runs` seeds whose history is wrong, and what is wrong with it. */
export async function search(
  options: Omit<WorldOptions, 'seed'>,
  runs: number,
): Promise<Finding | undefined> {
  return await searchIn((seed) => runWorld({ ...options, seed }), runs);
}

/** As `search`, in any world. */
export async function searchIn(
  run: (seed: number) => Promise<string[]>,
  runs: number,
): Promise<Finding | undefined> {
  const seeds = SEED === undefined ? { from: 1, to: runs } : { from: Number(SEED), to: Number(SEED) };
  for (let seed = seeds.from; seed <= seeds.to; seed++) {
    const problems = await run(seed);
    if (problems.length > 0) return { seed, problems };
  }
  return undefined;
}
