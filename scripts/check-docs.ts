/**
 * `pnpm check:docs`: compiles the examples in the documentation and the programs in `examples` under the
 * strict configuration, runs the programs and those examples that ask for it, follows the pages' links, looks for the
 * files that the page on architecture names, and compares the tables of options with the code. `pnpm check:docs --write` writes those tables anew, and does nothing else.
 */
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { execute } from './lib/execute.ts';
import { modulesOf } from './lib/markdown.ts';
import { type OptionsSource, withOptionTables } from './lib/option-tables.ts';
import { conclude, problem } from './lib/problems.ts';
import { type Manifest, ROOT, readJson } from './lib/repository.ts';
import { build } from './lib/turbo.ts';

interface Program {
  /** Where people find it: a file, or a page and a line. */
  readonly name: string;
  readonly file: string;
  readonly services: readonly string[];
}

const EXAMPLES = join(ROOT, 'examples');
/** Ignored by git; beside the programs, so that the same packages are found from there. */
const GENERATED = join(EXAMPLES, '.generated');
const PAGES = ['*.md', 'docs/**/*.md', 'packages/*/*.md', 'apps/*/*.md', 'examples/*.md'];
const GENERATED_PATH = /(?:examples\/)?\.generated\/([^()\s]+)\.L\d+\.ts\((\d+),(\d+)\)/g;

const from = (folder: string, name: string, module: string, table: string): OptionsSource => ({
  folder,
  interface: name,
  module,
  table,
});
const core = (name: string, module: string, table: string): OptionsSource =>
  from('packages/core', name, module, table);
const OPTIONS: readonly OptionsSource[] = [
  core('LockstepOptions', 'runtime/options.js', 'LOCKSTEP'),
  core('TransactionOptions', 'runtime/options.js', 'TRANSACTION'),
  core('CollectionOptions', 'collection/settings.js', 'COLLECTION'),
  core('ReadOneOptions', 'collection/call-options.js', 'READ_ONE'),
  core('PutOptions', 'collection/call-options.js', 'PUT'),
  core('IncrementOptions', 'collection/call-options.js', 'INCREMENT'),
  core('UpdateOptions', 'collection/call-options.js', 'UPDATE'),
  core('ViewOptions', 'views/settings.js', 'VIEW'),
  core('ThroughOptions', 'collection/through.js', 'THROUGH'),
  core('RelayOptions', 'feed/relay.js', 'RELAY'),
  core('CallbackStoreOptions', 'stores/callback-store.js', 'CALLBACK_STORE'),
  core('MemoryCacheOptions', 'memory/cache/cache.js', 'MEMORY_CACHE'),
  core('MemoryQueueOptions', 'memory/queue/queue.js', 'MEMORY_QUEUE'),
  core('MemoryStoreOptions', 'memory/store/store.js', 'MEMORY_STORE'),
  from('packages/cache-redis', 'RedisCacheOptions', 'options.js', 'REDIS_CACHE'),
  from('packages/queue-bullmq', 'BullmqQueueOptions', 'options.js', 'BULLMQ_QUEUE'),
  from('packages/store-postgres', 'PostgresStoreOptions', 'store.js', 'POSTGRES_STORE'),
  from('packages/store-postgres', 'PostgresTableOptions', 'store.js', 'POSTGRES_TABLE'),
  from('packages/store-mongo', 'MongoStoreOptions', 'options.js', 'MONGO_STORE'),
  from('packages/store-mongo', 'MongoCollectionOptions', 'options.js', 'MONGO_COLLECTION'),
  from('apps/worker', 'WorkerConfig', 'settings.js', 'WORKER'),
];

const pages = globSync(PAGES, { cwd: ROOT })
  .filter((page) => !page.endsWith('CHANGELOG.md'))
  .sort();
const modules = pages.flatMap((page) => modulesOf(page, readFileSync(join(ROOT, page), 'utf8')));

/** A relative link must lead to a file. */
function checkLinks(page: string): void {
  const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
  for (const [, target = ''] of text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)) {
    if (!existsSync(join(ROOT, dirname(page), target))) problem(`${page} links to ${target}: no such file`);
  }
}

/**
 * Each file that a page names from the root exists. Below a heading that names a folder in backticks, each file and folder that a table or a sentence names exists there,
 * or from the root; a heading with "rooms" lists all folders of its own.
 */
