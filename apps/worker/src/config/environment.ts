import { type CollectionOptions, createLockstep, InvalidOptionError } from '@lockstep/core';
import { type Option, option, optionValue } from '@lockstep/core/kit';
import { closest } from 'fastest-levenshtein';
import type { WorkerConfig } from '../define.js';
import { AUDIT, isHostName, WORKER } from '../settings.js';
import { withAdapter } from './adapters.js';
import { integrityFrom } from './integrity.js';
import { tokenFrom } from './token.js';

/** The variables, and what each means. */
export const VARIABLES = {
  LOCKSTEP_POSTGRES_URL: 'the database whose change feed is relayed',
  LOCKSTEP_REDIS_URL: 'the cache',
  LOCKSTEP_QUEUE_REDIS_URL: "the queue's Redis, apart from the cache's; none: the relay alone",
  LOCKSTEP_COLLECTIONS: 'name=schema.table:key[+key…], comma-separated, e.g. products=public.products:id',
  LOCKSTEP_BUFFERED: 'names of collections whose writes may be buffered, comma-separated (default none)',
  LOCKSTEP_MAX_PAYLOAD_BYTES:
    "longer values are not cached nor flushed, as the applications' (default 1048576)",
  LOCKSTEP_INTEGRITY_KEYS: 'id:secret, comma-separated: believe only entries and jobs that these signed',
  LOCKSTEP_INTEGRITY_KEYS_FILE: 'a file with such keys, one a line',
  LOCKSTEP_INTEGRITY_ACCEPT_UNSIGNED: 'true: believe what carries no signature, too',
  LOCKSTEP_PREFIX: "the start of every cache key, as the applications' (default wtc)",
  LOCKSTEP_ADDITIONAL: 'true: the tables have a cache of another prefix, too, which is meant (default false)',
  LOCKSTEP_HOST: 'the address that the dashboard listens on (default 127.0.0.1)',
  LOCKSTEP_PORT: "the dashboard's port (default 4610)",
  LOCKSTEP_TOKEN: 'what people must know to see the dashboard; needed where LOCKSTEP_HOST is not loopback',
  LOCKSTEP_TOKEN_FILE: 'a file with that token',
  LOCKSTEP_PROXY_USER_HEADER: 'instead of a token: the header in which a proxy names who has logged in',
  LOCKSTEP_BULL_BOARD: 'true: the dashboard has a bull-board for the raw queue, read-only (default false)',
  LOCKSTEP_BULL_BOARD_URL: 'a bull-board for the raw queues, to which the dashboard links (default none)',
  LOCKSTEP_METRICS_HOST: 'the address that probes and metrics listen on (default 127.0.0.1)',
  LOCKSTEP_METRICS_PORT: 'the port of probes and metrics (default: one above LOCKSTEP_PORT)',
  LOCKSTEP_ALLOWED_HOSTS: 'further names that clients may call either by, comma-separated (default none)',
  LOCKSTEP_MAX_FEED_LAG_MS: 'not ready while the oldest change is older (default 5000)',
  LOCKSTEP_CONCURRENCY: 'jobs of the queue handled at once (default 16)',
  LOCKSTEP_AUDIT_PER_SECOND:
    'entries that the auditor compares with their rows in a second; 0: none (default 20)',
  LOCKSTEP_SHUTDOWN_TIMEOUT_MS: 'how long a shutdown may take (default 20000)',
  LOCKSTEP_DISABLED: '1: nothing is read from the cache, for an emergency (default 0)',
  LOCKSTEP_LOG_LEVEL: 'trace, debug, info, warn, error (default info)',
} as const;

const MAX_PAYLOAD = option.integer(undefined, 1, 512 * 2 ** 20);

type Environment = Readonly<Record<string, string | undefined>>;

interface Binding {
  readonly name: string;
  readonly schema: string;
  readonly table: string;
  readonly key: string | string[];
}

/**
 * A configuration from environment variables alone, with the adapters that they ask for. Rejects with
 * `InvalidOptionError` naming the variable.
 */
