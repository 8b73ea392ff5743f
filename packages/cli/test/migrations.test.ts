import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { migrationFiles, writeMigration } from '../src/migrations.js';

const folder = mkdtempSync(join(tmpdir(), 'lockstep-migrations-'));
const NOW = new Date('2026-05-04T03:02:01Z');
const SCRIPTS = {
  up: "BEGIN;\nCREATE FUNCTION f() RETURNS text AS $f$ SELECT 'a?\\b`' $f$;\nCOMMIT;\n",
  down: 'BEGIN;\nDROP FUNCTION f;\nCOMMIT;\n',
};

afterAll(() => rmSync(folder, { recursive: true }));

test('knex: one statement each way, which knex sends as it is', async () => {
  const files = migrationFiles('knex', folder, SCRIPTS, true, NOW);
  const [file = ''] = writeMigration(folder, files);
  expect(file).toBe(join(folder, '20260504030201_lockstep.js'));
  const asModule = file.replace(/js$/, 'mjs');
  writeFileSync(asModule, readFileSync(file));
  const { down, up } = (await import(asModule)) as Record<'up' | 'down', (knex: object) => string>;
  const knex = { raw: (sql: string) => sql };
  // A question mark alone would be a binding.
  expect(up(knex).trim()).toBe("CREATE FUNCTION f() RETURNS text AS $f$ SELECT 'a\\?\\b`' $f$;");
  expect(down(knex).trim()).toBe('DROP FUNCTION f;');
  const [, common = ''] = [...migrationFiles('knex', folder, SCRIPTS, false, NOW)][0] ?? [];
  expect(common).toMatch(/^exports\.up = /);
});

test('Prisma: a folder with the whole script', () => {
  expect([...migrationFiles('prisma', folder, SCRIPTS, true, NOW)]).toEqual([
    ['20260504030201_lockstep/migration.sql', SCRIPTS.up],
  ]);
});

test('Drizzle: the next file and its entry in the journal, later than all before', () => {
  const drizzle = join(folder, 'drizzle');
  mkdirSync(join(drizzle, 'meta'), { recursive: true });
  const later = NOW.getTime() + 1_000;
  const entry = { idx: 4, version: '7', when: later, tag: '0004_last', breakpoints: true };
  const journal = { version: '7', dialect: 'postgresql', entries: [entry] };
  writeFileSync(join(drizzle, 'meta/_journal.json'), JSON.stringify(journal));
  const files = migrationFiles('drizzle', drizzle, SCRIPTS, true, NOW);
  expect(files.get('0005_lockstep.sql')).not.toMatch(/BEGIN|COMMIT/);
  expect(JSON.parse(files.get('meta/_journal.json') ?? '').entries).toEqual([
    entry,
    { idx: 5, version: '7', when: later + 1, tag: '0005_lockstep', breakpoints: true },
  ]);
  // Of drizzle-kit 1: a folder for each, and no journal.
  const folders = join(folder, 'drizzle-1');
  mkdirSync(join(folders, '20250101000000_first'), { recursive: true });
  writeFileSync(join(folders, '20250101000000_first/migration.sql'), '');
  expect([...migrationFiles('drizzle', folders, SCRIPTS, true, NOW).keys()]).toEqual([
    '20260504030201_lockstep/migration.sql',
  ]);
  writeFileSync(join(drizzle, 'meta/_journal.json'), '{');
  expect(() => migrationFiles('drizzle', drizzle, SCRIPTS, true, NOW)).toThrow('--out');
});

test('SQL: a file each way', () => {
  expect([...migrationFiles('sql', folder, SCRIPTS, true, NOW)]).toEqual([
    ['20260504030201_lockstep.up.sql', SCRIPTS.up],
    ['20260504030201_lockstep.down.sql', SCRIPTS.down],
  ]);
});
