import { spawnSync } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import { startRedis } from '@lockstep/dev-services';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLI, runCli, startCli } from './support/cli.js';
import { openShop, type Shop, startShop } from './support/shop.js';
import { until } from './support/until.js';

let shop: Shop;
let redis: Awaited<ReturnType<typeof startRedis>>;
let variables: Record<string, string>;

beforeAll(async () => {
  [shop, redis] = await Promise.all([startShop(20), startRedis({ owned: true })]);
  variables = {
    LOCKSTEP_POSTGRES_URL: shop.url,
    LOCKSTEP_REDIS_URL: redis.url,
    LOCKSTEP_QUEUE_REDIS_URL: redis.url,
    LOCKSTEP_COLLECTIONS: 'products=public.products:id',
    LOCKSTEP_PREFIX: 'env',
    LOCKSTEP_PORT: '0',
  };
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await redis.stop();
});

describe('the command line', () => {
  test('--help names every variable, --version the version', async () => {
    const help = await runCli(['--help']);
    expect(help.code).toBe(0);
    expect(help.out).toContain('LOCKSTEP_COLLECTIONS');
    expect(await runCli(['--version'])).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+/) });
  });

  test('an older Node.js gets one clear line, exit code 2', () => {
    const older = 'Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})';
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', `data:text/javascript,${older}`, CLI],
      {
        encoding: 'utf8',
      },
    );
    expect(stderr).toMatch(/^lockstep-worker: needs Node.js 22 or later; this is v[\d.]+\n$/);
    expect(status).toBe(2);
  });

  test.each([
    ['LOCKSTEP_PORT', '99999'],
    ['LOCKSTEP_LOG_LEVEL', 'loud'],
    ['LOCKSTEP_COLLECTIONS', 'products'],
    ['LOCKSTEP_POSTGRES_URL', 'secret'],
    ['LOCKSTEP_METRICS_PORT', '-1'],
    ['LOCKSTEP_ALLOWED_HOSTS', 'https://a.example'],
    ['LOCKSTEP_MAX_PAYLOAD_BYTES', '0'],
    ['LOCKSTEP_INTEGRITY_KEYS', 'one:a secret that is short'],
    ['LOCKSTEP_INTEGRITY_KEYS_FILE', '/no/such/file'],
    ['LOCKSTEP_INTEGRITY_ACCEPT_UNSIGNED', 'yes'],
    ['LOCKSTEP_ADDITIONAL', 'yes'],
    ['LOCKSTEP_DISABLED', 'yes'],
  ])('a wrong %s is named in one line, exit code 2', async (name, value) => {
    const { code, err } = await runCli([], { ...variables, [name]: value });
    expect(err).toMatch(new RegExp(`^lockstep-worker: ${name}: .*\n$`));
    expect(err).not.toContain('secret');
    expect(code).toBe(2);
  });
});

