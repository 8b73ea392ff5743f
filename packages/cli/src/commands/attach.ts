import { messageOf } from '@lockstep/core';
import { Command } from 'commander';
import { confirmed } from '../confirm.js';
import { installable } from '../installable.js';
import { collectionsOf, FOUND, NoAnswerError, OK, withSession } from '../session.js';

interface AttachFlags {
  readonly check?: boolean;
  readonly grantTo?: string[];
}

interface Change {
  readonly collection: string;
  readonly source: string;
  readonly says: string;
}

function attachCommand(): Command {
  return new Command('attach')
    .description(
      'puts into the database what the cache needs there: version columns, triggers, the change feed',
    )
    .argument('[collections...]', 'all unless some are named')
    .option('--check', 'change nothing; exit code 1 where something is missing, for CI')
    .option(
      '--grant-to <roles...>',
      'roles that run the application and the worker without owning the schema',
    )
    .action(async (names: string[], { check, grantTo }: AttachFlags, command: Command) => {
      await withSession(command, async ({ ask, lockstep, result }) => {
        const changes: Change[] = [];
        let missing = 0;
        const collections = installable(collectionsOf(lockstep, names));
        const problems = await Promise.all(
          collections.map(({ open, store }) =>
            ask(store.name, open()).then(
              () => undefined,
              (error: unknown) => {
                if (error instanceof NoAnswerError && !check) throw error;
                return messageOf(error);
              },
            ),
          ),
        );
        for (const [i, collection] of collections.entries()) {
          const { source } = collection.store;
          const problem = problems[i];
          if (check && problem !== undefined) missing += 1;
          if (!check) await collection.installation.install(grantTo && { grantTo });
          const says = check ? (problem ?? 'attached') : problem === undefined ? 'was attached' : 'attached';
          changes.push({ collection: collection.name, source, says });
        }
        result(
          changes,
          changes.map(({ collection, says, source }) => `${collection} (${source}): ${says}`),
        );
        return missing === 0 ? OK : FOUND;
      });
    });
}

function detachCommand(): Command {
  return new Command('detach')
    .description('takes out of the database what attach has put there; applications go on without a cache')
    .argument('<collections...>')
    .option('--yes', 'do not ask')
    .action(async (names: string[], { yes }: { readonly yes?: boolean }, command: Command) => {
      await withSession(command, async ({ lockstep, result }) => {
        const collections = installable(collectionsOf(lockstep, names));
        const sources = collections.map(({ store }) => store.source).join(', ');
        if (!(await confirmed(`Detach ${sources}?`, yes))) return FOUND;
        for (const { installation } of collections) await installation.uninstall();
        result({ detached: sources }, [`detached: ${sources}`]);
        return OK;
      });
    });
}

export const attachCommands = [attachCommand, detachCommand];
