import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redisCache } from '@lockstep/cache-redis';
import { type Collection, createLockstep, type Lockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { takesFile } from '../src/completion.js';
import { program } from '../src/program.js';
import { CLI, type Ran, runCli, runProgram } from './run.js';

// In this package's folder, so that a configuration finds what it imports.
const folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.cli-'));

interface Product {
  readonly id: number;
  readonly name: string;
}

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let redis: Awaited<ReturnType<typeof startRedis>>;
let knex: Knex;
let lockstep: Lockstep;
let products: Collection<Product, number>;
let environment: Record<string, string>;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ owned: true })]);
  knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 4 } });
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL)');
  environment = {
    LOCKSTEP_POSTGRES_URL: postgres.url,
    LOCKSTEP_REDIS_URL: redis.url,
    LOCKSTEP_QUEUE_REDIS_URL: redis.url,
    LOCKSTEP_COLLECTIONS: 'products=products:id',
    LOCKSTEP_PREFIX: 'cli',
  };
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await lockstep?.close();
  await knex?.destroy();
  await Promise.all([postgres?.stop(), redis?.stop()]);
});

function run(args: readonly string[], more: Record<string, string> = {}): Promise<Ran> {
  return runCli(args, { env: { ...environment, ...more }, cwd: tmpdir() });
}

async function json(...args: readonly string[]): Promise<{ readonly code: number; readonly found: unknown }> {
  const { code, err, out } = await run(['--json', ...args]);
  expect(err).toBe('');
  return { code, found: JSON.parse(out) };
}

