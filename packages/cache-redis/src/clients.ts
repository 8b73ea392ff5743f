/** The clients that this package makes, and why they are set as they are. */
import { backoffMs } from '@lockstep/core/kit';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import type { Settings } from './options.js';

export type Client = Redis | Cluster;

/** Not `instanceof`: a client that was handed in may come from another copy of ioredis. */
export function isCluster(client: Client): client is Cluster {
  return client.isCluster;
}

/** Connected by `open`; replies in one shape, whatever the rest of the options say. */
const FIXED = { lazyConnect: true, replyMapping: 'legacy' } as const;

const RETRY_CAP_MS = 100;
const NODE_RETRIES = 50;

/** Short, since a cache that is back should be used at once; with jitter, since a fleet asks. */
export function retryDelayMs(attempt: number): number {
  return backoffMs(attempt, { firstMs: 20, lastMs: RETRY_CAP_MS });
}

/**
 * A command fails with its connection and is never sent again behind its caller's back: by then the
 * engine has moved on. A connection that says nothing while commands wait is replaced, so that a
 * server that vanished without a word, or hangs in the handshake, retains nothing for ever.
 */
function connectionDefaults({ commandTimeoutMs, connectTimeoutMs }: Settings): RedisOptions {
  return {
    connectTimeout: connectTimeoutMs,
    disconnectTimeout: 100,
    socketTimeout: 2 * commandTimeoutMs,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    maxLoadingRetryTime: RETRY_CAP_MS,
    // A primary that became a replica: look for the new one.
    reconnectOnError: (error) => error.message.includes('READONLY'),
  };
}

export function urlClient(url: string, options: RedisOptions, settings: Settings): Redis {
  return new Redis(url, {
    ...connectionDefaults(settings),
    retryStrategy: retryDelayMs,
    enableOfflineQueue: false,
    ...options,
    ...FIXED,
  });
}

export function sentinelClient(options: RedisOptions, settings: Settings): Redis {
  return new Redis({
    ...connectionDefaults(settings),
    retryStrategy: retryDelayMs,
    enableOfflineQueue: false,
    sentinelRetryStrategy: retryDelayMs,
    sentinelCommandTimeout: settings.commandTimeoutMs,
    // A primary that is frozen or cut off closes nothing: the Sentinels say that another took over.
    failoverDetector: true,
    sentinelReconnectStrategy: () => 1_000,
    ...options,
    ...FIXED,
  });
}

/** Another connection to the same server, Sentinels included, whatever client was handed in. */
export function durableClient(client: Redis, settings: Settings): Redis {
  return client.duplicate({
    ...connectionDefaults(settings),
    retryStrategy: retryDelayMs,
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    ...FIXED,
  });
}

const CHANGES_DELAYS = { firstMs: 50, lastMs: 1_000 };

/** Another connection to the same server, to be told of changes: RESP2, whose messages ioredis hands on. */
export function changesClient(primary: Redis, settings: Settings): Redis {
  const options: RedisOptions = {
    ...connectionDefaults(settings),
    retryStrategy: (attempt) => backoffMs(attempt, CHANGES_DELAYS),
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    autoResubscribe: false,
    readOnly: false,
    keyPrefix: '',
    protocol: 2,
  };
  return primary.duplicate({ ...options, ...FIXED });
}

export function clusterClient(
  { nodes, options = {} }: NonNullable<Settings['cluster']>,
  settings: Settings,
): Cluster {
  const defaults: ClusterOptions = {
    clusterRetryStrategy: retryDelayMs,
    // A node that is lost for good makes room for asking the startup nodes anew.
    clusterNodeRetryStrategy: (attempt) => (attempt > NODE_RETRIES ? null : retryDelayMs(attempt)),
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: settings.connectTimeoutMs,
    maxRedirections: 4,
  };
  return new Cluster([...nodes], {
    ...defaults,
    ...options,
    redisOptions: { ...connectionDefaults(settings), ...options.redisOptions, replyMapping: 'legacy' },
    lazyConnect: true,
  });
}

/** True of a client that may send a command again whose reply it missed: it must not be given a buffered write. */
export function resends(client: Client): boolean {
  if (!isCluster(client)) return client.options.autoResendUnfulfilledCommands !== false;
  const { redisOptions, retryDelayOnFailover } = client.options;
  return redisOptions?.autoResendUnfulfilledCommands !== false || retryDelayOnFailover !== 0;
}
