import type { Lockstep } from '@lockstep/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Health } from '../health.js';
import { dashboardPage } from './dashboard.js';
import { type ListenerOptions, listener } from './listener.js';

export interface DashboardParts {
  readonly lockstep: Lockstep;
  readonly health: Health;
}

const MAX_LETTERS = 200;
const MAX_OFFSET = 10_000_000;
/** Calls of the queue's server at once; who asks beyond that is told to come again. */
const MAX_CALLS = 4;

interface Page {
  readonly offset: number;
  readonly limit: number;
}

interface Selection {
  readonly ids?: readonly string[];
}

const PAGE = {
  querystring: {
    type: 'object',
    additionalProperties: false,
    properties: {
      offset: { type: 'integer', minimum: 0, maximum: MAX_OFFSET, default: 0 },
      limit: { type: 'integer', minimum: 1, maximum: MAX_LETTERS, default: 50 },
    },
  },
} as const;

const SELECTION = {
  body: {
    type: 'object',
    additionalProperties: false,
    properties: {
      ids: { type: 'array', maxItems: MAX_LETTERS, items: { type: 'string', minLength: 1, maxLength: 256 } },
    },
  },
} as const;

/** The dead letters with their page. They hold values: for people who may see those. */
export function dashboardServer(
  { health, lockstep }: DashboardParts,
  options: ListenerOptions,
): FastifyInstance {
  const server = listener(options);
  server.addHook('onRequest', ownPagesOnly);
  for (const [path, { body, type }] of Object.entries(dashboardPage)) {
    server.get(path, async (_, reply) => reply.type(type).send(body));
  }
  server.get('/api/status', async () => health.status());

  let calls = 0;
  async function ask(reply: FastifyReply, call: () => Promise<unknown>): Promise<unknown> {
    if (calls >= MAX_CALLS)
      return reply.code(503).header('retry-after', '1').send({ error: 'too many at once' });
    calls++;
    try {
      return await call();
    } finally {
      calls--;
    }
  }
  server.get<{ Querystring: Page }>('/api/dead-letters', { schema: PAGE }, async ({ query }, reply) => {
    const { queue } = lockstep;
    if (queue === undefined) return noQueue(reply);
    return await ask(reply, async () => ({ letters: await queue.deadLetters.list(query) }));
  });
  for (const action of ['replay', 'discard'] as const) {
    const route = { schema: SELECTION, onRequest: jsonOnly };
    server.post<{ Body: Selection }>(`/api/dead-letters/${action}`, route, async ({ body }, reply) => {
      const { queue } = lockstep;
      if (queue === undefined) return noQueue(reply);
      return await ask(reply, async () => ({ count: await queue.deadLetters[action](body.ids) }));
    });
  }
  return server;
}

function noQueue(reply: FastifyReply): FastifyReply {
  return reply.code(404).send({ error: 'this worker has no queue' });
}

/**
 * Browsers say which page asks. A link may lead to the dashboard; nothing else is for pages of other origins. Who
 * sends neither header is no browser.
 */
async function ownPagesOnly({ headers, method, url }: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { host = '', origin, 'sec-fetch-site': site } = headers;
  const same = origin === undefined || hostOf(origin) === host.toLowerCase();
  const own = site === undefined || site === 'same-origin' || site === 'none';
  if (same && (own || (method === 'GET' && url === '/'))) return;
  await reply.code(403).send({ error: 'only for its own page' });
}

/** A form, or a script without leave, can send text but no JSON to another origin. */
async function jsonOnly({ headers }: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? '')) return;
  await reply.code(403).send({ error: 'send JSON' });
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
