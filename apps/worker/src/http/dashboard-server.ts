import type { Lockstep } from '@lockstep/core';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Auditor } from '../audit/auditor.js';
import type { Health } from '../health.js';
import type { Recorder } from '../recorder.js';
import { type AccessOptions, busy, restrict } from './access.js';
import type { Asset } from './assets.js';
import { BOARD, mountBullBoard } from './bull-board.js';
import {
  LETTERS,
  type LettersQuery,
  letters,
  letterValue,
  ONE,
  SELECTION,
  type Selection,
} from './dead-letters.js';
import { INSPECT, type InspectBody, inspection } from './inspect.js';
import { HEADERS, type ListenerOptions, listener } from './listener.js';
import { Watchers } from './watchers.js';

export interface DashboardParts {
  readonly lockstep: Lockstep;
  readonly health: Health;
  readonly recorder: Recorder;
  readonly auditor: Auditor | undefined;
  readonly assets: ReadonlyMap<string, Asset>;
  readonly bullBoard: boolean;
  readonly bullBoardUrl: string | undefined;
}

/** Calls of servers on behalf of pages at once; who asks beyond that is told to come again. */
const MAX_CALLS = 4;
/** Of bull-board: a page of its asks for several things. */
const MAX_BOARD_CALLS = 16;

type Ask = (reply: FastifyReply, call: () => Promise<unknown>) => Promise<unknown>;

/** The page of operators. It shows values to those who ask: for people who may see them. */
export async function dashboardServer(
  { assets, auditor, bullBoard, bullBoardUrl, health, lockstep, recorder }: DashboardParts,
  options: ListenerOptions & AccessOptions,
): Promise<FastifyInstance> {
  const server = listener(options);
  server.addHook('onRequest', ownPagesOnly);
  restrict(server, options, new Set(assets.keys()));
  for (const [path, { body, type }] of assets) {
    server.get(path, async (_, reply) => reply.type(type).send(body));
  }
  server.get('/api/status', async () => health.status());
  server.get('/api/consistency', async () => ({
    consistency: auditor?.status ?? null,
    offenders: auditor?.offenders ?? [],
  }));
  server.get('/api/links', async () => ({ bullBoard: bullBoard ? `${BOARD}/` : (bullBoardUrl ?? null) }));
  const overview = overviewOf(recorder);
  server.get('/api/overview', async (_, reply) =>
    reply.type('application/json; charset=utf-8').send(overview()),
  );
  const watchers = new Watchers(recorder);
  server.addHook('preClose', async () => watchers.stop());
  // Its answer does not end.
  server.get('/api/events', { exposeHeadRoute: false }, (_, reply) => {
    if (watchers.full) return busy(reply);
    reply.hijack();
    watchers.add(reply.raw, HEADERS);
    return reply;
  });

  const ask = atOnce(MAX_CALLS);
  server.post<{ Body: InspectBody }>('/api/inspect', { schema: INSPECT }, async ({ body }, reply) =>
    ask(reply, () => inspection(lockstep, body)),
  );
  deadLetterRoutes(server, lockstep, ask);
  if (bullBoard) await mountBullBoard(server, lockstep, atOnce(MAX_BOARD_CALLS));
  return server;
}

/** The text of ten minutes, made once for each look of the recorder, however many ask. */
function overviewOf(recorder: Recorder): () => string {
  let made: { readonly points: Recorder['points']; readonly text: string } | undefined;
  return () => {
    const { points, state } = recorder;
    if (made?.points !== points) made = { points, text: JSON.stringify({ points, state: state ?? null }) };
    return made.text;
  };
}

function atOnce(most: number): Ask {
  let calls = 0;
  return async (reply, call) => {
    if (calls >= most) return busy(reply);
    calls++;
    try {
      return await call();
    } finally {
      calls--;
    }
  };
}

function deadLetterRoutes(server: FastifyInstance, { queue }: Lockstep, ask: Ask): void {
  const path = '/api/dead-letters';
  server.get<{ Querystring: LettersQuery }>(path, { schema: LETTERS }, async ({ query }, reply) =>
    queue === undefined ? noQueue(reply) : await ask(reply, () => letters(queue.deadLetters, query)),
  );
  server.post<{ Body: { id: string } }>(`${path}/value`, { schema: ONE }, async ({ body }, reply) => {
    if (queue === undefined) return noQueue(reply);
    return await ask(reply, async () => ({ value: (await letterValue(queue.deadLetters, body.id)) ?? null }));
  });
  for (const action of ['replay', 'discard'] as const) {
    server.post<{ Body: Selection }>(`${path}/${action}`, { schema: SELECTION }, async ({ body }, reply) => {
      if (queue === undefined) return noQueue(reply);
      return await ask(reply, async () => ({ count: await queue.deadLetters[action](body.ids) }));
    });
  }
}

function noQueue(reply: FastifyReply): FastifyReply {
  return reply.code(404).send({ error: 'this worker has no queue' });
}

/**
 * Browsers say which page asks. A link may lead to the dashboard; nothing else is for pages of other origins. Who sends
 * neither header is no browser. A form, or a script without leave, can send text but no JSON to another origin.
 */
async function ownPagesOnly({ headers, method, url }: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { host = '', origin, 'sec-fetch-site': site } = headers;
  const same = origin === undefined || hostOf(origin) === host.toLowerCase();
  const own = site === undefined || site === 'same-origin' || site === 'none';
  if (!same || !(own || (method === 'GET' && url === '/'))) {
    await reply.code(403).send({ error: 'only for its own page' });
  } else if (method === 'POST' && !/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? '')) {
    await reply.code(403).send({ error: 'send JSON' });
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
