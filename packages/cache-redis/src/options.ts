import { InvalidOptionError } from '@lockstep/core';
import { type OptionsOf, option, type Settings as SettingsOf, withDefaults } from '@lockstep/core/kit';
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis';

/** Exactly one of `client`, `url`, `cluster` and `sentinel`. */
export interface RedisCacheOptions {
  /**
   * An ioredis client of your own. It is used as it is (`keyPrefix`, `db`, time-outs, retries) and
   * never closed. Reads must go to primaries: `scaleReads`, `readOnly` and `role: 'slave'` are refused.
   */
  readonly client?: Redis | Redis<'resp3'> | Cluster | Cluster<'resp3'> | undefined;
  /** The address of one server, e.g. `redis://user:password@host:6379/0` or `rediss://…`. */
  readonly url?: string | undefined;
  /** With `url`: more options for its client, e.g. `tls` and `keyPrefix`. */
  readonly redisOptions?: RedisOptions | undefined;
  /** A Redis Cluster. */
  readonly cluster?:
    | { readonly nodes: readonly ClusterNode[]; readonly options?: ClusterOptions | undefined }
    | undefined;
  /** ioredis' options of a client behind Sentinels: at least `sentinels` and `name`. */
  readonly sentinel?: RedisOptions | undefined;
  /**
   * After this many ms without an answer a call fails. Clients made here replace a connection on
   * which commands wait and nothing arrives for twice as long. @defaultValue 1_000
   */
  readonly commandTimeoutMs?: number | undefined;
  /** How long a connection may take to come about, in ms. @defaultValue 1_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Commands sent to one server and not answered; beyond it calls fail at once. @defaultValue 10_000 */
  readonly maxPending?: number | undefined;
  /** The same in bytes of keys and payloads sent. @defaultValue 67_108_864 (64 MiB) */
  readonly maxPendingBytes?: number | undefined;
}

const SOURCES = ['client', 'url', 'cluster', 'sentinel'] as const;
const DAY_MS = 86_400_000;

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

const CLUSTER = {
  nodes: option.required(
    option.is<readonly ClusterNode[]>(
      'a list of at least one node',
      (nodes) => Array.isArray(nodes) && nodes.length > 0,
    ),
  ),
  options: option.is<ClusterOptions>('ioredis’ options of a cluster', isObject),
} satisfies OptionsOf<NonNullable<RedisCacheOptions['cluster']>>;

export const REDIS_CACHE = {
  url: option.is<string>(
    'redis:// or rediss:// and an address, or the path of a socket',
    // The address itself may hold a password: it stays out of the message.
    (url) => typeof url === 'string' && /^(rediss?:\/\/|\/[^/])/i.test(url),
  ),
  sentinel: option.is<RedisOptions>('ioredis’ options', isObject),
  cluster: option.is<NonNullable<RedisCacheOptions['cluster']>>('{ nodes, options? }', isObject),
  client: option.having<NonNullable<RedisCacheOptions['client']>>(
    'a Redis or Cluster of ioredis',
    'pipeline',
  ),
  redisOptions: option.is<RedisOptions>('ioredis’ options', isObject),
  commandTimeoutMs: option.integer(1_000, 1, DAY_MS),
  connectTimeoutMs: option.integer(1_000, 1, DAY_MS),
  maxPending: option.integer(10_000, 1, Number.MAX_SAFE_INTEGER),
  maxPendingBytes: option.integer(64 * 2 ** 20, 1, Number.MAX_SAFE_INTEGER),
} satisfies OptionsOf<RedisCacheOptions>;

export type Settings = SettingsOf<typeof REDIS_CACHE>;

/** Throws `InvalidOptionError` naming the option. */
export function settingsOf(options: RedisCacheOptions): Settings {
  const where = 'redisCache';
  const settings = withDefaults(options, REDIS_CACHE, where);
  const given = SOURCES.filter((source) => options[source] !== undefined);
  if (given.length !== 1) {
    const found = given.length === 0 ? 'none' : given.join(' and ');
    throw new InvalidOptionError(where, `give exactly one of ${SOURCES.join(', ')}; got ${found}`);
  }
  if (options.redisOptions !== undefined && options.url === undefined) {
    throw new InvalidOptionError(`${where}.redisOptions`, 'goes with url only');
  }
  checkClient(options.client);
  const { cluster, sentinel } = options;
  if (cluster !== undefined) {
    withDefaults(cluster, CLUSTER, `${where}.cluster`);
    checkScaleReads(cluster.options, `${where}.cluster.options`);
  }
  if (sentinel !== undefined) {
    if (!Array.isArray(sentinel.sentinels) || sentinel.sentinels.length === 0) {
      throw new InvalidOptionError(`${where}.sentinel.sentinels`, 'must name at least one Sentinel');
    }
    if (typeof sentinel.name !== 'string' || sentinel.name === '') {
      throw new InvalidOptionError(
        `${where}.sentinel.name`,
        'must name the primary that the Sentinels watch',
      );
    }
    checkPrimary(sentinel, `${where}.sentinel`);
  }
  if (options.redisOptions !== undefined) checkPrimary(options.redisOptions, `${where}.redisOptions`);
  return settings;
}

function checkClient(client: RedisCacheOptions['client']): void {
  if (client === undefined) return;
  const where = 'redisCache.client';
  if (client.isCluster) checkScaleReads((client as Cluster).options, `${where}.options`);
  else checkPrimary((client as Redis).options, `${where}.options`);
}

/** A replica lags: what it answers may be older than an acknowledged write (G2). */
function checkScaleReads(options: ClusterOptions | undefined, where: string): void {
  const scaleReads = options?.scaleReads;
  if (scaleReads === undefined || scaleReads === 'master') return;
  throw new InvalidOptionError(`${where}.scaleReads`, "must be 'master': replicas lag behind");
}

function checkPrimary(options: RedisOptions, where: string): void {
  if (options.readOnly === true) {
    throw new InvalidOptionError(`${where}.readOnly`, 'must be false: the cache writes');
  }
  if (options.role === 'slave') {
    throw new InvalidOptionError(`${where}.role`, "must be 'master': replicas lag behind");
  }
}
