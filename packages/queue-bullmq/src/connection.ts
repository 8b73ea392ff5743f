import { systemClock } from '@lockstep/core';
import { backoffMs, saidAtConnect, tlsHint, withTimeout } from '@lockstep/core/kit';
import { Redis } from 'ioredis';
import type { BullmqQueueOptions, RedisOptions } from './options.js';

/** Soon again after a restart, never in a rush. */
function retryStrategy(times: number): number {
  return backoffMs(times, { firstMs: 100, lastMs: 500 });
}

/** How long the first contact may take of those who can wait for it, in ms. */
const FIRST_CONTACT_MS = 2_500;

const SHARED: RedisOptions = { retryStrategy, disconnectTimeout: 100, connectTimeout: 2_000 };

/**
 * A client that gives up soon: for producers, and for whoever asks how the queue is. They wait for
 * {@link ready} first, so that nothing piles up behind a server that is away.
 */
export function boundedClient(connection: BullmqQueueOptions['connection'], timeoutMs: number): Redis {
  return client(connection, {
    ...SHARED,
    commandTimeout: timeoutMs,
    // Commands that timed out would pile up on a connection that is silent. Later than they: an answer may have arrived
    // that a busy process has not read.
    socketTimeout: 2 * timeoutMs,
    maxRetriesPerRequest: 1,
  });
}

export interface WaitingOptions {
  /** A connection without a reply for so long is replaced. */
  readonly silentMs: number;
  /** True once nobody needs it any more, nor the clients that BullMQ makes of it. */
  readonly over: () => boolean;
}

/** A client that waits for jobs as long as it takes, as BullMQ's Worker needs it. */
export function waitingClient(
  connection: BullmqQueueOptions['connection'],
  { over, silentMs }: WaitingOptions,
): Redis {
  return client(connection, {
    ...SHARED,
    maxRetriesPerRequest: null,
    socketTimeout: silentMs,
    retryStrategy: (times) => (over() ? null : retryStrategy(times)),
  });
}

function client(connection: BullmqQueueOptions['connection'], options: RedisOptions): Redis {
  const made = open(connection, options);
  // Calls say what failed; an error event without a listener would end the process.
  made.on('error', (error) => {
    lastErrors.set(made, error);
    // The client says so and goes on, in the server's first database.
    if (!/DB index|SELECT is not allowed/.test(error.message)) return;
    withoutDatabase.set(made, error);
  });
  made.on('connect', () => withoutDatabase.delete(made));
  made.on('close', () => void listen(made));
  made.on('ready', () => {
    lastErrors.delete(made);
    refusals.delete(made);
    reached.add(made);
  });
  return made;
}

/** A server that was never reached may say why it ends each connection. */
async function listen(redis: Redis): Promise<void> {
  const { sentinels, tls, ...address } = redis.options;
  if (reached.has(redis) || sentinels || tls) return;
  const said = await saidAtConnect(address, lastErrors.get(redis));
  if (said !== undefined) refusals.set(redis, said);
}

function open(connection: BullmqQueueOptions['connection'], options: RedisOptions): Redis {
  if (connection instanceof Redis) return connection.duplicate(options);
  const { url } = connection as { readonly url?: unknown };
  if (typeof url === 'string') return new Redis(url, options);
  return new Redis({ ...(connection as RedisOptions), ...options });
}

const waits = new WeakMap<Redis, Promise<void>>();
/** Why a client is not connected: a wrong password, a refused connection. */
const lastErrors = new WeakMap<Redis, Error>();
/** Why a server takes no connection, in its words. */
const refusals = new WeakMap<Redis, Error>();
/** Clients whose server was reached once: when it fails later, it is away. */
const reached = new WeakSet<Redis>();
/** Clients that the server would not take to their database: their commands would go to another one. */
const withoutDatabase = new WeakMap<Redis, Error>();

/**
 * Resolves when commands can be sent; rejects when they can't within `ms`. Those who ask meanwhile share
 * the wait, however many they are.
 */
export async function ready(redis: Redis, ms: number, toldMs = ms): Promise<void> {
  if (redis.status === 'ready') return checkDatabase(redis);
  const under = waits.get(redis) ?? becomesReady(redis, ms, toldMs).finally(() => waits.delete(redis));
  waits.set(redis, under);
  await under;
  checkDatabase(redis);
}

/**
 * As `ready`, for whoever can wait longer for the first contact: a busy machine takes its time to connect. Not where
 * the server has refused it.
 */
export async function contacted(redis: Redis, ms: number): Promise<void> {
  try {
    return await ready(redis, ms);
  } catch (error) {
    if (ms >= FIRST_CONTACT_MS || reached.has(redis) || isRefused(causeOf(redis))) throw error;
  }
  await ready(redis, FIRST_CONTACT_MS - ms, FIRST_CONTACT_MS);
}

function causeOf(redis: Redis): Error | undefined {
  return refusals.get(redis) ?? lastErrors.get(redis);
}

function isRefused(error: Error | undefined): boolean {
  return error !== undefined && !/timed ?out|timeout/i.test(error.message);
}

/** Throws where the server has no database of that number. */
export function checkDatabase(redis: Redis): void {
  const cause = withoutDatabase.get(redis);
  if (cause === undefined) return;
  throw new Error(`Redis has no database ${redis.options.db}: ${cause.message}`, { cause });
}

async function becomesReady(redis: Redis, ms: number, toldMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  redis.once('ready', resolve);
  try {
    await withTimeout(systemClock, promise, ms, () => {
      const cause = causeOf(redis);
      const why = cause === undefined ? '' : `: ${cause.message}`;
      const hint = reached.has(redis) ? '' : tlsHint(Boolean(redis.options.tls), cause);
      return new Error(`not connected within ${toldMs} ms${why}${hint}`, { cause });
    });
  } finally {
    redis.off('ready', resolve);
  }
}
