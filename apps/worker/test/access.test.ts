import { createHmac } from 'node:crypto';
import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWorker, type Worker, type WorkerConfig } from '../src/index.js';
import { request, sendRaw } from './support/raw-http.js';

const TOKEN = '0123456789abcdef';
/** Of that token. */
const COOKIE = `lockstep_session_${createHmac('sha256', TOKEN).update('lockstep cookie').digest('hex').slice(0, 8)}`;
const JSON_TYPE = { 'content-type': 'application/json' };
/** Everything that is not the page itself. */
const ROUTES = [
  ['GET', '/api/status'],
  ['GET', '/api/overview'],
  ['GET', '/api/consistency'],
  ['GET', '/api/links'],
  ['GET', '/api/events'],
  ['GET', '/api/dead-letters'],
  ['POST', '/api/dead-letters/value'],
  ['POST', '/api/dead-letters/replay'],
  ['POST', '/api/dead-letters/discard'],
  ['POST', '/api/inspect'],
] as const;

function open(config: Partial<WorkerConfig>): Promise<Worker> {
  const lockstep = createLockstep({ cache: memoryCache(), queue: memoryQueue() });
  lockstep.collection({ name: 'products', store: memoryStore<object>({ name: 'products' }) });
  return startWorker({ lockstep: () => lockstep, port: 0, logger: pino({ enabled: false }), ...config });
}

async function ask(
  worker: Worker,
  [method, path]: readonly [string, string],
  headers: Record<string, string> = {},
) {
  const body = method === 'POST' ? '{"collection":"products","id":"1","ids":["x"]}' : undefined;
  const ended = new AbortController();
  const type = body === undefined ? {} : JSON_TYPE;
  const init = { method, headers: { ...type, ...headers }, signal: ended.signal };
  const answer = await fetch(worker.url + path, body === undefined ? init : { ...init, body });
  // An answer that goes on is not waited for.
  ended.abort();
  return answer.status;
}

describe('a dashboard with a token', () => {
  let worker: Worker;
  beforeAll(async () => {
    worker = await open({ token: TOKEN });
  });
  afterAll(() => worker.close());

  test.each(ROUTES)('%s %s: for those alone who know it', async (...route) => {
    expect(await ask(worker, route)).toBe(401);
    const wrong = [`Bearer ${TOKEN}0`, `Bearer ${TOKEN.slice(1)}`, `Basic ${TOKEN}`, 'Bearer ', TOKEN];
    const answers = wrong.map((authorization) => ask(worker, route, { authorization }));
    expect(await Promise.all(answers)).toEqual(wrong.map(() => 401));
    for (const cookie of [`${COOKIE}=`, `${COOKIE}=9999999999.x`, `${COOKIE}=${TOKEN}`]) {
      expect(await ask(worker, route, { cookie })).toBe(401);
    }
    expect(await ask(worker, route, { 'x-forwarded-user': 'admin' })).toBe(401);
    expect([200, 400]).toContain(await ask(worker, route, { authorization: `Bearer ${TOKEN}` }));
  });

  test('no spelling of a path leads past it', async () => {
    for (const path of [
      '/%61pi/status',
      '/api/%73tatus',
      '//api/status',
      '/./api/status',
      '/api/session/../status',
    ]) {
      const { status } = await sendRaw(worker.url, request(`GET ${path}`, { Host: 'localhost' }));
      expect([400, 401, 404], path).toContain(status);
    }
    const { status } = await sendRaw(
      worker.url,
      request('GET /api/status?x=/api/session', { Host: 'localhost' }),
    );
    expect(status).toBe(401);
  });

  test('a log-in gives a cookie that scripts and other sites do not see, and that somebody else can’t make', async () => {
    const logIn = (token: string) =>
      fetch(`${worker.url}/api/session`, {
        method: 'POST',
        headers: JSON_TYPE,
        body: JSON.stringify({ token }),
      });
    expect((await logIn('something that is wrong')).status).toBe(401);
    const answer = await logIn(TOKEN);
    const [session = '', ...attributes] = (answer.headers.get('set-cookie') ?? '').split('; ');
    expect(attributes).toEqual(expect.arrayContaining(['HttpOnly', 'SameSite=Strict', 'Path=/']));
    expect(session).not.toContain(TOKEN);
    expect(await ask(worker, ['GET', '/api/status'], { cookie: session })).toBe(200);
    const [, end = '', proof = ''] = /=(\d+)\.(.+)$/.exec(session) ?? [];
    expect(session).toContain(`${COOKIE}=`);
    const later = `${COOKIE}=${Number(end) + 1}.${proof}`;
    expect(await ask(worker, ['GET', '/api/status'], { cookie: later })).toBe(401);
    expect(
      await ask(worker, ['POST', '/api/dead-letters/discard'], {
        cookie: session,
        origin: 'http://evil.example',
      }),
    ).toBe(403);
  });

  test('dashboards on one host keep each other’s log-ins: a token has a cookie of its own', async () => {
    const other = await open({ token: `${TOKEN}-other` });
    const logIn = async ({ url }: Worker, token: string): Promise<string> => {
      const body = JSON.stringify({ token });
      const answer = await fetch(`${url}/api/session`, { method: 'POST', headers: JSON_TYPE, body });
      return (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    };
    // A browser's: by name alone, whatever the port.
    const jar = new Map<string, string>();
    for (const session of [await logIn(worker, TOKEN), await logIn(other, `${TOKEN}-other`)]) {
      jar.set(session.split('=')[0] ?? '', session);
    }
    const cookie = [...jar.values()].join('; ');
    for (const each of [worker, other]) expect(await ask(each, ['GET', '/api/status'], { cookie })).toBe(200);
    await other.close();
  });

  test('who guesses is not told faster than a log-in takes, wherever the guess is sent; sessions go on', async () => {
    const answer = await fetch(`${worker.url}/api/session`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({ token: TOKEN }),
    });
    const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split('; ');
    for (const path of ['/api/status', '/api/session', '/']) {
      const guesses = Array.from({ length: 40 }, (_, i) =>
        ask(worker, ['GET', path], { authorization: `Bearer ${1e15 + i}` }),
      );
      const told = await Promise.all(guesses);
      expect(told.filter((status) => status === 401).length, path).toBeLessThanOrEqual(4);
      expect(new Set(told), path).toEqual(new Set([401, 503]));
    }
    const guesses = Array.from({ length: 4 }, () =>
      ask(worker, ['GET', '/api/status'], { authorization: 'Bearer a guess that is wrong' }),
    );
    expect(await ask(worker, ['GET', '/api/status'], { cookie })).toBe(200);
    expect(await Promise.all(guesses)).toEqual([401, 401, 401, 401]);
    expect(await ask(worker, ['GET', '/api/status'], { authorization: `Bearer ${TOKEN}` })).toBe(200);
  });

  test('the page and the probes need none, and hold nothing', async () => {
    expect(await ask(worker, ['GET', '/'])).toBe(200);
    expect(await (await fetch(`${worker.url}/api/session`)).json()).toEqual({ passes: false, login: true });
    expect((await fetch(`${worker.metricsUrl}/health/live`)).status).toBe(200);
  });
});

