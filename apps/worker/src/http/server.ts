import { isIP } from 'node:net';
import type { Lockstep } from '@lockstep/core';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Health } from '../health.js';
import type { Metrics } from '../metrics.js';
import { dashboardPage } from './dashboard.js';

export interface ServerParts {
  readonly lockstep: Lockstep;
  readonly health: Health;
  readonly metrics: Metrics;
}

const MAX_LETTERS = 200;

interface Page {
  readonly offset: number;
  readonly limit: number;
}

interface Selection {
  readonly ids?: readonly string[];
}

/** Health, metrics, and the dead letters with their page. */
export function workerServer({ health, lockstep, metrics }: ServerParts): FastifyInstance {
  const server = Fastify({
    requestTimeout: 10_000,
    bodyLimit: 1_048_576,
    forceCloseConnections: true,
    // A misspelt `ids` must not discard everything.
    ajv: { customOptions: { removeAdditional: false } },
  });
  server.setErrorHandler<FastifyError>((error, _, reply) =>
    reply
      .code(error.code === 'LOCKSTEP_QUEUE_UNAVAILABLE' ? 503 : (error.statusCode ?? 500))
      .send({ error: error.message }),
  );

  server.get('/health/live', async () => ({ live: true }));
  server.get('/health/ready', async (_, reply) => {
    const { problems, ready } = await health.status();
    return reply.code(ready ? 200 : 503).send({ ready, problems });
  });
  server.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  server.get('/', async (_, reply) =>
    reply
      .header(
        'content-security-policy',
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'",
      )
      .type('text/html; charset=utf-8')
      .send(dashboardPage.html),
  );
  server.get('/dashboard.js', async (_, reply) =>
    reply.type('text/javascript; charset=utf-8').send(dashboardPage.script),
  );
  server.get('/api/status', async () => health.status());

  server.get<{ Querystring: Page }>(
    '/api/dead-letters',
    {
      schema: {
        querystring: {
          type: 'object',
          additionalProperties: false,
          properties: {
            offset: { type: 'integer', minimum: 0, default: 0 },
            limit: { type: 'integer', minimum: 1, maximum: MAX_LETTERS, default: 50 },
          },
        },
      },
    },
    async ({ query }, reply) => {
      if (lockstep.queue === undefined) return noQueue(reply);
      return { letters: await lockstep.queue.deadLetters.list(query) };
    },
  );
  const selection = {
    body: {
      type: 'object',
      additionalProperties: false,
      properties: { ids: { type: 'array', maxItems: MAX_LETTERS, items: { type: 'string' } } },
    },
  };
  for (const action of ['replay', 'discard'] as const) {
    server.post<{ Body: Selection }>(
      `/api/dead-letters/${action}`,
      { schema: selection, onRequest: sameOrigin },
      async ({ body }, reply) => {
        if (lockstep.queue === undefined) return noQueue(reply);
        return { count: await lockstep.queue.deadLetters[action](body.ids) };
      },
    );
  }
  return server;
}

function noQueue(reply: FastifyReply): FastifyReply {
  return reply.code(404).send({ error: 'this worker has no queue' });
}

/**
 * A page of somebody else's must not replay or discard: a JSON body, from this origin or from no browser.
 * A loopback server is called by an address or as localhost: another name has been pointed at it.
 */
async function sameOrigin(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { 'content-type': type = '', host = '', origin } = request.headers;
  const json = /^application\/json\s*(;|$)/i.test(type);
  const same = origin === undefined || hostOf(origin) === host;
  const local = isLoopback(request.socket.localAddress);
  if (json && same && (!local || isLocalName(request.hostname))) return;
  await reply.code(403).send({ error: 'send JSON, from the same origin' });
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function isLoopback(address = ''): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

function isLocalName(name: string): boolean {
  return name === 'localhost' || isIP(name.replace(/^\[|\]$/g, '')) !== 0;
}