describe('from the first deployment to an audit', () => {
  test('what is not attached is named, with the command that mends it', async () => {
    const { code, out } = await run(['status']);
    expect(out).toMatch(/✗ collection products: .*not attached.* → lockstep attach/);
    expect(code).toBe(1);
    expect(await run(['attach', '--check'])).toMatchObject({ code: 1 });
  });

  test('migrate prints the script, and changes nothing', async () => {
    const { code, out } = await run(['migrate']);
    expect(out).toContain('lockstep_version');
    expect(code).toBe(0);
    expect(await run(['attach', '--check'])).toMatchObject({ code: 1 });
    expect(await run(['migrate', 'print', '--check'])).toMatchObject({ code: 1 });
    expect((await run(['migrate', '--down'])).out).toContain('DROP');
  });

  test('what migrate writes for knex runs, both ways', async () => {
    const directory = join(folder, 'migrations');
    const written = await run(['migrate', 'print', '--format', 'knex', '--out', directory]);
    expect(written).toMatchObject({ code: 0, out: expect.stringContaining('_lockstep.js') });
    // This package's own files are modules; the working directory of the command is no project.
    writeFileSync(join(directory, 'package.json'), '{}');
    const config = { directory, loadExtensions: ['.js'], tableName: 'migrated' };
    await knex.migrate.latest(config);
    expect(await run(['migrate', 'print', '--check'])).toMatchObject({ code: 0 });
    await knex.migrate.rollback(config);
    expect(await run(['attach', '--check'])).toMatchObject({ code: 1 });
    await knex.schema.dropTable('migrated');
    await knex.schema.dropTable('migrated_lock');
  });

  test('attach attaches, once', async () => {
    expect(await run(['attach'])).toMatchObject({ code: 0, out: 'products (public.products): attached\n' });
    expect((await run(['attach'])).out).toContain('was attached');
    expect(await run(['attach', '--check'])).toMatchObject({ code: 0 });
    const store = postgresStore({ knex }).table<Product, number>('products', { key: 'id' });
    lockstep = createLockstep({ cache: redisCache({ url: redis.url }), prefix: 'cli' });
    products = lockstep.collection({ name: 'products', store });
    for (const id of [1, 2, 3]) await products.put(id, { id, name: `product ${id}` });
  });

  test('status: all is well', async () => {
    const { code, found } = await json('status');
    expect(found).toMatchObject({
      well: true,
      problems: [],
      enabled: true,
      collections: [{ name: 'products' }],
    });
    expect(code).toBe(0);
  });

  test('off and on: every process goes to the store within a second, and status says so', async () => {
    const from = async (): Promise<string> => (await products.getVersioned(1)).from;
    await expect.poll(from).toBe('cache');
    expect(await run(['off'])).toMatchObject({ code: 0, out: 'off: public.products\n' });
    await expect.poll(from).toBe('store');
    const off = await run(['status']);
    expect(off.out).toContain('✗ the cache is switched off: lockstep on');
    expect(off.code).toBe(1);
    expect(await run(['on'])).toMatchObject({ code: 0, out: 'on: public.products\n' });
    await expect.poll(from).toBe('cache');
    expect(await run(['off'], { LOCKSTEP_PREFIX: 'misspelt' })).toMatchObject({
      code: 2,
      err: expect.stringContaining('prefix: no store has a record of a cache of prefix "misspelt"'),
    });
  });

  test('status tells who uses the cache, a relay that is missing, and caches of other prefixes', async () => {
    await expect
      .poll(async () => (await json('status')).found, { timeout: 60_000, interval: 500 })
      .toMatchObject({ processes: [{ pid: process.pid, breaker: 'closed', enabled: true }] });
    const other = createLockstep({ cache: redisCache({ url: redis.url }), prefix: 'other' });
    const store = postgresStore({ knex }).table<Product, number>('products', { key: 'id' });
    await other.collection({ name: 'products', store, additional: true }).get(1);
    await other.close();
    const { code, out } = await run(['status']);
    expect(out).toContain('· no process here runs a relay');
    expect(out).toContain('prefix "other" was closed in order; its changes are kept → lockstep forget other');
    expect(out).toMatch(/application \S+ +pid \d+ +hit rate [\d.]+ % +breaker closed/);
    expect(code).toBe(0);
    expect(await run(['forget', 'other'])).toMatchObject({ code: 2, err: expect.stringContaining('--yes') });
    expect(await run(['forget', 'other', '--yes'])).toMatchObject({
      code: 0,
      out: 'forgotten: other on public.products\n',
    });
    expect(await run(['forget', 'other', '--yes'])).toMatchObject({ code: 2 });
    expect((await run(['status'])).out).not.toContain('"other"');
  });

  test('doctor looks at servers, clocks and the network', async () => {
    const { out } = await run(['doctor']);
    expect(out).toMatch(/✓ collection products: public\.products, with a change feed/);
    expect(out).toMatch(/cache network: a read takes [\d.]+ ms/);
    expect(out).toMatch(/✓ cache clock: \d+ ms (?:ahead of|behind) this machine/);
    expect(out).toMatch(/✓ postgres:\S+ server: Postgres \d+\.\d+/);
    expect(out).toMatch(/✓ postgres:\S+ pooler: none/);
    expect(out).toMatch(/postgres:\S+ network: a statement takes [\d.]+ ms/);
    expect(out).toMatch(/✓ postgres:\S+ clock: \d+ ms (?:ahead of|behind) this machine/);
  });

  test('doctor: a cache that may evict what is buffered', async () => {
    const client = new Redis(redis.url);
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const { code, out } = await run(['doctor'], { LOCKSTEP_BUFFERED: 'products' });
    await client.config('SET', 'maxmemory-policy', 'noeviction');
    client.disconnect();
    expect(out).toMatch(
      /✗ cache: .*allkeys-lru: may evict what is buffered of products: set maxmemory-policy/,
    );
    expect(code).toBe(1);
  });

  test('doctor: a cache whose clock is off', async () => {
    const file = join(folder, 'off.config.ts');
    writeFileSync(
      file,
      `import { createLockstep, systemClock } from '@lockstep/core';
      import { memoryCache, memoryStore } from '@lockstep/core/memory';
      const { monotonic, schedule } = systemClock;
      const clock = { now: () => Date.now() - 3_600_000, monotonic: () => monotonic(), schedule };
      const lockstep = createLockstep({ cache: memoryCache({ clock }) });
      lockstep.collection({ name: 'products', store: memoryStore({ name: 'products' }) });
      export default { lockstep };`,
    );
    const { code, out } = await run(['--config', file, 'doctor']);
    expect(out).toMatch(/✗ cache clock: 3\d{6} ms behind this machine: run NTP on both/);
    expect(code).toBe(1);
  });

  test('inspect shows entry and row', async () => {
    await products.get(1);
    const { code, found } = await json('inspect', 'products', '1', '--values');
    expect(found).toMatchObject({
      cacheKey: 'cli:products:1',
      entry: { state: 'value', writer: 'lockstep', expiresInMs: expect.any(Number) },
      row: { writer: 'lockstep', at: expect.stringMatching(/^20/) },
      verdict: 'in step',
      stored: { id: 1, name: 'product 1' },
    });
    expect(code).toBe(0);
    const none = await run(['inspect', 'nothing', '1']);
    expect(none).toMatchObject({ code: 2 });
    expect(none.err).toContain('there is no "nothing"; the configuration declares products');
  });

  test('verify finds what the triggers did not tell, and --repair mends it', async () => {
    for (const id of [1, 2, 3]) await products.get(id);
    await knex.raw('ALTER TABLE products DISABLE TRIGGER ALL');
    await knex.raw(
      "UPDATE products SET name = 'other', lockstep_version = lockstep_version + 2 WHERE id = 2",
    );
    await knex.raw("UPDATE products SET name = 'other' WHERE id = 3");
    await knex.raw('ALTER TABLE products ENABLE TRIGGER ALL');
    const before = await json('verify', '--lag', '1');
    expect(before.found).toMatchObject([{ collection: 'products', inStep: 1, stale: 1, different: 1 }]);
    expect(before.code).toBe(1);
    expect(await json('verify', '--lag', '1', '--repair')).toMatchObject({
      code: 1,
      found: [{ repaired: 2 }],
    });
    expect(await json('verify', '--lag', '1')).toMatchObject({
      code: 0,
      found: [{ stale: 0, different: 0 }],
    });
    expect(await products.get(2)).toMatchObject({ name: 'other' });
  });

  test('verify goes on where it was ended', async () => {
    const ids = Array.from({ length: 1_200 }, (_, i) => i + 1_000);
    await products.putMany(ids.map((id) => [id, { id, name: 'many' }] as const));
    const file = join(folder, 'verify.json');
    const args = ['--json', 'verify', '--resume', file, '--per-second', '600'];
    const child = spawn(process.execPath, [CLI, ...args], {
      env: { PATH: process.env['PATH'], ...environment },
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await expect.poll(() => existsSync(file)).toBe(true);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    const { products: saved } = JSON.parse(readFileSync(file, 'utf8'));
    expect(saved).toMatchObject({ isDone: false, position: expect.stringMatching(/^0\/1:\d+$/) });
    const { code, found } = await json('verify', '--resume', file);
    expect(found).toMatchObject([{ inStep: 1_202, notJudged: 1, stale: 0 }]);
    expect(code).toBe(0);
    expect(existsSync(file)).toBe(false);
    await products.deleteMany(ids);
  });

  test('invalidate, and warm again', async () => {
    expect(await run(['invalidate', 'products', '1', '2'])).toMatchObject({
      code: 0,
      out: '2 entries: invalidated\n',
    });
    const asked = await run(['invalidate', 'products', '--all']);
    expect(asked.err).toContain('--yes');
    expect(asked.code).toBe(2);
    expect((await run(['invalidate', 'products', '--all', '--yes'])).code).toBe(0);
    const file = join(folder, 'ids');
    writeFileSync(file, '1\n2\n3\n99\n');
    expect(await json('warm', 'products', file)).toMatchObject({ code: 0, found: { asked: 4, found: 3 } });
    expect((await products.getVersioned(1)).from).toBe('cache');
  });

  test('dead letters: none', async () => {
    expect(await run(['dead-letters'])).toMatchObject({ code: 0, out: 'none\n' });
    expect(await run(['replay'])).toMatchObject({ code: 2 });
  });

  test('a configuration file serves as the worker’s does', async () => {
    const file = join(folder, 'lockstep.config.ts');
    writeFileSync(
      file,
      `import { redisCache } from '@lockstep/cache-redis';
      import { createLockstep } from '@lockstep/core';
      import { postgresStore } from '@lockstep/store-postgres';
      import knexPackage from 'knex';
      const knex = knexPackage({ client: 'pg', connection: process.env.LOCKSTEP_POSTGRES_URL });
      export default {
        lockstep: () => {
          const lockstep = createLockstep({ cache: redisCache({ url: process.env.LOCKSTEP_REDIS_URL }), prefix: 'cli' });
          lockstep.collection({ name: 'products', store: postgresStore({ knex }).table('products', { key: 'id' }) });
          return lockstep;
        },
        close: () => knex.destroy(),
      };`,
    );
    expect(await run(['--config', file, 'status'])).toMatchObject({ code: 0 });
    expect(await run(['--config', join(folder, 'none.ts'), 'status'])).toMatchObject({ code: 2 });
  });

  test('detach asks first', async () => {
    expect(await run(['detach', 'products'])).toMatchObject({ code: 2 });
    expect(await run(['detach', 'products', '--yes'])).toMatchObject({ code: 0 });
    expect(await run(['attach', '--check'])).toMatchObject({ code: 1 });
  });
});

test('a server that is away is one line, without a stack', async () => {
  const { code, err, out } = await run(['status'], { LOCKSTEP_REDIS_URL: 'redis://127.0.0.1:1' });
  expect(out).toMatch(/✗ cache redis: .*ECONNREFUSED/);
  expect(out + err).not.toMatch(/\n\s+at /);
  expect(code).toBe(1);
});

test('every command explains itself; a flag that is none is refused', async () => {
  const { out } = await run(['--help']);
  const commands = [...out.matchAll(/^ {2}([a-z-]+) /gm)].map(([, name]) => name);
  expect(commands).toEqual(expect.arrayContaining(['status', 'verify', 'attach', 'inspect', 'doctor']));
  expect(await run(['status', '--help'])).toMatchObject({ code: 0 });
  expect(await run(['status', '--no-such-flag'])).toMatchObject({ code: 2 });
});

test.each([
  ['--config x', true],
  ['status --config x', true],
  ['init x', true],
  ['warm products x', true],
  ['warm x', false],
  ['verify --resume x', true],
  ['verify x', false],
  ['migrate print --out x', true],
  ['migrate print --format x', false],
  ['inspect products x', false],
])('completion of "%s": names of files: %s', (words, files) => {
  expect(takesFile(program(), words.split(' '))).toBe(files);
});

test('what completion prints for bash can be read twice, completes, and takes typed words for words', async () => {
  const { out } = await run(['completion', 'bash']);
  const script = join(folder, 'completion.bash');
  writeFileSync(script, out);
  const trap = join(folder, 'executed');
  // The first is what the package bash-completion brings.
  const asked = await runProgram(
    'bash',
    [
      '--norc',
      '-c',
      `_get_comp_words_by_ref() { words=("\${COMP_WORDS[@]}"); cur=\${words[-1]}; }
      lockstep() { "${process.execPath}" "${CLI}" "$@"; }
      compopt() { echo "compopt $*" >&2; }
      source "${script}"; source "${script}"; complete -p lockstep
      for typed in sta '' '$(touch "${trap}")'; do
        COMP_WORDS=(lockstep "$typed"); __lockstep_complete; echo "\${COMPREPLY[*]}"
      done
      lockstep complete -- --config x | tail -1`,
    ],
    { cwd: tmpdir() },
  );
  // No names of files beside names of commands.
  expect(asked.err).toBe('compopt +o default\n'.repeat(3));
  const [registered, status, all = '', _, asksFile] = asked.out.split('\n');
  expect(registered).toBe('complete -o default -F __lockstep_complete lockstep');
  expect(status).toBe('status');
  expect(all.split(' ')).toEqual(expect.arrayContaining(['attach', 'verify', 'worker']));
  expect(existsSync(trap)).toBe(false);
  expect(asksFile).toBe(':0');
});
