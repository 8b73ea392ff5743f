import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startProxy, startRedis } from '@lockstep/dev-services';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VARIABLES } from '../src/config/environment.js';
import { startWorker } from '../src/index.js';
import { runCli, startCli } from './support/cli.js';
import { openShop, type Shop, startShop } from './support/shop.js';
import { until } from './support/until.js';

const CONFIG = fileURLToPath(new URL('./support/lockstep.config.ts', import.meta.url));

let shop: Shop;
let redis: Awaited<ReturnType<typeof startRedis>>;

beforeAll(async () => {
  [shop, redis] = await Promise.all([startShop(50), startRedis({ owned: true })]);
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await redis.stop();
});

/** The environment's configuration, with a prefix of its own. */
function variables(prefix: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    LOCKSTEP_POSTGRES_URL: shop.url,
    LOCKSTEP_REDIS_URL: redis.url,
    LOCKSTEP_COLLECTIONS: 'products=public.products:id',
    LOCKSTEP_PREFIX: prefix,
    // The tests of this file share one table.
    LOCKSTEP_ADDITIONAL: 'true',
    LOCKSTEP_PORT: '0',
    ...more,
  };
}

const fileVariables = (prefix: string): Record<string, string> => ({
  TEST_POSTGRES_URL: shop.url,
  TEST_REDIS_URL: redis.url,
  TEST_PREFIX: prefix,
});

async function rename(id: number, name: string): Promise<void> {
  await shop.knex.raw('UPDATE public.products SET name = ? WHERE id = ?', [name, id]);
}

describe('a configuration file', () => {
  test('in TypeScript: relays, flushes what is buffered through the queue, keeps values out of its log', async () => {
    await using cli = startCli(['--config', CONFIG], fileVariables('file'));
    const probes = await cli.metricsUrl();
    await using lockstep = createLockstep({
      cache: redisCache({ url: redis.url }),
      queue: bullmqQueue({ connection: { url: redis.url }, name: 'file' }),
      prefix: 'file',
    });
    const store = postgresStore({ knex: shop.knex }).table<{ id: number; name: string }, number>('products', {
      key: 'id',
    });
    const products = lockstep.collection({
      name: 'products',
      store,
      additional: true,
      strategy: 'write-behind',
    });
    expect(await products.get(30)).toMatchObject({ name: 'first' });
    // A process that starts while another searches the cache puts nothing into it for a second.
    await until('the row is cached', async () => (await products.getVersioned(30)).from === 'cache');
    const { store: where } = await products.put(30, { id: 30, name: 'a secret name' });
    expect(where).toBe('buffered');
    await until('the worker has flushed it', async () => {
      const { rows } = await shop.knex.raw('SELECT name FROM public.products WHERE id = 30');
      return rows[0].name === 'a secret name';
    });
    await rename(30, 'foreign');
    await until('readers see the foreign write', async () => (await products.get(30))?.name === 'foreign');
    await until('the flush is counted', async () =>
      (await (await fetch(`${probes}/metrics`)).text()).includes(
        'lockstep_flushes_total{collection="products",outcome="stored"}',
      ),
    );
    cli.child.kill('SIGINT');
    expect(await cli.ended).toBe(0);
    expect(cli.output.out + cli.output.err).not.toContain('a secret name');
  });

  test('--check starts, tells the state as JSON, and ends', async () => {
    const { code, out } = await runCli(['--config', CONFIG, '--check'], fileVariables('check'));
    expect(JSON.parse(out)).toMatchObject({
      ready: true,
      problems: [],
      cache: { enabled: true, switchedOff: [] },
      feeds: [{ pending: expect.any(Number) }],
      queue: { dead: 0 },
      unflushed: { products: 0 },
    });
    expect(code).toBe(0);
  });

  test.each([
    ['/no/such/lockstep.config.ts', 'there is no file'],
    [fileURLToPath(new URL('./support/until.ts', import.meta.url)), 'must export defineWorker'],
  ])('%s is refused: %s', async (file, message) => {
    const { code, err } = await runCli(['--config', file]);
    expect(err).toContain(message);
    expect(code).toBe(2);
  });
});

