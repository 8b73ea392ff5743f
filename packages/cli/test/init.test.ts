import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv } from 'ajv';
import composeSchema from 'docker-compose/schema/compose-spec.json' with { type: 'json' };
import { afterAll, describe, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { RANGES } from '../src/init/packages.js';
import { projectIn } from '../src/init/project.js';
import { runCli, runProgram } from './run.js';

// In this package's folder, so that what is written finds what it imports.
const folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.init-'));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const TSC = join(ROOT, 'node_modules', '.bin', 'tsc');

afterAll(() => rmSync(folder, { recursive: true }));

function project(name: string, files: Readonly<Record<string, string>> = {}): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}

function read(path: string, file: string): string {
  return readFileSync(join(path, file), 'utf8');
}

async function init(
  cwd: string,
  ...flags: readonly string[]
): Promise<{
  readonly code: number;
  readonly found: { readonly files: { path: string; written: boolean }[] } & Record<string, unknown>;
}> {
  const { code, err, out } = await runCli(['--json', 'init', '--yes', '--no-install', ...flags], { cwd });
  expect(err).toBe('');
  return { code, found: JSON.parse(out) };
}

const CJS =
  '{\n\t"name": "old",\n\t"scripts": { "start": "node server.js" },\n\t"dependencies": { "knex": "^2.0.0" }\n}\n';

describe('what is written', () => {
  test('compiles, and its test passes, for every store, cache, queue, language and kind of module', async () => {
    const combinations = [
      ['postgres', 'redis', 'bullmq'],
      ['postgres', 'memory', 'none'],
      ['mongo', 'redis', 'none'],
      ['both', 'redis', 'bullmq'],
      ['memory', 'memory', 'none'],
    ] as const;
    await Promise.all(
      combinations.flatMap(([store, cache, queue], i) =>
        (['ts', 'js'] as const).map(async (language) => {
          // Two of them in a project of CommonJS.
          const files = i === 1 || i === 3 ? { 'package.json': CJS } : {};
          const cwd = project(`${store}-${cache}-${language}`, files as Record<string, string>);
          const flags = ['--store', store, '--cache', cache, '--queue', queue, '--language', language];
          expect(await init(cwd, ...flags)).toMatchObject({ code: 0, found: { store, cache, queue } });
        }),
      ),
    );
    const sources = globSync(['*/*.{ts,mts}', '*/{examples,test}/*.{ts,mts}'], { cwd: folder });
    expect(sources).toHaveLength(15);
    const compiler = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--target',
      'es2024',
      '--module',
      'nodenext',
      '--types',
      'node',
    ];
    const options = [
      '--allowImportingTsExtensions',
      '--erasableSyntaxOnly',
      '--verbatimModuleSyntax',
      '--skipLibCheck',
    ];
    const compiled = await runProgram(TSC, [...compiler, ...options, ...sources], { cwd: folder });
    expect(compiled).toMatchObject({ code: 0, out: '' });
    const tests = globSync('*/test/*', { cwd: folder });
    expect(tests).toHaveLength(10);
    const ran = await runProgram(process.execPath, ['--test', ...tests], { cwd: folder });
    expect(ran.out).toContain('pass 10');
    expect(ran.code).toBe(0);
  });

  test('a service has a pinned image and a health check', async () => {
    const cwd = project('services');
    await init(cwd, '--store', 'both');
    const compose = read(cwd, 'compose.lockstep.yaml');
    const images = [...compose.matchAll(/image: (\S+)/g)].map(([, image]) => image);
    expect(images).toHaveLength(4);
    // Its own `$schema` is an address that no validator knows.
    const { $schema: _, ...schema } = composeSchema;
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(schema);
    const parsed = parse(compose);
    validate(parsed);
    expect(validate.errors).toBeNull();
    const { cache, postgres, queue } = parsed.services;
    // A cache may evict, a queue must not; a server that is not ready yet must not pass for one that is.
    expect(cache.command.join(' ')).toMatch(/--maxmemory 256mb --maxmemory-policy allkeys-lfu/);
    expect(queue.command.join(' ')).toMatch(/--appendonly yes --maxmemory-policy noeviction/);
    for (const each of [cache, queue]) expect(each.healthcheck.test).toContain('-e');
    expect(postgres.healthcheck.test).toContain('--host=127.0.0.1');
    for (const image of images) expect(image).toMatch(/^[a-z]+:\d+\.\d+/);
    expect(compose.match(/healthcheck:/g)).toHaveLength(4);
  });

  test('the ranges of what is not ours are those that the packages declare', () => {
    const require = createRequire(import.meta.url);
    const peers = ['store-postgres', 'store-mongo', 'cache-redis', 'queue-bullmq'].map(
      (name) => require(`@lockstep/${name}/package.json`).peerDependencies as Record<string, string>,
    );
    const declared = Object.assign({}, ...peers) as Record<string, string>;
    const major = (range: string | undefined): string | undefined => range?.match(/^\^\d+/)?.[0];
    for (const [name, range] of Object.entries(RANGES)) expect(major(range)).toBe(major(declared[name]));
  });
});

