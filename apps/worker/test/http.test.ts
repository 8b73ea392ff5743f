import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWorker, type Worker } from '../src/index.js';
import { request, sendRaw } from './support/raw-http.js';

const PATHS = [
  '/',
  '/page/main.js',
  '/page/kit/charts.js',
  '/vendor/uplot.js',
  '/dashboard.css',
  '/api/session',
  '/api/status',
  '/api/overview',
  '/api/consistency',
  '/api/dead-letters',
  '/nowhere',
];
const PROBES = ['/health/live', '/health/ready', '/metrics', '/nowhere'];
const POST = 'POST /api/dead-letters/replay';
const POSTS = [
  POST,
  'POST /api/dead-letters/discard',
  'POST /api/dead-letters/value',
  'POST /api/inspect',
  'POST /api/session',
];
const JSON_TYPE = { 'Content-Type': 'application/json' };

let worker: Worker;
let port: string;
/** Questions to the feed: what a request must not cause. */
let asked = 0;

beforeAll(async () => {
  const store = memoryStore<object>({ name: 'products' });
  const { feed } = store;
  if (feed === undefined) throw new Error('there is no feed');
  const status = feed.status.bind(feed);
  feed.status = (sources) => {
    asked++;
    return status(sources);
  };
  const lockstep = createLockstep({ cache: memoryCache(), queue: memoryQueue() });
  lockstep.collection({ name: 'products', store });
  worker = await startWorker({
    lockstep: () => lockstep,
    port: 0,
    allowedHosts: ['worker.example', '[2001:db8::1]'],
    logger: pino({ enabled: false }),
  });
  ({ port } = new URL(worker.url));
});
afterAll(() => worker.close());

const get = (path: string, host: string) => sendRaw(worker.url, request(`GET ${path}`, { Host: host }));
const post = (headers: Readonly<Record<string, string>>, body = '{}', line = POST) =>
  sendRaw(worker.url, request(line, { Host: `localhost:${port}`, ...JSON_TYPE, ...headers }, body));

describe('the name that a client uses', () => {
  test.each([
    'evil.example',
    'evil.example:4610',
    'localhost.evil.example',
    'localhost@evil.example',
    'evil.example#localhost',
    '127.0.0.1.evil.example',
    '127.0.0.2',
    '8.8.8.8',
    '[::2]',
    '[2001:db8::2]:80',
    'localhost:port',
    'localhost, evil.example',
    '[::1',
    '',
  ])('"%s" is nobody here, on any route of either listener', async (host) => {
    for (const path of PATHS) expect((await get(path, host)).status, path).toBe(403);
    for (const path of PROBES) {
      const answer = await sendRaw(worker.metricsUrl, request(`GET ${path}`, { Host: host }));
      expect(answer.status, path).toBe(403);
    }
    expect((await post({ Host: host })).status).toBe(403);
  });

  test.each([
    'localhost',
    'LOCALHOST:1',
    'localhost.',
    '127.0.0.1:9',
    '[::1]:80',
    '[0:0:0:0:0:0:0:1]',
    'Worker.Example:443',
    '[2001:DB8:0::1]',
  ])('"%s" is this worker', async (host) => {
    expect((await get('/api/status', host)).status).toBe(200);
    expect((await sendRaw(worker.metricsUrl, request('GET /health/live', { Host: host }))).status).toBe(200);
  });

  test('none, two of them, and one in the target are refused', async () => {
    const status = async (text: string): Promise<number> => (await sendRaw(worker.url, text)).status;
    expect(await status(request('GET /api/status', {}, '', 'HTTP/1.0'))).toBe(403);
    expect(await status(request('GET /api/status', {}))).toBe(400);
    const two =
      'GET /api/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n';
    expect([400, 403]).toContain(await status(two));
    expect([400, 403]).toContain(
      await status(two.replace('localhost\r\nHost: evil', 'evil.example\r\nHost: localhost')),
    );
    for (const target of [
      'http://evil.example/api/status',
      'http://localhost/api/status',
      '*',
      'evil.example:80',
    ]) {
      const answer = await status(request(`GET ${target}`, { Host: 'localhost' }));
      expect([400, 403, 404], target).toContain(answer);
    }
    const spoofed = { Host: 'evil.example', 'X-Forwarded-Host': 'localhost', Forwarded: 'host=localhost' };
    expect(await status(request('GET /api/status', spoofed))).toBe(403);
  });

  test('is asked for with each request of a connection', async () => {
    const first = 'GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const { text } = await sendRaw(worker.url, first + request('GET /api/status', { Host: 'evil.example' }));
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 403']);
  });
});

