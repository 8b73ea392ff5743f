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
const SESSION_SECONDS = 12 * 3_600;
/** What a wrong token costs, wherever it was sent. With the few that may wait at once nobody gets through the possibilities. */
const WRONG_MS = 500;
/** Wrong tokens of one address that wait at once. Meanwhile it is told nothing, and others log in. */
const MAX_WRONG = 4;

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
  const isNamed = ({ headers }: FastifyRequest): boolean => {
    const user = proxyUserHeader === undefined ? undefined : headers[proxyUserHeader.toLowerCase()];
    return typeof user === 'string' && user !== '';
  };
  const passes = (request: FastifyRequest): boolean => {
    if (isOpen || isNamed(request)) return true;
    if (token === undefined) return false;
    const { headers } = request;
    const bearer = bearerOf(headers);
    return bearer !== undefined ? isSame(bearer, token) : hasSession(headers.cookie ?? '', cookie, token);
  };
  const cookie = token === undefined ? '' : cookieOf(token);
  const guesses = new Guesses();
  server.addHook('onRequest', async (request, reply) => {
    // By the route that it leads to: one path has many spellings.
    const { url: route } = request.routeOptions;
    // A proxy that names its users may send a token of its own with them.
    const bearer = isNamed(request) ? undefined : bearerOf(request.headers);
    if (token !== undefined && bearer !== undefined && !(await guesses.admit(request, reply, bearer, token)))
      return;
    if (route === undefined || route === SESSION || open.has(route) || passes(request)) return;
    const how = token === undefined ? 'log in to the proxy' : 'send the token';
    await reply.code(401).header('www-authenticate', 'Bearer').send({ error: how });
  });
  server.get(SESSION, async (request) => ({
    passes: passes(request),
    login: token !== undefined,
  }));
  if (token === undefined) return;
  server.post<{ Body: { token: string } }>(SESSION, { schema: LOGIN }, async (request, reply) => {
    if (!(await guesses.admit(request, reply, request.body.token, token))) return reply;
    const secure = request.headers['x-forwarded-proto'] === 'https' ? '; Secure' : '';
    const session = `${cookie}=${sessionOf(token)}; Path=/; HttpOnly; SameSite=Strict`;
    return await reply
      .header('set-cookie', `${session}; Max-Age=${SESSION_SECONDS}${secure}`)
      .send({ passes: true });
  });
  server.post(`${SESSION}/end`, async (_, reply) =>
    reply
      .header('set-cookie', `${cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`)
      .send({ passes: false }),
  );
}

/** Wrong tokens that wait for their answer, by the address that sent them: as many as there are connections, at most. */
class Guesses {
  readonly #waiting = new Map<string, number>();

  /** True where it is the token. Otherwise the request has been answered. */
  async admit(request: FastifyRequest, reply: FastifyReply, guess: string, token: string): Promise<boolean> {
    const { remoteAddress = '' } = request.socket;
    const waiting = this.#waiting.get(remoteAddress) ?? 0;
    // Before it is compared: who is told at once which one was right may try as many as the network carries.
    if (waiting >= MAX_WRONG) {
      await busy(reply);
      return false;
    }
    if (isSame(guess, token)) return true;
    this.#waiting.set(remoteAddress, waiting + 1);
    await sleep(systemClock, WRONG_MS);
    const left = (this.#waiting.get(remoteAddress) ?? 1) - 1;
    if (left > 0) this.#waiting.set(remoteAddress, left);
    else this.#waiting.delete(remoteAddress);
    await reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'that is not the token' });
    return false;
  }
}

function bearerOf({ authorization = '' }: FastifyRequest['headers']): string | undefined {
  return /^bearer (.{1,256})$/i.exec(authorization)?.[1];
}

export function busy(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '1').send({ error: 'too many at once' });
}

/** Takes as long whatever the difference is. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}

/**
 * A cookie's name. Browsers send a cookie to all ports of a host: dashboards with other tokens there keep cookies of
 * their own, and those with the same token share one.
 */
function cookieOf(token: string): string {
  return `lockstep_session_${hmac(token, 'lockstep cookie').toString('hex').slice(0, 8)}`;
}

/** When it ends, in s since the epoch, and the proof that it was made with the token. */
function sessionOf(token: string): string {
  const end = Math.floor(Date.now() / 1_000) + SESSION_SECONDS;
  return `${end}.${proofOf(end, token)}`;
}

function proofOf(end: number, token: string): string {
  return hmac(token, `lockstep session ${end}`).toString('base64url');
}

function hmac(token: string, text: string): Buffer {
  return createHmac('sha256', token).update(text).digest();
}

function hasSession(cookies: string, name: string, token: string): boolean {
  const [, end = '', proof = ''] =
    new RegExp(`(?:^|;\\s*)${name}=(\\d{1,12})\\.([\\w-]{1,64})(?:;|$)`).exec(cookies) ?? [];
  return Number(end) > Date.now() / 1_000 && isSame(proof, proofOf(Number(end), token));
}
