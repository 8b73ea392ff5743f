/**
 * `pnpm check:packages`: packs each public package as a release does and looks at what users would get: its
 * files, its ranges, publint, the types' resolution, an import of each export and a small program under
 * plain Node, and the declarations as a user's compiler reads them.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { installConsumer, installProject, specifiers } from './lib/consumer.ts';
import { execute } from './lib/execute.ts';
import { wrongFiles, wrongRanges } from './lib/manifest-rules.ts';
import { type PackedPackage, packAll } from './lib/pack.ts';
import { conclude, problem } from './lib/problems.ts';
import { ROOT, readJson } from './lib/repository.ts';
import { temporaryFolder } from './lib/temporary.ts';
import { build } from './lib/turbo.ts';

/** Where a debugger, a stack trace or an editor would look for what is not there. */
function checkMaps({ packed, files, unpacked }: PackedPackage): void {
  for (const file of files.filter((each) => each.endsWith('.map'))) {
    const { sources } = readJson<{ readonly sources: readonly string[] }>(join(unpacked, file));
    for (const source of sources) {
      if (!files.includes(join(dirname(file), source)))
        problem(`${packed.name}: ${file} points to ${source}`);
    }
  }
}

async function checkTarball({ packed, files, tarball }: PackedPackage): Promise<void> {
  const { name } = packed;
  for (const wrong of [...wrongFiles(files), ...wrongRanges(packed)]) problem(`${name}: ${wrong}`);
  const lint = await execute('publint', ['run', tarball, '--strict']);
  if (!lint.ok) problem(`${name}: publint\n${lint.output}`);
  const types = await execute('attw', [tarball, '--profile', 'esm-only', '--no-emoji', '--no-color']);
  if (!types.ok) problem(`${name}: are the types wrong?\n${types.output}`);
}

/** Type checkers and test runners accept some imports that plain Node does not. */
async function checkImports(consumer: string, packages: readonly PackedPackage[]): Promise<number> {
  let count = 0;
  for (const specifier of packages.flatMap(specifiers)) {
    const code = `const module = await import(${JSON.stringify(specifier)});
      if (Object.keys(module).length === 0) throw new Error('it exports nothing');
      if ('default' in module) throw new Error('it has a default export');`;
    const { ok, output } = await execute('node', ['--input-type=module', '--eval', code], { cwd: consumer });
    if (ok) count += 1;
    else problem(`import '${specifier}' under plain Node\n${output}`);
  }
  for (const { packed } of packages) {
    for (const bin of Object.keys(packed.bin ?? {})) {
      const { ok, output } = await execute(join(consumer, 'node_modules/.bin', bin), ['--help'], {
        cwd: consumer,
      });
      if (!ok) problem(`${bin} --help\n${output}`);
    }
  }
  return count;
}

/** The libraries' own declarations may be as wrong as they like; ours may not. */
async function checkDeclarations(consumer: string, packages: readonly PackedPackage[]): Promise<void> {
  const imports = packages.flatMap(specifiers).map((from, i) => `import * as m${i} from '${from}';`);
  const uses = imports.map((_, i) => `m${i}`).join(', ');
  writeFileSync(
    join(consumer, 'types.ts'),
    `${imports.join('\n')}\nexport const all: unknown[] = [${uses}];\n`,
  );
  const strictest = ['--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false'];
  const { ok, output } = await execute(
    join(ROOT, 'node_modules/.bin/tsc'),
    ['--noEmit', '--target', 'es2024', '--module', 'nodenext', '--types', 'node', ...strictest, 'types.ts'],
    { cwd: consumer },
  );
  const ours = output.split('\n').filter((line) => /^types\.ts|@lockstep\/[\w-]+\/dist/.test(line));
  if (!ok && (ours.length > 0 || !output.includes('error TS'))) {
    problem(`declarations, as a user's compiler reads them:\n${ours.join('\n') || output}`);
  }
}

async function checkProgram(consumer: string): Promise<void> {
  const file = join(consumer, 'program.js');
  writeFileSync(
    file,
    `import assert from 'node:assert/strict';
import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryStore } from '@lockstep/core/memory';
const lockstep = createLockstep({ cache: memoryCache() });
const users = lockstep.collection({ name: 'users', store: memoryStore({ name: 'users' }) });
assert.equal((await users.put('1', { name: 'Ada' })).store, 'committed');
assert.deepEqual(await users.get('1'), { name: 'Ada' });
assert.equal(await users.get('2'), undefined);
await lockstep.close();
`,
  );
  const { ok, output } = await execute('node', [file], { cwd: consumer });
  if (!ok) problem(`a small program under plain Node\n${output}`);
}

const DRIVERS = /^(?:bullmq|ioredis|knex|mongodb|pg|@lockstep\+(?:cache|queue|store)-.*)@/;

/** A worker brings no adapter and no driver, runs without them, and names those that its configuration asks for. */
async function checkWorkerAlone(folder: string, packages: readonly PackedPackage[]): Promise<void> {
  const names = ['@lockstep/core', '@lockstep/worker'];
  const alone = await installProject(folder, 'alone', packages, names);
  const brought = readdirSync(join(alone, 'node_modules/.pnpm')).filter((name) => DRIVERS.test(name));
  if (brought.length > 0) problem(`@lockstep/worker brings ${brought.join(', ')}`);
  const worker = join(alone, 'node_modules/.bin/lockstep-worker');
  writeFileSync(
    join(alone, 'memory.js'),
    `import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryStore } from '@lockstep/core/memory';
import { defineWorker } from '@lockstep/worker';
const lockstep = createLockstep({ cache: memoryCache() });
lockstep.collection({ name: 'users', store: memoryStore({ name: 'users' }) });
export default defineWorker({ lockstep });
`,
  );
  const memory = await execute(worker, ['--config', 'memory.js', '--check'], { cwd: alone });
  if (!memory.ok || !memory.output.includes('"ready": true')) problem(`a worker alone\n${memory.output}`);
  writeFileSync(
    join(alone, 'mongo.js'),
    `import '@lockstep/store-mongo';\nexport default { lockstep: {} };\n`,
  );
  const redis = 'redis://localhost';
  const environment = { LOCKSTEP_REDIS_URL: redis, LOCKSTEP_COLLECTIONS: 'users=users:id' };
  const asking = [
    { args: ['--config', 'mongo.js'], env: {}, says: 'npm install @lockstep/store-mongo mongodb' },
    {
      args: [],
      env: { ...environment, LOCKSTEP_POSTGRES_URL: 'postgres://localhost' },
      says: 'npm install @lockstep/store-postgres knex pg',
    },
  ];
  // The worker refuses variables of its own that it does not know, and whoever runs this may have some.
  const unset = Object.fromEntries(
    Object.keys(process.env).flatMap((name) => (name.startsWith('LOCKSTEP_') ? [[name, undefined]] : [])),
  );
  for (const { args, env, says } of asking) {
    const { ok, output } = await execute(worker, args, { cwd: alone, env: { ...unset, ...env } });
    if (ok || !output.trimEnd().endsWith(says)) problem(`a worker without what it needs\n${output}`);
  }
}

if ((await build()) !== 0) process.exit(1);
const folder = temporaryFolder('packages');
const packages = await packAll(folder);
for (const packed of packages) {
  checkMaps(packed);
  await checkTarball(packed);
}
const consumer = await installConsumer(folder, packages);
const imported = await checkImports(consumer, packages);
await checkProgram(consumer);
await checkDeclarations(consumer, packages);
await checkWorkerAlone(folder, packages);
conclude(`${packages.length} packages packed, ${imported} entry points imported under plain Node`);