describe('methods and pages of others', () => {
  test.each(['OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PATCH', 'CONNECT'])('%s is no way in', async (method) => {
    for (const path of ['/api/dead-letters/replay', '/api/status']) {
      const answer = await sendRaw(
        worker.url,
        request(`${method} ${path}`, { Host: 'localhost', Origin: 'http://x.example' }),
      );
      expect([0, 400, 404, 405]).toContain(answer.status);
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });

  test('only its own page, or no browser, may change anything', async () => {
    expect((await post({})).status).toBe(200);
    expect((await post({ Origin: `http://localhost:${port}`, 'Sec-Fetch-Site': 'same-origin' })).status).toBe(
      200,
    );
    for (const [headers, body, line] of [
      [{ Origin: 'http://evil.example' }],
      [{ Origin: 'null' }],
      [{ Origin: 'http://localhost:3000' }],
      [{ Origin: `http://localhost:${port}.evil.example` }],
      [{ 'Sec-Fetch-Site': 'cross-site' }],
      [{ 'Sec-Fetch-Site': 'same-site' }],
      [{ 'Content-Type': 'text/plain' }],
      [{ 'Content-Type': 'application/x-www-form-urlencoded' }],
      [{ 'Content-Type': '' }],
      [{ Host: `evil.example:${port}`, Origin: `http://evil.example:${port}` }],
      ...POSTS.map((line) => [{ 'Sec-Fetch-Site': 'cross-site', Origin: 'null' }, '{}', line] as const),
      ...POSTS.map((line) => [{ 'Content-Type': 'text/plain' }, '{}', line] as const),
    ] as const) {
      expect((await post(headers, body, line)).status, JSON.stringify(headers)).toBe(403);
    }
  });

  test('a page of others can neither read what it asks for nor frame it; a link leads here', async () => {
    const from = (path: string, site: string) =>
      sendRaw(worker.url, request(`GET ${path}`, { Host: 'localhost', 'Sec-Fetch-Site': site }));
    expect((await from('/', 'cross-site')).status).toBe(200);
    expect((await from('/api/dead-letters', 'cross-site')).status).toBe(403);
    expect((await from('/api/dead-letters', 'same-origin')).status).toBe(200);
    for (const path of PATHS) {
      const { headers } = await get(path, 'localhost');
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
        'cross-origin-resource-policy': 'same-origin',
      });
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
      expect(headers['content-security-policy']).not.toContain('unsafe');
    }
    for (const answer of [await get('/', 'evil.example'), await get('/%zz', 'localhost')]) {
      expect(answer.headers['x-content-type-options']).toBe('nosniff');
    }
  });

  test('probes and metrics are not on the dashboard, nor the dashboard with them', async () => {
    for (const path of ['/health/live', '/health/ready', '/metrics']) {
      expect((await get(path, 'localhost')).status).toBe(404);
    }
    for (const path of ['/', '/api/status', '/api/dead-letters']) {
      expect((await sendRaw(worker.metricsUrl, request(`GET ${path}`, { Host: 'localhost' }))).status).toBe(
        404,
      );
    }
    expect(
      (await sendRaw(worker.metricsUrl, request(POST, { Host: 'localhost', ...JSON_TYPE }, '{}'))).status,
    ).toBe(404);
  });
});