test('not ready while the store is cut, and ready again after', async () => {
  await using proxy = await startProxy({ target: shop.url });
  await using cli = startCli([], variables('cut', { LOCKSTEP_POSTGRES_URL: proxy.url }));
  const probes = await cli.metricsUrl();
  const ready = async (): Promise<number> => (await fetch(`${probes}/health/ready`)).status;
  await until('it is ready', async () => (await ready()) === 200);
  proxy.hold();
  await until('it is not', async () => (await ready()) === 503);
  expect((await fetch(`${probes}/health/live`)).status).toBe(200);
  const { problems } = (await (await fetch(`${probes}/health/ready`)).json()) as { problems: string[] };
  expect(problems.join()).toContain('feed');
  await proxy.heal();
  await until('it is again', async () => (await ready()) === 200);
});

test('G9: of two workers one is killed under load, and the other does what is left', async () => {
  const { lockstep, products } = openShop({ knex: shop.knex, redis: redis.url, prefix: 'pair' });
  await using _ = lockstep;
  const ids = Array.from({ length: 20 }, (_, i) => i + 1);
  await products.getMany(ids);
  await using first = startCli([], variables('pair'));
  await using second = startCli([], variables('pair'));
  await Promise.all([first.url(), second.url()]);
  const renaming = Promise.all(ids.map((id) => rename(id, 'renamed')));
  first.child.kill('SIGKILL');
  await renaming;
  await until('no reader sees an old name', async () =>
    (await products.getMany(ids)).every((row) => row?.name === 'renamed'),
  );
});

test('G9: a worker that is told to end under load ends what it does, and another does what is left', async () => {
  await using first = startCli(['--config', CONFIG], fileVariables('term'));
  await using second = startCli(['--config', CONFIG], fileVariables('term'));
  const [probes] = await Promise.all([first.metricsUrl(), second.url()]);
  await using lockstep = createLockstep({
    cache: redisCache({ url: redis.url }),
    queue: bullmqQueue({ connection: { url: redis.url }, name: 'term' }),
    prefix: 'term',
  });
  const store = postgresStore({ knex: shop.knex }).table<{ id: number; name: string }, number>('products', {
    key: 'id',
  });
  const products = lockstep.collection({
    name: 'products',
    store,
    additional: true,
    strategy: 'write-behind',
  });
  const buffered = Array.from({ length: 15 }, (_, i) => i + 1);
  const foreign = buffered.map((id) => id + 15);
  const ids = [...buffered, ...foreign];
  await products.getMany(ids);
  let round = 0;
  const write = async (): Promise<void> => {
    round += 1;
    const name = `round ${round}`;
    await Promise.all([
      ...buffered.map((id) => products.put(id, { id, name })),
      ...foreign.map((id) => rename(id, name)),
    ]);
  };
  let ending = false;
  const load = (async () => {
    while (!ending) await write();
  })();
  const flushed = 'lockstep_flushes_total{collection="products",outcome="stored"}';
  await until('it flushes', async () => (await (await fetch(`${probes}/metrics`)).text()).includes(flushed));
  first.child.kill('SIGTERM');
  expect(await first.ended).toBe(0);
  ending = true;
  await load;
  expect(first.lines().at(-1)?.msg).toBe('worker stopped');
  expect(first.lines().filter(({ msg }) => msg === 'a job failed' || msg === 'failed')).toEqual([]);
  const last = `round ${round}`;
  await until('no reader sees an older name', async () =>
    (await products.getMany(ids)).every((row) => row?.name === last),
  );
  await until('the database has them all', async () => {
    const { rows } = await shop.knex.raw('SELECT name FROM public.products WHERE id = ANY (?)', [ids]);
    return rows.every((row: { name: string }) => row.name === last);
  });
});

test('G9: a worker that starts finds a buffered write of which neither the queue nor the index knows', async () => {
  await using lockstep = createLockstep({
    cache: redisCache({ url: redis.url }),
    queue: bullmqQueue({ connection: { url: redis.url }, name: 'nobody' }),
    prefix: 'forgotten',
  });
  const store = postgresStore({ knex: shop.knex }).table<{ id: number; name: string }, number>('products', {
    key: 'id',
  });
  const products = lockstep.collection({
    name: 'products',
    store,
    additional: true,
    strategy: 'write-behind',
  });
  await until('the row is cached', async () => (await products.getVersioned(35)).from === 'cache');
  expect(await products.put(35, { id: 35, name: 'forgotten' })).toMatchObject({ store: 'buffered' });
  const client = new Redis(redis.url);
  expect(await client.del('unflushed:forgotten:products:')).toBe(1);
  client.disconnect();
  await using cli = startCli(['--config', CONFIG], fileVariables('forgotten'));
  await cli.url();
  await until('the worker has flushed it', async () => {
    const { rows } = await shop.knex.raw('SELECT name FROM public.products WHERE id = 35');
    return rows[0].name === 'forgotten';
  });
  expect(cli.lines().filter(({ msg }) => msg === 'failed')).toEqual([]);
});

