import { type Command, Option } from 'commander';
import { GROWTH, runGrowth } from '../fleet/growth.js';
import { IDLE, runIdle } from '../fleet/idle.js';
import { type Flags, integer, json, progress, write } from './options.js';

/** The suites of processes that run for long: a worker with nothing to do, and a fleet under a small load. */
export function fleetSuites(program: Command): void {
  program
    .command('idle')
    .description('What a worker costs that has nothing to do: processor time, commands, statements, memory.')
    .addOption(json())
    .addOption(
      new Option('--seconds <n>', 'how long it is watched')
        .argParser(integer(1, 3_600))
        .default(IDLE.ms / 1_000),
    )
    .action(async ({ json: file, seconds }: Flags & { readonly seconds: number }) =>
      write({ idle: await runIdle({ ms: seconds * 1_000 }, progress) }, file),
    );

  program
    .command('growth')
    .description('What grows in an hour under a steady, small load: memory of the processes, cache, outbox.')
    .addOption(json())
    .addOption(
      new Option('--minutes <n>', 'how long it goes on').argParser(integer(1, 1_440)).default(GROWTH.minutes),
    )
    .addOption(
      new Option('--per-second <n>', 'calls in a second')
        .argParser(integer(1, 500))
        .default(GROWTH.perSecond),
    )
    .action(async (flags: Flags & { readonly minutes: number; readonly perSecond: number }) =>
      write({ growth: await runGrowth({ ...GROWTH, ...flags }, progress) }, flags.json),
    );
}
