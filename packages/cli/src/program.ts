import { messageOf } from '@lockstep/core';
import { Command, CommanderError } from 'commander';
import { attachCommands } from './commands/attach.js';
import { deadLetterCommands } from './commands/dead-letters.js';
import { doctorCommand } from './commands/doctor.js';
import { forgetCommand } from './commands/forget.js';
import { initCommand } from './commands/init.js';
import { inspectCommand } from './commands/inspect.js';
import { invalidateCommand } from './commands/invalidate.js';
import { migrateCommand } from './commands/migrate.js';
import { purgeCommand } from './commands/purge.js';
import { repairCommand } from './commands/repair.js';
import { statusCommand } from './commands/status.js';
import { switchCommands } from './commands/switch.js';
import { positive, verifyCommand } from './commands/verify.js';
import { warmCommand } from './commands/warm.js';
import { workerCommand } from './commands/worker.js';
import { addCompletion } from './completion.js';
import { EXAMPLES } from './examples.js';
import { PACKAGE } from './package.js';
import { exitIfSilent, FAILED, OK, TIMEOUT_MS } from './session.js';

export function program(): Command {
  const root = new Command('lockstep')
    .description('Looks after a cache that Lockstep keeps in step with its database.')
    .version(PACKAGE.version)
    .option(
      '--config <file>',
      "the worker's configuration (default: lockstep.config.ts, else the environment)",
    )
    .option('--json', 'print the result as JSON')
    .option('--timeout <ms>', 'how long servers may take to answer, together', positive, TIMEOUT_MS)
    .addHelpText(
      'after',
      '\nExit codes: 0 all is well, 1 something was found, 2 the command could not be carried out.',
    )
    .showHelpAfterError('(lockstep --help tells the commands)')
    .exitOverride();
  const makers = [
    initCommand,
    statusCommand,
    doctorCommand,
    inspectCommand,
    verifyCommand,
    repairCommand,
    purgeCommand,
    warmCommand,
    invalidateCommand,
    ...switchCommands,
    ...deadLetterCommands,
    ...attachCommands,
    forgetCommand,
    migrateCommand,
    workerCommand,
  ];
  for (const make of makers) root.addCommand(make());
  addCompletion(root);
  for (const command of root.commands) finish(command);
  return root;
}

/** What all commands have in common, their own commands included. */
function finish(command: Command): void {
  command.exitOverride().allowExcessArguments(command.name() === 'complete');
  const examples = EXAMPLES[command.name()];
  if (examples !== undefined) {
    const title = examples.length === 1 ? 'Example' : 'Examples';
    command.addHelpText('after', `\n${title}:\n${examples.map((line) => `  ${line}`).join('\n')}`);
  }
  for (const each of command.commands) finish(each);
}

/** One line each, without Node's own preface. That the cache is switched off is what the commands say themselves. */
function tellWarnings(): void {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    const { code } = warning as NodeJS.ErrnoException;
    if (warning.name === 'LockstepWarning' && code !== 'LOCKSTEP_SWITCH')
      console.error(`lockstep: ${warning.message}`);
  });
}

/** What `--json` prints in the place of a result. */
function errorOf(error: unknown): {
  readonly error: { readonly code: string | null; readonly message: string };
} {
  const code = error instanceof Error && 'code' in error ? String(error.code) : null;
  return { error: { code, message: messageOf(error).replace(/^error: /, '') } };
}

/** Runs the command line. */
export async function main(): Promise<void> {
  tellWarnings();
  // Whoever read it has seen enough: `| head`.
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) =>
    process.exit(code === 'EPIPE' ? OK : FAILED),
  );
  try {
    await program().parseAsync();
  } catch (error) {
    const isParsing = error instanceof CommanderError;
    const isHelp = isParsing && error.exitCode === 0;
    if (!isParsing) console.error(`lockstep: ${messageOf(error)}`);
    if (!isHelp && process.argv.includes('--json')) console.log(JSON.stringify(errorOf(error), null, 2));
    process.exitCode = isHelp ? OK : FAILED;
  }
  await exitIfSilent();
}