test('a queue whose Redis may evict jobs is refused, unless the user says so', async () => {
  const evicting = await startRedis({ owned: true, maxmemory: '64mb', maxmemoryPolicy: 'allkeys-lru' });
  try {
    const env = variables('evict', { LOCKSTEP_QUEUE_REDIS_URL: evicting.url });
    const { code, err } = await runCli([], env);
    expect(err).toContain('maxmemory-policy');
    expect(code).toBe(2);
    expect((await runCli(['--check', '--allow-queue-eviction'], env)).code).toBe(0);
  } finally {
    await evicting.stop();
  }
});

test('in a program: the relay alone, dead letters only with a queue, who calls from elsewhere is refused', async () => {
  const { lockstep, products } = openShop({ knex: shop.knex, redis: redis.url, prefix: 'program' });
  const worker = await startWorker({ lockstep, port: 0, logger: pino({ enabled: false }) });
  try {
    await products.get(40);
    await rename(40, 'by SQL');
    await until('readers see it', async () => (await products.get(40))?.name === 'by SQL');
    expect((await worker.status()).queue).toBeNull();
    expect((await fetch(`${worker.url}/api/dead-letters`)).status).toBe(404);
    expect(await (await fetch(worker.url)).text()).toContain('Dead letters');
    const discard = (headers: Record<string, string>) =>
      fetch(`${worker.url}/api/dead-letters/discard`, { method: 'POST', headers, body: '{}' });
    expect((await discard({ 'content-type': 'text/plain' })).status).toBe(403);
    const json = { 'content-type': 'application/json' };
    expect((await discard({ ...json, origin: 'https://elsewhere.example' })).status).toBe(403);
  } finally {
    await worker.close();
  }
  // The Lockstep was not made by the worker, and goes on.
  expect(await products.get(40)).toMatchObject({ name: 'by SQL' });
  await lockstep.close();
});

test('dead letters: shown, replayed and discarded over HTTP, with nothing misspelt', async () => {
  await using cli = startCli(['--config', CONFIG], fileVariables('letters'));
  const url = await cli.url();
  const queue = bullmqQueue({ connection: { url: redis.url }, name: 'letters' });
  try {
    const refused = { version: 1, payload: '{', encoding: 'utf8' } as const;
    await queue.enqueue([{ kind: 'flush', collection: 'products', key: '1', refused }]);
    const letters = async () =>
      ((await (await fetch(`${url}/api/dead-letters`)).json()) as { letters: { id: string }[] }).letters;
    await until('it is a dead letter', async () => (await letters()).length === 1);
    const [letter] = await letters();
    expect(letter).toMatchObject({ kind: 'flush', key: '1', hasValue: true, error: expect.any(String) });
    expect(JSON.stringify(letter)).not.toContain('payload');
    const post = (action: string, body: unknown) =>
      fetch(`${url}/api/dead-letters/${action}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await post('discard', { id: ['x'] })).status).toBe(400);
    expect((await fetch(`${url}/api/dead-letters?limit=1000`)).status).toBe(400);
    expect(await (await post('value', { id: letter?.id })).json()).toEqual({ value: '{' });
    expect(await (await post('replay', { ids: ['unknown'] })).json()).toEqual({ count: 0 });
    expect(await (await post('discard', {})).json()).toEqual({ count: 1 });
    expect(await letters()).toEqual([]);
  } finally {
    await queue.close();
  }
});

test("the README's table of variables is the program's", () => {
  const readme = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  const documented = [...readme.matchAll(/^\| `(LOCKSTEP_\w+)`/gm)].map(([, name]) => name);
  expect(documented).toEqual(Object.keys(VARIABLES));
});