export async function configFromEnvironment(environment: Environment): Promise<WorkerConfig> {
  checkNames(environment);
  const databaseUrl = required(environment, 'LOCKSTEP_POSTGRES_URL');
  checkUrl('LOCKSTEP_POSTGRES_URL', databaseUrl, ['postgres:', 'postgresql:']);
  const cacheUrl = required(environment, 'LOCKSTEP_REDIS_URL');
  checkUrl('LOCKSTEP_REDIS_URL', cacheUrl, ['redis:', 'rediss:']);
  const queueUrl = environment['LOCKSTEP_QUEUE_REDIS_URL'];
  if (queueUrl) checkUrl('LOCKSTEP_QUEUE_REDIS_URL', queueUrl, ['redis:', 'rediss:']);
  const bindings = required(environment, 'LOCKSTEP_COLLECTIONS').split(',').map(parseBinding);
  const buffered = bufferedNames(environment, bindings);
  const prefix = environment['LOCKSTEP_PREFIX'];
  const additional = flag(environment, 'LOCKSTEP_ADDITIONAL');
  const settings = numbers(environment);
  const integrity = integrityFrom(environment);
  const maxPayloadBytes = whole(environment, 'LOCKSTEP_MAX_PAYLOAD_BYTES', MAX_PAYLOAD);
  const database = await withAdapter('LOCKSTEP_POSTGRES_URL', () => postgresAt(databaseUrl));
  const { redisCache } = await withAdapter('LOCKSTEP_REDIS_URL', () => import('@lockstep/cache-redis'));
  const bullmq = queueUrl
    ? await withAdapter('LOCKSTEP_QUEUE_REDIS_URL', () => import('@lockstep/queue-bullmq'))
    : undefined;
  return {
    ...settings,
    lockstep: () => {
      const lockstep = createLockstep({
        cache: redisCache({ url: cacheUrl }),
        ...(queueUrl && bullmq ? { queue: bullmq.bullmqQueue({ connection: { url: queueUrl } }) } : {}),
        ...(prefix ? { prefix } : {}),
        ...(integrity === undefined ? {} : { integrity }),
      });
      const store = database.store();
      for (const { name, schema, table, key } of bindings) {
        const options: CollectionOptions<never, never, never> = {
          name,
          additional,
          ...(buffered.has(name) ? { burst: {} } : {}),
          ...(maxPayloadBytes === undefined ? {} : { maxPayloadBytes }),
          store: store.table(table, { schema, key }) as unknown as CollectionOptions<
            never,
            never,
            never
          >['store'],
        };
        lockstep.collection(options);
      }
      return lockstep;
    },
    close: database.close,
  };
}

/** Kubernetes gives every container such variables of a service whose name begins with `lockstep`. */
const OF_A_SERVICE = /_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP))(?:_|$)/;

function nothing(): void {}

async function postgresAt(url: string) {
  const [{ postgresStore }, { default: knexPackage }] = await Promise.all([
    import('@lockstep/store-postgres'),
    import('knex'),
  ]);
  // Its warnings would go to standard output, between the worker's JSON; the errors themselves are told by the worker.
  const silent = { debug: nothing, deprecate: nothing, error: nothing, warn: nothing };
  const pool = { min: 0, max: 10 };
  const knex = knexPackage({ client: 'pg', connection: url, pool, log: silent });
  return { store: () => postgresStore({ knex }), close: () => knex.destroy() };
}

/** A misspelt variable would be a default that nobody meant. */
function checkNames(environment: Environment): void {
  for (const [name, value = ''] of Object.entries(environment)) {
    if (!name.startsWith('LOCKSTEP_') || name in VARIABLES) continue;
    if (OF_A_SERVICE.test(name) || /^(?:tcp|udp):\/\//.test(value)) continue;
    const near = closest(name, Object.keys(VARIABLES));
    throw new InvalidOptionError(name, `is no variable of the worker; did you mean ${near}?`);
  }
}

function required(environment: Environment, name: keyof typeof VARIABLES): string {
  const value = environment[name];
  if (value !== undefined && value !== '') return value;
  throw new InvalidOptionError(name, `is not set: ${VARIABLES[name]} (or give --config FILE)`);
}

/** The address is not repeated: it may hold a password. */
function checkUrl(name: keyof typeof VARIABLES, value: string, protocols: readonly string[]): void {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url !== undefined && protocols.includes(url.protocol)) return;
  throw new InvalidOptionError(name, `must be an address that starts with ${protocols[0]}//`);
}

