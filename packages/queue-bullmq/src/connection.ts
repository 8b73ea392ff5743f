import { Redis } from 'ioredis';
import type { BullmqQueueOptions, RedisOptions } from './options.js';

/** Soon again after a restart, never in a rush. */
function retryStrategy(times: number): number {
  return Math.min(50 * 2 ** Math.min(times, 4), 500) * (0.75 + Math.random() / 2);
}

const SHARED: RedisOptions = { retryStrategy, disconnectTimeout: 100, connectTimeout: 2_000 };

/**
 * A client that gives up soon: for producers, and for whoever asks how the queue is. They wait for
 * {@link ready} first, so that nothing piles up behind a server that is away.
 */
export function boundedClient(connection: BullmqQueueOptions['connection'], timeoutMs: number): Redis {
  return client(connection, {
    ...SHARED,
    commandTimeout: timeoutMs,
    maxRetriesPerRequest: 1,
  });
}

/** A client that waits for jobs as long as it takes, as BullMQ's Worker needs it. */
export function waitingClient(connection: BullmqQueueOptions['connection']): Redis {
  return client(connection, { ...SHARED, maxRetriesPerRequest: null });
}

function client(connection: BullmqQueueOptions['connection'], options: RedisOptions): Redis {
  const made = open(connection, options);
  // Calls say what failed; an error event without a listener would end the process.
  made.on('error', () => undefined);
  return made;
}

function open(connection: BullmqQueueOptions['connection'], options: RedisOptions): Redis {
  if (connection instanceof Redis) return connection.duplicate(options);
  const { url } = connection as { readonly url?: unknown };
  if (typeof url === 'string') return new Redis(url, options);
  return new Redis({ ...(connection as RedisOptions), ...options });
}

/** Resolves when commands can be sent; rejects when they can't within `ms`. */
export async function ready(redis: Redis, ms: number): Promise<void> {
  if (redis.status === 'ready') return;
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`not connected within ${ms} ms`)), ms);
  redis.once('ready', resolve);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    redis.off('ready', resolve);
  }
}
