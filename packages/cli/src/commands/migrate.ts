import { existsSync, readFileSync } from 'node:fs';
import { InvalidOptionError } from '@lockstep/core';
import { Command, Option } from 'commander';
import { type Installable, installable } from '../installable.js';
import {
  FORMATS,
  type MigrationFormat,
  type MigrationScripts,
  migrationFiles,
  migrationText,
  writeMigration,
} from '../migrations.js';
import { type Ask, collectionsOf, FOUND, OK, withSession } from '../session.js';

interface Flags {
  readonly format: MigrationFormat;
  readonly out?: string;
  readonly down: boolean;
  readonly check: boolean;
}

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('what attach would do, as a migration')
    .addCommand(printCommand(), { isDefault: true });
}

function printCommand(): Command {
  return new Command('print')
    .description('prints what attach would do, or writes it as a migration of your tool')
    .argument('[collections...]', 'all unless some are named')
    .addOption(new Option('--format <tool>', 'whose migration').choices(FORMATS).default('sql'))
    .option('--out <folder>', 'write it into this folder of migrations instead of printing it')
    .option('--down', 'what detach would do', false)
    .option('--check', 'print nothing; exit code 1 where the database lacks something of it, for CI', false)
    .action(async (names: string[], flags: Flags, command: Command) => {
      await withSession(command, async ({ ask, lockstep, result }) => {
        const collections = installable(scriptable(collectionsOf(lockstep, names), names));
        if (flags.check) {
          const missing = await missingOf(ask, collections);
          result({ missing }, missing.length === 0 ? ['nothing is missing'] : missing);
          return missing.length === 0 ? OK : FOUND;
        }
        const scripts = await ask('the store', scriptsOf(collections));
        const wanted = flags.down ? { up: scripts.down, down: scripts.up } : scripts;
        if (flags.out === undefined) {
          const text = migrationText(flags.format, wanted, isModule());
          result({ format: flags.format, script: text }, [text.trimEnd()]);
          return OK;
        }
        const files = migrationFiles(flags.format, flags.out, wanted, isModule());
        const written = writeMigration(flags.out, files);
        result({ format: flags.format, written }, written);
        return OK;
      });
    });
}

/** Without names: those whose store has a language for it. */
function scriptable(
  collections: ReturnType<typeof collectionsOf>,
  names: readonly string[],
): ReturnType<typeof collectionsOf> {
  const found = collections.filter(({ store }) => store.installation?.script !== undefined);
  const other = collections.find((collection) => !found.includes(collection));
  if (other === undefined || (names.length === 0 && found.length > 0)) return found;
  throw new InvalidOptionError('collections', `"${other.name}" has a store without scripts: lockstep attach`);
}

async function missingOf(ask: Ask, collections: readonly Installable[]): Promise<readonly string[]> {
  const problems = await Promise.all(
    collections.map(({ name, open, store }) =>
      ask(store.name, open()).then(
        () => [],
        (error: unknown) => [`${name}: ${error instanceof Error ? error.message : String(error)}`],
      ),
    ),
  );
  return problems.flat();
}

/** Several collections of one table: its statements once. */
async function scriptsOf(collections: readonly Installable[]): Promise<MigrationScripts> {
  const up = new Set<string>();
  const down = new Set<string>();
  for (const { installation } of collections) {
    up.add((await installation.script?.('install')) ?? '');
    down.add((await installation.script?.('uninstall')) ?? '');
  }
  return { up: [...up].join('\n'), down: [...down].reverse().join('\n') };
}

/** Whether the project's `.js` files are modules. */
function isModule(): boolean {
  if (!existsSync('package.json')) return false;
  return /"type"\s*:\s*"module"/.test(readFileSync('package.json', 'utf8'));
}