describe('what a client may send has bounds', () => {
  test.each([
    ['null', 400],
    ['[]', 400],
    ['', 400],
    ['{"id":["1"]}', 400],
    ['{"ids":[{"a":1}]}', 400],
    ['{"ids":null}', 400],
    ['{"ids":"1"}', 400],
    ['{"__proto__":{"ids":["1"]}}', 400],
    [JSON.stringify({ ids: Array.from({ length: 201 }, String) }), 400],
    [JSON.stringify({ ids: ['x'.repeat(2e6)] }), 413],
    ['['.repeat(5e5), 413],
  ])('a body: %.40s', async (body, status) => {
    expect((await post({}, body)).status).toBe(status);
  });

  test.each([
    ['inspect', '{}', 400],
    ['inspect', '{"collection":"products"}', 400],
    ['inspect', '{"collection":"products","id":{"a":1}}', 400],
    ['inspect', JSON.stringify({ collection: 'products', id: 'x'.repeat(1_025) }), 400],
    ['inspect', '{"collection":"products","id":"1","table":"users"}', 400],
    ['inspect', '{"collection":"users","id":"1"}', 400],
    ['inspect', '{"collection":"products","id":"[1"}', 400],
    ['inspect', '{"collection":"products","id":"1"}', 200],
    ['dead-letters/value', '{}', 400],
    ['dead-letters/value', '{"id":""}', 400],
    ['dead-letters/value', '{"id":"unknown"}', 200],
  ])('POST /api/%s of %s', async (path, body, status) => {
    expect((await post({}, body, `POST /api/${path}`)).status).toBe(status);
  });

  test.each([
    'limit=1000000000',
    'limit=0',
    'offset=-1',
    'offset=1e308',
    'offset=1.5',
    'limit=x',
    'page=1',
    'kind=x',
    `text=${'x'.repeat(257)}`,
  ])('a page of the dead letters: %s', async (query) => {
    expect((await get(`/api/dead-letters?${query}`, 'localhost')).status).toBe(400);
  });

  test.each([
    ['/../../etc/passwd', 404],
    ['/%2e%2e/%2e%2e/etc/passwd', 404],
    ['//api/status', 404],
    ['/%00', 404],
    ['/%zz', 400],
  ])('the path %s', async (path, status) => {
    expect((await get(path, 'localhost')).status).toBe(status);
  });

  test('headers of 32 kB, and a body of two lengths', async () => {
    const big = request('GET /', { Host: 'localhost', 'X-Big': 'a'.repeat(32_000) });
    expect((await sendRaw(worker.url, big)).status).toBe(431);
    const two = { Host: 'localhost', ...JSON_TYPE, 'Transfer-Encoding': 'chunked' };
    expect((await sendRaw(worker.url, request(POST, two, '{}'))).status).toBe(400);
  });

  test.each([
    ['half a header', 'GET / HTTP/1.1\r\nHost: loc'],
    [
      'half a body',
      `${POST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
    ],
    ['nothing', ''],
  ])('who sends %s is cut off', async (_, text) => {
    // Resolves when the server has closed the connection.
    expect([0, 408]).toContain((await sendRaw(worker.url, text)).status);
  });
});

test('pages that watch are bounded in number, and told of each look', async () => {
  const ended = new AbortController();
  const watch = () => fetch(`${worker.url}/api/events`, { signal: ended.signal });
  const answers = await Promise.all(Array.from({ length: 20 }, watch));
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect(answers[0]?.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect((await watch()).status).toBe(503);
  const reader = answers[0]?.body?.pipeThrough(new TextDecoderStream()).getReader();
  let told = '';
  while (!told.includes('event: point')) told += (await reader?.read())?.value ?? '';
  expect(told).toContain('event: history');
  ended.abort();
  await expect
    .poll(
      async () => (await fetch(`${worker.url}/api/events`, { signal: AbortSignal.timeout(5_000) })).status,
    )
    .toBe(200);
});

test('however many ask, the feed is asked once in a second at most, and they are told what was seen', async () => {
  const before = asked;
  const began = performance.now();
  const urls = [
    `${worker.metricsUrl}/metrics`,
    `${worker.metricsUrl}/health/ready`,
    `${worker.url}/api/status`,
    `${worker.url}/api/overview`,
    `${worker.url}/api/consistency`,
    `${worker.url}/`,
  ];
  const answers = await Promise.all(
    Array.from({ length: 600 }, async (_, i) => {
      const answer = await fetch(urls[i % urls.length] as string);
      return { status: answer.status, text: await answer.text() };
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  expect(answers[0]?.text).toContain('lockstep_ready 1');
  expect(asked - before).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
});