describe('a project that exists', () => {
  test('keeps what it has: its scripts, ranges and indentation, in CommonJS', async () => {
    const cwd = project('existing', { 'package.json': CJS, 'pnpm-lock.yaml': '' });
    const { found } = await init(cwd);
    expect(found).toMatchObject({ packageManager: 'pnpm' });
    const text = read(cwd, 'package.json');
    expect(text).toContain('\n\t"name": "old"');
    expect(JSON.parse(text)).toMatchObject({
      scripts: {
        start: 'node server.js',
        'lockstep:start': 'node examples/lockstep.mjs',
        worker: 'lockstep worker',
      },
      dependencies: { knex: '^2.0.0', '@lockstep/store-postgres': expect.any(String) },
    });
    expect(JSON.parse(text)).not.toHaveProperty('type');
    expect(readdirSync(cwd)).toContain('lockstep.config.mjs');
  });

  test('pnpm: its settings get the decision on a build script, and keep what they have', async () => {
    const settings = "# ours\npackages:\n  - 'packages/*'\n";
    const root = project('workspace', { 'pnpm-workspace.yaml': settings });
    const cwd = join(root, 'packages');
    mkdirSync(cwd);
    writeFileSync(join(cwd, 'package.json'), '{}');
    await init(cwd, '--package-manager', 'pnpm');
    expect(read(root, 'pnpm-workspace.yaml')).toBe(`${settings}allowBuilds:\n  msgpackr-extract: false\n`);
    const again = await init(cwd, '--package-manager', 'pnpm');
    expect(again.found.files.filter(({ written }) => written)).toEqual([]);
  });

  test.each([
    ['pnpm', { 'pnpm-workspace.yaml': "packages: ['packages/*']\n" }],
    ['yarn', { 'package.json': '{ "workspaces": ["packages/*"] }', 'yarn.lock': '' }],
    ['bun', { 'package.json': '{ "workspaces": ["packages/*"], "packageManager": "bun@1.2.0" }' }],
  ])(
    'an empty folder of a workspace: installs with its %s, not with the caller’s',
    async (manager, files) => {
      const root = project(`empty-${manager}`, files);
      const cwd = join(root, 'packages', 'new');
      mkdirSync(cwd, { recursive: true });
      expect((await init(cwd, '--dry-run')).found).toMatchObject({ packageManager: manager });
    },
  );

  test('an empty folder below somebody else’s lockfile: installs with what the caller uses', async () => {
    const root = project('stray', { 'package.json': '{}', 'yarn.lock': '' });
    const cwd = join(root, 'new');
    mkdirSync(cwd);
    vi.stubEnv('npm_config_user_agent', 'bun/1.2.0');
    expect(await projectIn(cwd, {})).toMatchObject({ manager: 'bun' });
    vi.unstubAllEnvs();
  });

  test.each([
    ['yarn.lock', '', 'yarn'],
    ['bun.lock', '', 'bun'],
    ['package-lock.json', '', 'npm'],
    ['package.json', '{ "packageManager": "pnpm@10.0.0" }', 'pnpm'],
  ])('%s %s: installs with %s', async (file, text, manager) => {
    const cwd = project(`by-${manager}-${file}`, { 'package.json': '{}', [file]: text });
    const { found } = await init(cwd, '--dry-run');
    expect(found).toMatchObject({ packageManager: manager });
  });

  test('a second run changes nothing; a file that differs stays, but for --force', async () => {
    const cwd = project('twice');
    await init(cwd);
    const before = Object.fromEntries(
      readdirSync(cwd, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name, parentPath }) => [name, read(parentPath, name)]),
    );
    const again = await init(cwd);
    expect(again.found.files.filter(({ written }) => written)).toEqual([]);
    for (const [name, text] of Object.entries(before)) {
      const [file = ''] = globSync(`**/${name}`, { cwd });
      expect(read(cwd, file || name)).toBe(text);
    }
    writeFileSync(join(cwd, 'lockstep.config.ts'), '// mine\n');
    const kept = await runCli(['init', '--yes', '--no-install'], { cwd });
    expect(kept.out).toMatch(/keep +lockstep\.config\.ts +differs; --force replaces it/);
    expect(read(cwd, 'lockstep.config.ts')).toBe('// mine\n');
    await init(cwd, '--force');
    expect(read(cwd, 'lockstep.config.ts')).toBe(before['lockstep.config.ts']);
  });

  test('--dry-run writes nothing, also no folder', async () => {
    const cwd = project('dry');
    const { found } = await init(cwd, '--dry-run', 'inner');
    expect(found.files.length).toBeGreaterThan(5);
    expect(readdirSync(cwd)).toEqual([]);
  });

  test('what can’t be is one line that names the flag', async () => {
    const cwd = project('wrong');
    const cases = [
      [['init'], '--store'],
      [['init', '--cache', 'memory', '--queue', 'bullmq', '--yes'], '--queue'],
      [['init', '--store', 'mysql'], '--store'],
    ] as const;
    for (const [args, flag] of cases) {
      const { code, err } = await runCli(args, { cwd });
      expect(err).toContain(flag);
      expect(err).not.toMatch(/\n\s+at /);
      expect(code).toBe(2);
    }
    writeFileSync(join(cwd, 'package.json'), '{ oops');
    expect(await runCli(['init', '--yes'], { cwd })).toMatchObject({
      code: 2,
      err: expect.stringContaining('package.json: is no JSON'),
    });
    expect(existsSync(join(cwd, 'lockstep.config.ts'))).toBe(false);
  });
});
