import { startPostgres } from '@lockstep/dev-services';
import { describe, expect, test } from 'vitest';
import { alive, DemoProcess, headless, status, until } from './support/demo.js';

const SMALL = ['--reads', '1500', '--writes', '60', '--products', '500', '--seed', '7'];

describe('a run without a page', () => {
  test('meets the classic scenario’s promises on a small scale', async () => {
    const figures = await headless([...SMALL, '--seconds', '3']);
    expect(figures).toMatchObject({
      staleReads: 0,
      staleViews: 0,
      staleViewSamples: [],
      failedReads: 0,
      failedWrites: 0,
      unjudgedReads: 0,
      faults: {},
      failures: [],
      feedDrained: true,
      auditMismatches: 0,
      unexpectedExits: 0,
      engine: 'lockstep',
      seed: 7,
    });
    expect(figures.reads + figures.skippedReads).toBeGreaterThan(4_000);
    expect(figures.writes + figures.skippedWrites).toBeGreaterThan(140);
    expect(figures.checkedReads).toBeGreaterThan(figures.reads * 0.99);
    expect(figures.storeLoadReduction).toBeGreaterThanOrEqual(0.99);
    expect(figures.warmupQueries).toBeGreaterThan(0);
    expect(figures.checkedViews).toBeGreaterThan(50);
    expect(figures.viewLoads).toBeLessThan(figures.viewReads);
    expect(figures.reviewWrites).toBeGreaterThan(0);
    expect(figures.httpReads).toBeGreaterThan(0);
    expect(figures.httpWrites).toBeGreaterThan(0);
    expect(figures.auditedEntries).toBeGreaterThan(400);
    for (const latency of [figures.readMs, figures.writeMs, figures.writeStoreMs, figures.writeCacheMs]) {
      expect(latency.p50).toBeGreaterThan(0);
      expect(latency.p99).toBeGreaterThanOrEqual(latency.p50);
    }
    expect(Object.keys(figures.feedLagMs).sort()).toEqual(['count', 'max', 'p50', 'p99', 'p999']);
    expect(figures.versions['store']).toContain('PostgreSQL');
  });

  test('G2, G4, G5, G6, G9: faults leave no stale and no failed call, and no entry that differs from its row', async () => {
    const faults = ['redis-freeze', 'redis-kill', 'queue-kill', 'app-kill', 'foreign-write'];
    const figures = await headless([...SMALL, '--seconds', '12', '--faults', faults.join(',')]);
    expect(Object.keys(figures.faults).sort()).toEqual([...faults].sort());
    expect(figures.faults['foreign-write']).toBeGreaterThan(50);
    expect(figures).toMatchObject({
      staleReads: 0,
      staleSamples: [],
      staleViews: 0,
      staleViewSamples: [],
      failedReads: 0,
      failedWrites: 0,
      feedDrained: true,
      auditMismatches: 0,
      unexpectedExits: 0,
    });
    expect(figures.cacheDownMs).toBeGreaterThan(500);
    expect(figures.feedLagMs.count).toBeGreaterThan(20);
    expect(figures.feedLagMs.p50).toBeLessThan(1_000);
    expect(figures.auditedEntries).toBeGreaterThan(100);
  });

  test('the naive pattern shows stale reads, to the same generator and checker', async () => {
    const naive = [...SMALL, '--engine', 'naive', '--seconds', '6', '--faults', 'foreign-write,redis-freeze'];
    const figures = await headless(naive);
    expect(figures.staleReads).toBeGreaterThan(0);
    expect(figures.staleViews).toBeGreaterThan(0);
    expect(figures.auditMismatches).toBeGreaterThan(0);
    expect(figures.staleSamples[0]?.version).toBeLessThan(figures.staleSamples[0]?.expected ?? 0);
  });

  test('without a Redis to be had it goes on in one process, in memory, and says so', async () => {
    await using postgres = await startPostgres();
    const env = { POSTGRES_URL: postgres.url, LOCKSTEP_SERVICES_ORIGINS: 'env', REDIS_URL: '' };
    const figures = await headless([...SMALL, '--seconds', '2'], env);
    expect(figures.notes.join()).toContain('the cache is the memory of one process');
    expect(figures).toMatchObject({ staleReads: 0, failedReads: 0, failedWrites: 0, auditMismatches: 0 });
    expect(figures.auditedEntries).toBeGreaterThan(400);
  });

  test('runs on MongoDB, under the same eyes', async () => {
    const argv = ['--store', 'mongo', ...SMALL, '--reads', '800', '--writes', '40', '--seconds', '4'];
    const figures = await headless([...argv, '--faults', 'foreign-write,app-kill']);
    expect(figures).toMatchObject({
      store: 'mongo',
      staleReads: 0,
      staleSamples: [],
      staleViews: 0,
      staleViewSamples: [],
      failedReads: 0,
      failedWrites: 0,
      feedDrained: true,
      auditMismatches: 0,
    });
    expect(figures.versions['store']).toContain('MongoDB');
    expect(figures.faults).toMatchObject({ 'app-kill': 1 });
    expect(figures.auditedEntries).toBeGreaterThan(100);
  });

  test('G4, G5, G6, G9: elections of the replica set fail no write but those of unknown outcome, and leave no stale read', async () => {
    const argv = ['--store', 'mongo', ...SMALL, '--reads', '800', '--writes', '40', '--seconds', '9'];
    const figures = await headless([...argv, '--faults', 'mongo-stepdown,mongo-kill,foreign-write']);
    const { failures, storeDownMs } = figures;
    const failedReads = failures.filter(({ where }) => where === 'read' || where === 'http');
    expect({ storeDownMs, failedReads }).toEqual({ storeDownMs, failedReads: [] });
    expect(figures).toMatchObject({
      faults: { 'mongo-stepdown': 1, 'mongo-kill': 1 },
      staleReads: 0,
      staleSamples: [],
      staleViews: 0,
      staleViewSamples: [],
      failedReads: 0,
      feedDrained: true,
      auditMismatches: 0,
      unexpectedExits: 0,
    });
    const { failedWrites } = figures;
    expect({ failedWrites, failures }).toEqual({ failedWrites: figures.unknownWrites, failures });
    // Writes under way when a connection was lost; later ones wait for the next primary.
    const cameMeanwhile = (figures.storeDownMs / 1_000) * 40;
    expect(figures.unknownWrites).toBeLessThan(cameMeanwhile / 4);
    expect(figures.storeDownMs).toBeGreaterThan(500);
    // Without a primary there is no feed: a change of the moment before waits for the next one.
    expect(figures.feedLagMs.p999).toBeLessThan(figures.storeDownMs + 10_000);
    expect(figures.auditedEntries).toBeGreaterThan(100);
  });

  test('a mix of the table brings its own rates, sizes and kinds of writes', async () => {
    const figures = await headless([
      '--mix',
      'cluster14',
      '--products',
      '300',
      '--seconds',
      '2',
      '--seed',
      '3',
    ]);
    const share = figures.reads / (figures.reads + figures.writes);
    expect(figures.mix).toBe('cluster14');
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.8);
    expect(figures).toMatchObject({ staleReads: 0, failedWrites: 0, auditMismatches: 0 });
  });
});

