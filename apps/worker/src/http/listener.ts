import { isIP } from 'node:net';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Logger } from 'pino';

export interface ListenerOptions {
  /** The address that it is told to listen on: a name for it, too. */
  readonly host: string;
  /** Further names that clients may call it by. */
  readonly allowedHosts: readonly string[];
  readonly logger: Logger;
}

/** A client that sends its header or its body slowly, or nothing, is cut off after so long. */
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 15_000;
/** How often Node looks for those. */
const CHECK_EVERY_MS = 1_000;
const MAX_HEADER_BYTES = 8_192;
/** Two hundred ids. */
const MAX_BODY_BYTES = 65_536;
const MAX_CONNECTIONS = 1_024;
const MAX_REQUESTS_PER_CONNECTION = 1_000;

const METHODS = ['GET', 'HEAD', 'POST'];
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '::1'];

export const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

/** What Lockstep's own errors mean to a client. */
const KNOWN: Readonly<Record<string, number>> = {
  LOCKSTEP_INVALID_OPTION: 400,
  LOCKSTEP_INVALID_ID: 400,
  LOCKSTEP_QUEUE_UNAVAILABLE: 503,
  LOCKSTEP_CACHE_UNAVAILABLE: 503,
  LOCKSTEP_STORE_UNAVAILABLE: 503,
  LOCKSTEP_STORE_TIMEOUT: 503,
};

/**
 * An HTTP server without routes. It answers nobody who calls it by a name that is not its own: a page of somebody
 * else's can point a name of theirs at it, and would then be of the same origin. Everything that a client may send
 * has a bound.
 */
export function listener({ allowedHosts, host, logger }: ListenerOptions): FastifyInstance {
  const server = Fastify({
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: HEADERS_TIMEOUT_MS,
    maxRequestsPerSocket: MAX_REQUESTS_PER_CONNECTION,
    bodyLimit: MAX_BODY_BYTES,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    forceCloseConnections: true,
    // No hook is asked about a target that can't be decoded.
    frameworkErrors: (_, __, reply) => {
      const untyped = reply as unknown as FastifyReply;
      untyped.headers(HEADERS).code(400).send({ error: 'there is no such page' });
    },
    // A misspelt `ids` must not discard everything.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true } },
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  const names = new Set([...LOOPBACK_NAMES, host, ...allowedHosts].map(canonicalName));
  server.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    if (!METHODS.includes(request.method)) {
      return await reply.code(405).header('allow', METHODS.join(', ')).send({ error: 'no such method' });
    }
    const name = nameOf(request);
    if (name !== undefined && (names.has(name) || name === localAddress(request))) return;
    await reply.code(403).send({ error: 'not by this name (allowedHosts, LOCKSTEP_ALLOWED_HOSTS)' });
  });
  server.setNotFoundHandler((_, reply) => reply.code(404).send({ error: 'there is no such page' }));
  server.setErrorHandler<FastifyError>((error, request, reply) => {
    const known = KNOWN[error.code];
    const status = known ?? error.statusCode ?? 500;
    if (known !== undefined || status < 500) return reply.code(status).send({ error: error.message });
    // A driver's message may name addresses.
    logger.error({ err: error, path: request.routeOptions.url }, 'a request failed');
    return reply.code(status).send({ error: 'it failed; the log says why' });
  });
  return server;
}

/** The name that the client used; `undefined` where there is none, more than one, or another in the target. */
function nameOf({ raw }: FastifyRequest): string | undefined {
  if (!raw.url?.startsWith('/')) return undefined;
  const hosts = raw.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === 'host');
  const [, bracketed, plain] =
    /^(?:\[([0-9a-f:.]+)\]|([^:[\]@/\s]+))(?::\d{1,5})?$/i.exec(hosts[0] ?? '') ?? [];
  const name = bracketed ?? plain;
  return hosts.length === 1 && name !== undefined ? canonicalName(name) : undefined;
}

/** One spelling for each name and address. */
function canonicalName(text: string): string {
  const name = text.toLowerCase().replace(/^\[|\]$/g, '');
  if (isIP(name) === 6 && !name.includes('%')) return new URL(`http://[${name}]`).hostname.slice(1, -1);
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

function localAddress({ socket }: FastifyRequest): string {
  const { localAddress: address = '' } = socket;
  // An IPv4 client of a socket for both.
  return canonicalName(address.replace(/^::ffff:(?=\d+\.)|%.*$/gi, ''));
}
