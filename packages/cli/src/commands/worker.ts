import { Command } from 'commander';
import type { CommonFlags } from '../session.js';

/** As `lockstep-worker`, with the configuration of the other commands. */
export function workerCommand(): Command {
  return (
    new Command('worker')
      .description('runs the worker: relays changes into the cache, retries what the cache refused')
      .argument('[options...]', "lockstep-worker's own: lockstep worker --help tells them")
      .allowUnknownOption()
      // Its own help is what a reader wants here.
      .helpOption(false)
      .action(async (options: string[], _: object, command: Command) => {
        const { configFile, runWorker } = await import('@lockstep/worker');
        const { config, timeout } = command.optsWithGlobals<CommonFlags>();
        const file = config ?? configFile();
        const isTimed = command.parent?.getOptionValueSource('timeout') === 'cli';
        const args = [
          ...(file === undefined ? [] : ['--config', file]),
          ...(isTimed ? ['--timeout', String(timeout)] : []),
          ...options,
        ];
        await runWorker(args, 'lockstep worker');
      })
  );
}
