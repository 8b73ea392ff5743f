import { type DeadLetters, InvalidOptionError, type Lockstep } from '@lockstep/core';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { table } from '../output.js';
import { FOUND, OK, withSession } from '../session.js';
import { positive } from './verify.js';

interface Flags {
  readonly all?: boolean;
  readonly yes?: boolean;
}

function lettersOf({ queue }: Lockstep): DeadLetters {
  if (queue === undefined) throw new InvalidOptionError('queue', 'the configuration has none');
  return queue.deadLetters;
}

function listCommand(): Command {
  return new Command('dead-letters')
    .description('jobs that failed for good; without their values')
    .option('--limit <n>', 'the newest so many', positive, 50)
    .action(async ({ limit }: { readonly limit: number }, command: Command) => {
      await withSession(command, async ({ ask, lockstep, result }) => {
        const letters = await ask('queue', lettersOf(lockstep).list({ limit }));
        const shown = letters.map(({ error, failedAtMs, id, job }) => {
          const key = job.kind === 'unreadable' ? null : job.key;
          return { id, at: new Date(failedAtMs).toISOString(), kind: job.kind, key, error };
        });
        result(
          shown,
          shown.length === 0
            ? ['none']
            : table(
                shown.map(({ at, error, id, key, kind }) => [
                  id,
                  at,
                  kind,
                  key ?? '',
                  error.split('\n')[0] ?? '',
                ]),
              ),
        );
        return letters.length === 0 ? OK : FOUND;
      });
    });
}

function endCommand(name: 'replay' | 'discard', description: string, question: string): Command {
  return new Command(name)
    .description(description)
    .argument('[ids...]', 'as dead-letters tells them')
    .option('--all', 'all that there are')
    .option('--yes', 'do not ask')
    .action(async (ids: string[], flags: Flags, command: Command) => {
      if (ids.length > 0 === (flags.all === true)) {
        throw new InvalidOptionError('ids', 'name some, or give --all');
      }
      await withSession(command, async ({ lockstep, result }) => {
        const letters = lettersOf(lockstep);
        if (flags.all && !(await confirmed(question, flags.yes))) return FOUND;
        const count = await letters[name](flags.all ? undefined : ids);
        result({ [name]: count }, [`${count} of ${flags.all ? 'all' : ids.length}`]);
        return flags.all || count === ids.length ? OK : FOUND;
      });
    });
}

export const deadLetterCommands = [
  listCommand,
  (): Command => endCommand('replay', 'queues dead letters again', 'Queue all dead letters again?'),
  (): Command =>
    endCommand(
      'discard',
      'forgets dead letters; what they would have written is lost',
      'Forget all dead letters?',
    ),
];
