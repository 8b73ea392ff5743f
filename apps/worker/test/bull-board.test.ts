import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import { startRedis } from '@lockstep/dev-services';
import { startChromium } from '@lockstep/dev-services/chromium';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { Redis } from 'ioredis';
import pino from 'pino';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWorker, type Worker } from '../src/index.js';
import { until } from './support/until.js';

const TOKEN = 'correct horse battery staple';
const SECRET = 'a name that nobody must see unasked';
/** In what the store says of the row that it refuses. */
const REASON = 'there is a row with the address of somebody';

let browser: Browser;
let page: Page;
let redis: Awaited<ReturnType<typeof startRedis>>;
let worker: Worker;
const foreign: string[] = [];

beforeAll(async () => {
  [browser, redis] = await Promise.all([startChromium(), startRedis()]);
  const queue = bullmqQueue({ connection: { url: redis.url }, name: 'raw' });
  const lockstep = createLockstep({ cache: memoryCache(), queue });
  lockstep.collection({
    name: 'products',
    store: memoryStore({ name: 'products' }),
    strategy: 'write-behind',
  });
  const logger = pino({ enabled: false });
  worker = await startWorker({ lockstep: () => lockstep, port: 0, token: TOKEN, bullBoard: true, logger });
  const refused = { version: 1, payload: `{"name":"${SECRET}`, encoding: 'utf8' } as const;
  await queue.enqueue([{ kind: 'flush', collection: 'products', key: 'lamp', refused }]);
  await until('it is a dead letter', async () => (await queue.status()).dead === 1);
  const raw = await queue.raw();
  const [failed] = await raw.getFailed();
  // As a store that refused the row may have said it.
  const client = new Redis(redis.url);
  const failure = { failedReason: REASON, stacktrace: JSON.stringify([REASON]) };
  await client.hset(raw.toKey(failed?.id ?? ''), failure);
  client.disconnect();
  page = await browser.newPage();
  page.on('request', (request) => {
    if (!request.url().startsWith(worker.url)) foreign.push(request.url());
  });
});
afterAll(async () => {
  await browser?.close();
  await worker?.close();
  await redis?.stop();
});

const status = async (path: string, init: RequestInit = {}): Promise<number> =>
  (await fetch(worker.url + path, init)).status;
const headers = { authorization: `Bearer ${TOKEN}` };

test('asks for the token, as everything of the dashboard does', async () => {
  const raw = '/queues/api/queues';
  for (const path of ['/queues', '/queues/', '/queues/queue/raw', raw, '/queues/static/images/logo.svg'])
    expect(await status(path), path).toBe(401);
  expect(await status(raw, { headers })).toBe(200);
  expect(await status(raw, { headers: { ...headers, origin: 'https://elsewhere.example' } })).toBe(403);
  expect(await status(raw, { headers: { ...headers, 'sec-fetch-site': 'same-site' } })).toBe(403);
});

test('changes nothing: what would is not there', async () => {
  for (const path of ['pause', 'raw/pause', 'raw/retry/failed', 'raw/1/retry', 'raw/empty', 'raw/1/clean'])
    for (const method of ['PUT', 'POST', 'PATCH', 'DELETE'])
      expect(await status(`/queues/api/queues/${path}`, { method, headers }), path).toBeGreaterThanOrEqual(
        403,
      );
  for (const path of [
    '/queues/static/../../../package.json',
    '/queues/static/%2e%2e%2f%2e%2e%2fpackage.json',
  ])
    expect(await status(path, { headers }), path).toBe(404);
});

test('shows the raw jobs without their values, and asks nobody else', async () => {
  await page.goto(worker.url);
  await page.locator('#token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('#nav a[href="#letters"]').click();
  await page.getByRole('link', { name: 'The raw queues' }).click();
  await page.getByText('raw', { exact: true }).first().click();
  await page.goto(`${worker.url}/queues/queue/raw?status=failed`);
  await expect.poll(() => page.locator('body').textContent()).toContain('flush');
  const found = await (
    await fetch(`${worker.url}/queues/api/queues?activeQueue=raw&status=failed&jobsPerPage=1000000&page=1`, {
      headers,
    })
  ).text();
  expect(JSON.parse(found)).toMatchObject({
    queues: [{ readOnlyMode: true, pagination: { range: { end: 49 } } }],
  });
  expect(found).toContain('lamp');
  const one = await (await fetch(`${worker.url}/queues/api/queues/raw/1`, { headers })).text();
  for (const text of [found, one, await page.content()]) {
    expect(text).toContain('hidden');
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(REASON);
  }
  expect(foreign).toEqual([]);
});

test('odd queries are the client’s mistake', async () => {
  for (const query of [
    'activeQueue=%25',
    'activeQueue=%25E0%25A4',
    'activeQueue=a&activeQueue=b',
    'page=x',
    'status=x',
  ])
    expect(await status(`/queues/api/queues?${query}`, { headers }), query).toBe(400);
});

test('a queue that is not BullMQ’s has none: the worker does not start', async () => {
  const lockstep = createLockstep({ cache: memoryCache(), queue: memoryQueue() });
  lockstep.collection({ name: 'products', store: memoryStore({ name: 'products' }) });
  const starting = startWorker({
    lockstep: () => lockstep,
    port: 0,
    bullBoard: true,
    logger: pino({ enabled: false }),
  });
  await expect(starting).rejects.toThrow('worker.bullBoard: needs a queue on BullMQ');
});