describe('--check says what is missing, exit code 1:', () => {
  beforeAll(async () => {
    await shop.knex.raw('CREATE TABLE unattached (id int PRIMARY KEY, n int)');
  });

  test.each([
    [
      'a table that is not there',
      { LOCKSTEP_COLLECTIONS: 'p=nowhere:id' },
      /collection p: .*public\.nowhere/,
    ],
    [
      'a table that is not attached',
      { LOCKSTEP_COLLECTIONS: 'p=unattached:id' },
      /collection p: .*not attached/,
    ],
    [
      'a column that is not there',
      { LOCKSTEP_COLLECTIONS: 'p=products:no' },
      /collection p: .*no column "no"/,
    ],
    ['another key', { LOCKSTEP_COLLECTIONS: 'p=products:name' }, /collection p: .*key/],
    ['a cache that is away', { LOCKSTEP_REDIS_URL: 'redis://127.0.0.1:1' }, /cache redis: .*ECONNREFUSED/],
    [
      'a queue that is away',
      { LOCKSTEP_QUEUE_REDIS_URL: 'redis://127.0.0.1:1' },
      /queue bullmq.*ECONNREFUSED/,
    ],
    ['a database that is away', { LOCKSTEP_POSTGRES_URL: 'postgres://127.0.0.1:1/x' }, /ECONNREFUSED/],
  ])('%s', async (_, wrong, problem) => {
    const { code, out } = await runCli(['--check'], { ...variables, ...wrong });
    const { problems, ready } = JSON.parse(out) as { problems: string[]; ready: boolean };
    expect(problems.join('\n')).toMatch(problem);
    expect(ready).toBe(false);
    expect(code).toBe(1);
  });

  test('a password that is wrong', async () => {
    const url = redis.url.replace('//', '//somebody:wrong@');
    const { code, out } = await runCli(['--check'], { ...variables, LOCKSTEP_REDIS_URL: url });
    expect(out).toContain('WRONGPASS');
    expect(code).toBe(1);
  });

  test('a database number that the server lacks, of the cache and of the queue', async () => {
    const url = `${redis.url}/999`;
    const [cache, queue] = await Promise.all([
      runCli(['--check'], { ...variables, LOCKSTEP_REDIS_URL: url }),
      runCli(['--check'], { ...variables, LOCKSTEP_QUEUE_REDIS_URL: url }),
    ]);
    for (const { code, err, out } of [cache, queue]) {
      expect(out + err).toContain('Redis has no database 999');
      expect(code).toBe(1);
    }
  });

  test('servers that accept connections and say nothing: it ends all the same', async () => {
    const silent = createServer((socket) => void socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const url = `redis://127.0.0.1:${port}`;
    const { code, out } = await runCli(['--check'], {
      ...variables,
      LOCKSTEP_POSTGRES_URL: `postgres://u:p@127.0.0.1:${port}/x`,
      LOCKSTEP_REDIS_URL: url,
      LOCKSTEP_QUEUE_REDIS_URL: url,
    });
    const { problems } = JSON.parse(out) as { problems: string[] };
    for (const part of ['collection', 'cache', 'queue']) {
      expect(problems.some((problem) => problem.startsWith(part))).toBe(true);
    }
    expect(code).toBe(1);
    silent.close();
  });

  test('nothing: ready, exit code 0', async () => {
    const { code, out } = await runCli(['--check'], variables);
    expect(JSON.parse(out)).toMatchObject({ ready: true, problems: [] });
    expect(code).toBe(0);
  });
});

test('with another prefix than the application’s: not ready, and says why, unless it is meant', async () => {
  const { lockstep, products } = openShop({ knex: shop.knex, redis: redis.url, prefix: 'env' });
  await using _ = lockstep;
  await products.get(2);
  const ready = async (more: Record<string, string>): Promise<[number, string]> => {
    await using cli = startCli([], { ...variables, ...more });
    const probes = await cli.metricsUrl();
    let answer: [number, string] = [0, ''];
    await until('it says what it is', async () => {
      const response = await fetch(`${probes}/health/ready`);
      answer = [response.status, await response.text()];
      return answer[1].includes('prefix') || more['LOCKSTEP_ADDITIONAL'] !== undefined;
    });
    return answer;
  };
  const [refused, why] = await ready({ LOCKSTEP_PREFIX: 'typo' });
  expect(refused).toBe(503);
  expect(why).toMatch(/prefix \\"env\\".*this is the cache of prefix \\"typo\\"/);
  expect((await ready({ LOCKSTEP_PREFIX: 'typo', LOCKSTEP_ADDITIONAL: 'true' }))[0]).toBe(200);
});

test('from the environment: answers, relays a foreign write within a second (G6), drains on SIGTERM', async () => {
  const { lockstep, products } = openShop({ knex: shop.knex, redis: redis.url, prefix: 'env' });
  await using _ = lockstep;
  await using cli = startCli([], variables);
  const probes = await cli.metricsUrl();
  expect((await fetch(`${probes}/health/live`)).status).toBe(200);
  await until('it is ready', async () => (await fetch(`${probes}/health/ready`)).status === 200);
  const metrics = await (await fetch(`${probes}/metrics`)).text();
  expect(metrics).toContain('lockstep_ready 1');
  expect(metrics).toContain('lockstep_queue_jobs{state="dead"} 0');
  expect(await products.get(1)).toMatchObject({ name: 'first' });
  const took: number[] = [];
  for (const name of ['one', 'two', 'three', 'four', 'five']) {
    await shop.knex.raw('UPDATE public.products SET name = ? WHERE id = 1', [name]);
    took.push(await until('readers see it', async () => (await products.get(1))?.name === name));
  }
  // The best of five: another process may hold any of them up.
  expect(Math.min(...took)).toBeLessThan(1_000);
  cli.child.kill('SIGTERM');
  expect(await cli.ended).toBe(0);
});
