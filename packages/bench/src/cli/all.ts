import { type Command, Option } from 'commander';
import { ALL, ALL_SUITES, type AllOptions, type AllSuite, runAll } from '../all.js';
import type { StoreName } from '../peers/sides.js';
import { integer, json, names, progress, save, store, write } from './options.js';

/** The name of the command that runs where none is named. */
export const ALL_COMMAND = 'all';

/** Those that know no database but Postgres. */
const POSTGRES_ONLY: readonly AllSuite[] = ['contention', 'plans', 'relay', 'bulk', 'idle'];

interface AllFlags {
  readonly json?: string;
  readonly turns?: number;
  readonly turnMs?: number;
  readonly store: StoreName;
  readonly suites: readonly AllSuite[];
}

export function allCommand(program: Command): void {
  program
    .command(ALL_COMMAND)
    .description('What runs where no suite is named: all of them, in one form: ours, peers, limit, ratio.')
    .addOption(json())
    .addOption(names('--suites <names>', 'which of them', ALL_SUITES))
    .addOption(store())
    .addOption(
      new Option('--turns <n>', 'measured turns of each side in each suite').argParser(integer(1, 1_000)),
    )
    .addOption(
      new Option('--turn-ms <n>', 'how long a turn of a second in a suite goes on').argParser(
        integer(1, 60_000),
      ),
    )
    .action(async ({ json: file, suites, ...flags }: AllFlags) => {
      const possible = suites.filter((suite) => flags.store === 'postgres' || !POSTGRES_ONLY.includes(suite));
      const whole = (sections: object) => ({ store: flags.store, ...sections });
      const keep = (sections: object) => save(whole(sections), file);
      write(whole(await runAll(withFlags(flags), possible, progress, keep)), file);
    });
}

/** Each suite's options, with what the flags say of those that it has. */
function withFlags({ store: name, turnMs, turns }: Omit<AllFlags, 'json' | 'suites'>): AllOptions {
  const options = Object.entries(ALL).map(([suite, own]) => [
    suite,
    {
      ...own,
      ...('store' in own && { store: name }),
      ...('turns' in own && turns !== undefined && { turns }),
      // Hits have more and shorter ones.
      ...('turnMs' in own && own.turnMs >= 500 && turnMs !== undefined && { turnMs }),
    },
  ]);
  return Object.fromEntries(options) as AllOptions;
}