function parseBinding(text: string): Binding {
  const match = /^\s*([^=\s]+)=(?:([^.:\s]+)\.)?([^.:\s]+):([^:\s]+)\s*$/.exec(text);
  const [, name, schema, table, keys] = match ?? [];
  if (name === undefined || table === undefined || keys === undefined) {
    throw new InvalidOptionError('LOCKSTEP_COLLECTIONS', `"${text.trim()}" is not name=schema.table:key`);
  }
  const [first = '', ...more] = keys.split('+');
  return { name, schema: schema ?? 'public', table, key: more.length === 0 ? first : [first, ...more] };
}

function bufferedNames(environment: Environment, bindings: readonly Binding[]): ReadonlySet<string> {
  const names = (environment['LOCKSTEP_BUFFERED'] ?? '').split(',').flatMap((name) => name.trim() || []);
  const unknown = names.find((name) => !bindings.some((binding) => binding.name === name));
  if (unknown === undefined) return new Set(names);
  throw new InvalidOptionError('LOCKSTEP_BUFFERED', `"${unknown}" is not among LOCKSTEP_COLLECTIONS`);
}

function whole(
  environment: Environment,
  name: keyof typeof VARIABLES,
  range: Option<number, unknown>,
): number | undefined {
  const text = environment[name];
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,16}$/.test(text)) throw new InvalidOptionError(name, `must be a whole number, got "${text}"`);
  optionValue(Number(text), range, name);
  return Number(text);
}

function flag(environment: Environment, name: keyof typeof VARIABLES): boolean {
  const text = environment[name] || 'false';
  if (text !== 'true' && text !== 'false') throw new InvalidOptionError(name, 'must be true or false');
  return text === 'true';
}

function hostNames(environment: Environment): readonly string[] | undefined {
  const names = (environment['LOCKSTEP_ALLOWED_HOSTS'] ?? '').split(',').flatMap((name) => name.trim() || []);
  const wrong = names.find((name) => !isHostName(name));
  if (wrong === undefined) return names.length === 0 ? undefined : names;
  throw new InvalidOptionError(
    'LOCKSTEP_ALLOWED_HOSTS',
    `"${wrong}" is no host name or address (without a port)`,
  );
}

function numbers(environment: Environment): Partial<WorkerConfig> {
  const number = (known: Option<number, unknown>, name: keyof typeof VARIABLES): number | undefined =>
    whole(environment, name, known);
  const found = {
    host: environment['LOCKSTEP_HOST'] || undefined,
    port: number(WORKER.port, 'LOCKSTEP_PORT'),
    token: tokenFrom(environment),
    proxyUserHeader: optionValue(
      environment['LOCKSTEP_PROXY_USER_HEADER'] || undefined,
      WORKER.proxyUserHeader,
      'LOCKSTEP_PROXY_USER_HEADER',
    ),
    bullBoard: flag(environment, 'LOCKSTEP_BULL_BOARD') || undefined,
    bullBoardUrl: optionValue(
      environment['LOCKSTEP_BULL_BOARD_URL'] || undefined,
      WORKER.bullBoardUrl,
      'LOCKSTEP_BULL_BOARD_URL',
    ),
    metricsHost: environment['LOCKSTEP_METRICS_HOST'] || undefined,
    metricsPort: number(WORKER.metricsPort, 'LOCKSTEP_METRICS_PORT'),
    allowedHosts: hostNames(environment),
    maxFeedLagMs: number(WORKER.maxFeedLagMs, 'LOCKSTEP_MAX_FEED_LAG_MS'),
    concurrency: number(WORKER.concurrency, 'LOCKSTEP_CONCURRENCY'),
    shutdownTimeoutMs: number(WORKER.shutdownTimeoutMs, 'LOCKSTEP_SHUTDOWN_TIMEOUT_MS'),
  };
  const perSecond = number(AUDIT.perSecond, 'LOCKSTEP_AUDIT_PER_SECOND');
  const audit = perSecond === undefined ? undefined : { perSecond };
  return Object.fromEntries(Object.entries({ ...found, audit }).filter(([, value]) => value !== undefined));
}