describe('the command', () => {
  test('a bad option is one line that names it, and exit code 2', async () => {
    await using demo = new DemoProcess(['--reads', 'plenty']);
    const { code, stderr, stdout } = await demo.ended;
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain('--reads');
  });

  test('help names every option', async () => {
    await using demo = new DemoProcess(['--help']);
    const { code, stdout } = await demo.ended;
    expect(code).toBe(0);
    for (const option of [
      '--port',
      '--faults',
      '--mix',
      '--trace',
      '--headless',
      '--json',
      '--engine',
      '--store',
    ]) {
      expect(stdout).toContain(option);
    }
  });
});

describe('a run with a page', () => {
  const QUIET = ['--port', '0', '--products', '100', '--reads', '50', '--writes', '5'];

  test('serves the HTTP API, with versions, and says where everything is', async () => {
    await using demo = new DemoProcess(QUIET);
    const url = await demo.url();
    const { applications, table, keyColumn, versionColumn, keyPrefix, redis, postgres, workers } =
      await status(url);
    expect({ table, keyColumn, versionColumn, keyPrefix }).toEqual({
      table: 'products',
      keyColumn: 'id',
      versionColumn: 'lockstep_version',
      keyPrefix: 'shop:products:',
    });
    expect(redis?.url).toMatch(/^redis:\/\/127\.0\.0\.1:\d+/);
    expect(postgres?.url).toMatch(/^postgres/);
    expect(workers).toHaveLength(1);
    expect(new Set(applications.map(({ port }) => port)).size).toBe(2);

    const [first, second] = applications.map((one) => one.url);
    const call = async (base: string | undefined, path: string, method = 'GET', body?: object) => {
      const response = await fetch(`${base}${path}`, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      const answer = (await response.json()) as Record<string, unknown>;
      return { status: response.status, headers: response.headers, answer };
    };
    const product = {
      name: 'Oak lamp',
      category: 'Lighting',
      price: 1_250,
      stock: 4,
      description: 'Of oak.',
    };
    const put = await call(first, '/products/150', 'PUT', product);
    expect(put.status).toBe(200);
    expect(put.answer).toMatchObject({
      ...product,
      id: 150,
      cache: expect.stringMatching(/updated|invalidated/),
    });
    const got = await call(second, '/products/150');
    expect(got.answer).toEqual({ ...product, id: 150, version: put.answer['version'] });
    expect(got.headers.get('etag')).toBe(`"${put.answer['version']}"`);
    expect((await call(second, '/products/150')).headers.get('x-lockstep-cache')).toBe('hit');
    const patched = await call(second, '/products/150', 'PATCH', { price: 990 });
    expect(patched.answer).toMatchObject({ price: 990, stock: 4 });
    expect((await call(first, '/products/150')).answer['price']).toBe(990);
    const many = await call(first, '/products?ids=150,151');
    expect(many.answer['products']).toMatchObject([
      { id: 150, price: 990 },
      { id: 151, missing: true },
    ]);
    const deleted = await call(first, '/products/150', 'DELETE');
    expect(Number(deleted.answer['version'])).toBeGreaterThan(Number(patched.answer['version']));
    expect(await call(second, '/products/150')).toMatchObject({ status: 404, answer: { code: 'NOT_FOUND' } });
    expect((await call(first, '/products/150', 'PATCH', { price: 1 })).status).toBe(404);

    const refused: [string, string, object?][] = [
      ['PUT', '/products/150', { name: 'no price' }],
      ['PUT', '/products/150', { ...product, price: -1 }],
      ['PUT', '/products/150', { ...product, id: 3 }],
      ['PUT', '/products/150', { ...product, colour: 'red' }],
      ['PATCH', '/products/150', {}],
      ['PATCH', '/products/150', { stock: 'many' }],
      ['GET', '/products/zero'],
      ['GET', '/products/0'],
      ['GET', '/products/99999999999'],
      ['GET', '/products?ids=1,x'],
      ['GET', '/products'],
    ];
    for (const [method, path, body] of refused) {
      const { status: code, answer } = await call(first, path, method, body);
      expect({ method, path, code, answer }).toMatchObject({ code: 400, answer: { code: 'VALIDATION' } });
    }
  });

  test('Ctrl-C ends it and all of its processes within seconds; a second one starts on the same port', async () => {
    await using demo = new DemoProcess(QUIET);
    const url = await demo.url();
    const pids = await everyone(url);
    const began = performance.now();
    demo.kill('SIGINT');
    const { code } = await demo.ended;
    expect(code).toBe(130);
    expect(performance.now() - began).toBeLessThan(30_000);
    for (const pid of pids) expect(await alive(pid)).toBe(false);
    await using again = new DemoProcess([...QUIET, '--port', new URL(url).port]);
    expect(await again.url()).toBe(url);
  });

  test('kill -9 of it ends everything that it started', async () => {
    await using demo = new DemoProcess(QUIET);
    const pids = await everyone(await demo.url());
    expect(pids).toHaveLength(6);
    demo.kill('SIGKILL');
    await demo.ended;
    for (const pid of pids) await until(async () => !(await alive(pid)), 60_000, `the end of process ${pid}`);
  });

  test('a port that is taken is named', async () => {
    await using demo = new DemoProcess(QUIET);
    const { port } = new URL(await demo.url());
    await using second = new DemoProcess([...QUIET, '--port', port]);
    const { code, stderr } = await second.ended;
    expect(code).toBe(1);
    expect(stderr).toContain(`--port: ${port} is in use`);
  });
});

/** The processes of a run: servers, applications, workers. */
async function everyone(url: string): Promise<number[]> {
  const { applications, workers, postgres, redis, queueRedis } = await status(url);
  const servers = [postgres, redis, queueRedis].map((server) => server?.pid ?? 0);
  return [...servers, ...[...applications, ...workers].map(({ pid }) => pid)].filter((pid) => pid > 0);
}
