import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidOptionError, messageOf } from '@lockstep/core';

/** The tools whose migrations can be written. `sql`: a script, with transactions of its own. */
export const FORMATS = ['sql', 'knex', 'prisma', 'drizzle'] as const;

export type MigrationFormat = (typeof FORMATS)[number];

/** The statements of a migration, each script with `BEGIN` and `COMMIT`. */
export interface MigrationScripts {
  readonly up: string;
  readonly down: string;
}

/** Files of a migration, by their paths in the folder of migrations. */
export type MigrationFiles = ReadonlyMap<string, string>;

const NAME = 'lockstep';
const JOURNAL = join('meta', '_journal.json');

/** What a tool reads: a whole file of knex, SQL for the others. */
export function migrationText(
  format: MigrationFormat,
  { down, up }: MigrationScripts,
  isModule: boolean,
): string {
  if (format === 'knex') return knexFile(up, down, isModule);
  // Drizzle has a transaction of its own round all migrations.
  return format === 'drizzle' ? withoutTransactions(up) : up;
}

/** The files that a tool expects in its folder. Throws `InvalidOptionError` for a journal that can't be read. */
export function migrationFiles(
  format: MigrationFormat,
  folder: string,
  scripts: MigrationScripts,
  isModule: boolean,
  now = new Date(),
): MigrationFiles {
  const text = migrationText(format, scripts, isModule);
  const stamp = now.toISOString().replaceAll(/[^\d]/g, '').slice(0, 14);
  if (format === 'knex') return new Map([[`${stamp}_${NAME}.js`, text]]);
  if (format === 'prisma') return new Map([[join(`${stamp}_${NAME}`, 'migration.sql'), text]]);
  if (format === 'drizzle') return drizzleFiles(folder, text, stamp, now);
  return new Map([
    [`${stamp}_${NAME}.up.sql`, scripts.up],
    [`${stamp}_${NAME}.down.sql`, scripts.down],
  ]);
}

/** Throws `InvalidOptionError` where the folder can't be written to. */
export function writeMigration(folder: string, files: MigrationFiles): readonly string[] {
  try {
    return [...files].map(([path, text]) => {
      const file = join(folder, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
      return file;
    });
  } catch (error) {
    throw new InvalidOptionError('--out', `can't be written to: ${messageOf(error)}`);
  }
}

function withoutTransactions(sql: string): string {
  return sql.replaceAll(/^(?:BEGIN|COMMIT);\n/gm, '');
}

/** As one message of the simple protocol: knex has a transaction round it, and would read question marks. */
function knexFile(up: string, down: string, isModule: boolean): string {
  const body = (sql: string): string =>
    withoutTransactions(sql)
      .replaceAll('?', '\\?')
      .replaceAll(/[\\`]|\$(?=\{)/g, '\\$&');
  const function_ = (name: string, sql: string): string =>
    `${isModule ? `export const ${name}` : `exports.${name}`} = (knex) =>\n  knex.raw(\`\n${body(sql)}\`);\n`;
  return `${function_('up', up)}\n${function_('down', down)}`;
}

interface Journal {
  readonly version?: string;
  readonly dialect?: string;
  readonly entries: readonly { readonly idx: number; readonly when: number; readonly tag: string }[];
}

/** A folder for each migration where the folder has such (drizzle-kit 1), else a file and an entry of the journal. */
function drizzleFiles(folder: string, text: string, stamp: string, now: Date): MigrationFiles {
  const has = (path: string): boolean => existsSync(join(folder, path));
  if (!has(JOURNAL) && existsSync(folder)) {
    const folders = readdirSync(folder).some((name) => has(join(name, 'migration.sql')));
    if (folders) return new Map([[join(`${stamp}_${NAME}`, 'migration.sql'), text]]);
  }
  const journal = has(JOURNAL) ? journalOf(join(folder, JOURNAL)) : { entries: [] };
  const { entries } = journal;
  const idx = Math.max(-1, ...entries.map((entry) => entry.idx)) + 1;
  const tag = `${String(idx).padStart(4, '0')}_${NAME}`;
  // Drizzle applies what is later than the last one applied.
  const when = Math.max(now.getTime(), ...entries.map((entry) => entry.when + 1));
  const entry = { idx, version: journal.version ?? '7', when, tag, breakpoints: true };
  const next = { version: '7', dialect: 'postgresql', ...journal, entries: [...entries, entry] };
  return new Map([
    [`${tag}.sql`, text],
    [JOURNAL, `${JSON.stringify(next, null, 2)}\n`],
  ]);
}

function journalOf(file: string): Journal {
  try {
    const journal = JSON.parse(readFileSync(file, 'utf8')) as Journal;
    if (Array.isArray(journal.entries)) return journal;
  } catch (error) {
    throw new InvalidOptionError('--out', `${file} can't be read: ${messageOf(error)}`);
  }
  throw new InvalidOptionError('--out', `${file} is no journal of Drizzle's`);
}
