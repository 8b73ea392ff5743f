import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

export interface AccessOptions {
  /** `undefined`: nobody is asked for one. */
  readonly token: string | undefined;
  /** The header in which a proxy names who has logged in to it; `undefined`: there is no such proxy. */
  readonly proxyUserHeader: string | undefined;
}

const SESSION = '/api/session';
const COOKIE = 'lockstep_session';
const SESSION_SECONDS = 12 * 3_600;
/** What a guess costs. With the few that may wait at once nobody gets through a token's possibilities. */
const WRONG_MS = 500;
const MAX_LOGINS = 4;

const LOGIN = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['token'],
    properties: { token: { type: 'string', minLength: 1, maxLength: 256 } },
  },
} as const;

/**
 * Lets only those pass who know the token, or whom a proxy names; the routes in `open` are for everybody who may reach
 * the port. Sessions are signed with the token, so that all workers that have it believe them and a new token ends them.
 */
export function restrict(
  server: FastifyInstance,
  { proxyUserHeader, token }: AccessOptions,
  open: ReadonlySet<string>,
): void {
  const isOpen = token === undefined && proxyUserHeader === undefined;
  const passes = ({ headers }: FastifyRequest): boolean => {
    if (isOpen) return true;
    if (proxyUserHeader !== undefined) {
      const user = headers[proxyUserHeader.toLowerCase()];
      if (typeof user === 'string' && user !== '') return true;
    }
    if (token === undefined) return false;
    const [, bearer] = /^bearer (.{1,256})$/i.exec(headers.authorization ?? '') ?? [];
    return bearer !== undefined ? isSame(bearer, token) : hasSession(headers.cookie ?? '', token);
  };
  server.addHook('onRequest', async (request, reply) => {
    // By the route that it leads to: one path has many spellings.
    const { url: route } = request.routeOptions;
    if (route === undefined || route === SESSION || open.has(route) || passes(request)) return;
    const how = token === undefined ? 'log in to the proxy' : 'send the token';
    await reply.code(401).header('www-authenticate', 'Bearer').send({ error: how });
  });
  server.get(SESSION, async (request) => ({
    passes: passes(request),
    login: token !== undefined,
  }));
  if (token === undefined) return;
  let logins = 0;
  server.post<{ Body: { token: string } }>(SESSION, { schema: LOGIN }, async (request, reply) => {
    if (logins >= MAX_LOGINS) return await busy(reply);
    logins++;
    try {
      if (!isSame(request.body.token, token)) {
        await sleep(systemClock, WRONG_MS);
        return await reply.code(401).send({ error: 'that is not the token' });
      }
      const secure = request.headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
      const session = `${COOKIE}=${sessionOf(token)}; Path=/; HttpOnly; SameSite=Strict`;
      return await reply
        .header('set-cookie', `${session}; Max-Age=${SESSION_SECONDS}${secure}`)
        .send({ passes: true });
    } finally {
      logins--;
    }
  });
  server.post(`${SESSION}/end`, async (_, reply) =>
    reply
      .header('set-cookie', `${COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`)
      .send({ passes: false }),
  );
}

export function busy(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '1').send({ error: 'too many at once' });
}

/** Takes as long whatever the difference is. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

/** When it ends, in s since the epoch, and the proof that it was made with the token. */
function sessionOf(token: string): string {
  const end = Math.floor(Date.now() / 1_000) + SESSION_SECONDS;
  return `${end}.${proofOf(end, token)}`;
}

function proofOf(end: number, token: string): string {
  return createHmac('sha256', token).update(`lockstep session ${end}`).digest('base64url');
}

function hasSession(cookies: string, token: string): boolean {
  const [, end = '', proof = ''] =
    /(?:^|;\s*)lockstep_session=(\d{1,12})\.([\w-]{1,64})(?:;|$)/.exec(cookies) ?? [];
  return Number(end) > Date.now() / 1_000 && isSame(proof, proofOf(Number(end), token));
}
