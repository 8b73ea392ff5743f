import { InvalidOptionError } from '@lockstep/core';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { collectionOf, FOUND, keyOf, OK, withSession } from '../session.js';
import { positive } from './verify.js';

interface Flags {
  readonly all?: boolean;
  readonly perSecond: number;
  readonly yes?: boolean;
}

const HOLE_TTL_MS = 60_000;

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
      await withSession(command, async ({ lockstep, progress, result }) => {
        const collection = collectionOf(lockstep, name);
        if (flags.all) {
          if (!(await confirmed(`Invalidate every entry of ${name}?`, flags.yes))) return FOUND;
          const onProgress = (count: number): void => progress(`${name}: ${count} entries`);
          const done = await collection.calls.invalidateAll({ maxPerSecond: flags.perSecond, onProgress });
          result(done, [`${done.invalidated} entries: ${done.outcome}`]);
          return OK;
        }
        const keys = await Promise.all(ids.map((id) => keyOf(collection, id)));
        const replies = await lockstep.cache.execute(
          keys.map((key) => {
            const cacheKey = collection.keyPrefix + key;
            return {
              kind: 'invalidate',
              key: cacheKey,
              version: 0,
              holeOnEmpty: true,
              holeTtlMs: HOLE_TTL_MS,
            };
          }),
        );
        const failed = replies.filter((reply) => reply instanceof Error);
        result({ invalidated: keys.length - failed.length, failed: failed.length }, [
          `${keys.length - failed.length} invalidated`,
          ...failed.map((error) => `✗ ${error.message}`),
        ]);
        return failed.length === 0 ? OK : FOUND;
      });
    });
}