function checkFiles(page: string): void {
  const text = readFileSync(join(ROOT, page), 'utf8');
  for (const [, path = ''] of text.matchAll(/`((?:packages|apps|examples|docs)\/[\w./-]+\.\w+)`/g)) {
    if (!existsSync(join(ROOT, path))) problem(`${page} names ${path}: no such file`);
  }
  for (const [, heading = '', folder = '', body = ''] of text.matchAll(
    /^## (.*`(.+\/.+)`.*)\n([\s\S]*?)(?=^## |(?![\s\S]))/gm,
  )) {
    const named = [...body.matchAll(/`([\w./-]+(?:\/|\.ts))`/g)].map(([, path = '']) => path);
    for (const path of named) {
      const exists = [folder, '.', dirname(folder)].some((base) => existsSync(join(ROOT, base, path)));
      if (!exists) problem(`${page}, "${heading}": ${path} does not exist`);
    }
    if (!heading.includes('rooms')) continue;
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      if (entry.isDirectory() && !named.includes(`${entry.name}/`)) {
        problem(`${page}, "${heading}": ${entry.name}/ is not listed`);
      }
    }
  }
}

/** Each code of an error or a warning has a page of its own, at a stable address; each such page is of a code. */
function checkErrorPages(): void {
  const source = globSync('packages/*/src/**/*.ts', { cwd: ROOT })
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('\n');
  const codes = new Set([...source.matchAll(/code(?::| =) '(LOCKSTEP_\w+)'/g)].map(([, code = '']) => code));
  const described = new Set(globSync('docs/errors/*.md', { cwd: ROOT }).map((page) => basename(page, '.md')));
  for (const code of codes) if (!described.has(code)) problem(`docs/errors/${code}.md is missing`);
  for (const code of described) if (!codes.has(code)) problem(`docs/errors/${code}.md: no such code`);
}

/** The commands that open the README name the pnpm that the repository is made for. */
function checkPnpmVersion(): void {
  const { packageManager } = readJson<Manifest>(join(ROOT, 'package.json'));
  for (const page of pages) {
    for (const [named] of readFileSync(join(ROOT, page), 'utf8').matchAll(/pnpm@[\d.]*\d/g)) {
      if (named !== packageManager) problem(`${page} names ${named}, package.json ${packageManager}`);
    }
  }
}

function generate(): Program[] {
  rmSync(GENERATED, { recursive: true, force: true });
  mkdirSync(GENERATED, { recursive: true });
  return modules.flatMap(({ page, line, code, services }) => {
    const file = join(GENERATED, `${page.replaceAll('/', '__')}.L${line}.ts`);
    writeFileSync(file, code);
    return services === undefined ? [] : [{ name: `${page}:${line}`, file, services }];
  });
}

/** A program names its servers in its first line: `// services: postgres redis`. */
function programs(): Program[] {
  return globSync('*.ts', { cwd: EXAMPLES })
    .sort()
    .map((name) => {
      const file = join(EXAMPLES, name);
      const [, services = ''] = /^\/\/ services: (.*)/.exec(readFileSync(file, 'utf8')) ?? [];
      return { name: `examples/${name}`, file, services: services.split(' ').filter(Boolean) };
    });
}

async function runProgram({ name, file, services }: Program): Promise<void> {
  const started = Date.now();
  const around =
    services.length === 0 ? [] : [join(ROOT, 'packages/dev-services/dist/cli.js'), ...services, '--', 'node'];
  const { ok, output } = await execute('node', [...around, file], { cwd: EXAMPLES });
  if (ok) console.log(`  ran ${name} (${Date.now() - started} ms)`);
  else problem(`${name} failed\n${output}`);
}

/** Writes the tables anew, or says where they differ from the code. */
async function checkOptions(page: string, write: boolean): Promise<void> {
  const file = join(ROOT, page);
  const found = readFileSync(file, 'utf8');
  const { problems, text } = await withOptionTables(found, OPTIONS);
  for (const each of problems) problem(`${page}: ${each}`);
  if (text === found) return;
  if (write) writeFileSync(file, text);
  else problem(`${page}: its tables of options differ from the code; pnpm check:docs --write`);
}

if ((await build()) !== 0) process.exit(1);
const writes = process.argv.includes('--write');
for (const page of pages) await checkOptions(page, writes);
if (writes) {
  conclude('the tables of options are as in the code');
  process.exit();
}
for (const page of pages) checkLinks(page);
for (const page of pages) checkFiles(page);
checkErrorPages();
checkPnpmVersion();
const runnable = [...generate(), ...programs()];
const types = await execute('tsc', ['-p', 'examples/tsconfig.json', '--pretty', 'false']);
if (!types.ok) {
  problem(
    types.output.replaceAll(
      GENERATED_PATH,
      (_, page: string, line: string, column: string) => `${page.replaceAll('__', '/')}:${line}:${column}`,
    ),
  );
}
for (const program of runnable) await runProgram(program);
rmSync(GENERATED, { recursive: true, force: true });
conclude(`${pages.length} pages, ${modules.length} modules compiled, ${runnable.length} programs run`);
