import { InvalidOptionError } from '@lockstep/core';
import { collectionOf, idOf } from '@lockstep/worker/inspect';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { FOUND, OK, opened, withSession } from '../session.js';
import { positive } from './verify.js';

interface Flags {
  readonly all?: boolean;
  readonly perSecond: number;
  readonly yes?: boolean;
}

export function invalidateCommand(): Command {
  return new Command('invalidate')
    .description('makes entries unreadable, so that the next reader loads them')
    .argument('<collection>')
    .argument('[ids...]')
    .option('--all', 'every entry of the collection')
    .option('--per-second <n>', 'with --all: the most entries in a second', positive, 10_000)
    .option('--yes', 'do not ask')
    .action(async (name: string, ids: string[], flags: Flags, command: Command) => {
      if (ids.length > 0 === (flags.all === true)) {
        throw new InvalidOptionError('ids', 'name some, or give --all');
      }
      await withSession(command, async (session) => {
        const { lockstep, progress, result } = session;
        const collection = collectionOf(lockstep, name);
        if (flags.all) {
          if (!(await confirmed(`Invalidate every entry of ${name}?`, flags.yes))) return FOUND;
          const onProgress = (count: number): void => progress(`${name}: ${count} entries`);
          const done = await collection.calls.invalidateAll({ maxPerSecond: flags.perSecond, onProgress });
          result(done, [`${done.invalidated} entries: ${done.outcome}`]);
          return OK;
        }
        await opened(session, [collection]);
        const outcome = await collection.calls.invalidateMany(ids.map((id) => idOf(collection, id)));
        result({ invalidated: ids.length, outcome }, [`${ids.length} entries: ${outcome}`]);
        return outcome === 'invalidated' ? OK : FOUND;
      });
    });
}