test('behind a proxy: whom it names may pass, and nobody else', async () => {
  const worker = await open({ proxyUserHeader: 'X-Forwarded-User' });
  try {
    for (const route of ROUTES) {
      expect(await ask(worker, route)).toBe(401);
      expect(await ask(worker, route, { 'x-forwarded-user': '' })).toBe(401);
      expect([200, 400]).toContain(await ask(worker, route, { 'x-forwarded-user': 'ada' }));
    }
    expect(await ask(worker, ['POST', '/api/session'])).toBe(404);
  } finally {
    await worker.close();
  }
});

test('whom a proxy names passes, whatever token of its own the proxy sends on', async () => {
  await using worker = await open({ token: TOKEN, proxyUserHeader: 'X-Forwarded-User' });
  const authorization = 'Bearer of-the-proxy';
  for (const route of ROUTES) {
    expect([200, 400]).toContain(await ask(worker, route, { authorization, 'x-forwarded-user': 'ada' }));
  }
  expect(await ask(worker, ['GET', '/api/status'], { authorization, 'x-forwarded-user': '' })).toBe(401);
});

test('a port that is taken is named, with what to do', async () => {
  await using worker = await open({});
  const port = Number(new URL(worker.url).port);
  const metricsPort = Number(new URL(worker.metricsUrl).port);
  await expect(open({ port, metricsPort: 0 })).rejects.toThrow(`worker.port: ${port} on 127.0.0.1 is taken`);
  await expect(open({ port: 0, metricsPort })).rejects.toThrow(`worker.metricsPort: ${metricsPort} on`);
});

test.each([
  [{ host: '0.0.0.0' }, 'worker.host'],
  [{ host: '::' }, 'worker.host'],
  [{ host: 'worker.internal' }, 'worker.host'],
  [{ host: '127.0.0.1.example' }, 'worker.host'],
  [{ token: 'too short' }, 'worker.token'],
  [{ bullBoardUrl: 'javascript:alert(1)' }, 'worker.bullBoardUrl'],
  [{ proxyUserHeader: 'a header: x' }, 'worker.proxyUserHeader'],
])('%j is refused at the start', async (config, name) => {
  await expect(open(config)).rejects.toThrow(name);
});
