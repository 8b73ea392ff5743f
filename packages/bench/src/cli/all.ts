import { type Command, Option } from 'commander';
import { ALL, runAll } from '../all.js';
import { integer, json, progress, write } from './options.js';

/** The name of the command that runs where none is named. */
export const ALL_COMMAND = 'all';

interface AllFlags {
  readonly json?: string;
  readonly turns?: number;
}

export function allCommand(program: Command): void {
  program
    .command(ALL_COMMAND)
    .description('What runs where no suite is named: all of them, in one form: ours, peers, limit, ratio.')
    .addOption(json())
    .addOption(
      new Option('--turns <n>', 'measured turns of each side in each suite').argParser(integer(1, 1_000)),
    )
    .action(async ({ json: file, turns }: AllFlags) => {
      const options = Object.entries(ALL).map(([suite, own]) => [
        suite,
        turns === undefined || !('turns' in own) ? own : { ...own, turns },
      ]);
      write(await runAll(Object.fromEntries(options) as typeof ALL, progress), file);
    });
}
