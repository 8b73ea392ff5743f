import { InvalidOptionError, type RelayOptions } from '@lockstep/core';
import { type OptionsOf, option, type Settings, withDefaults } from '@lockstep/core/kit';
import type { AuditOptions, WorkerConfig } from './define.js';

const HOUR_MS = 3_600_000;
const LAST_PORT = 65_535;

const HOST = option.is<string, string>(
  'a host name or address',
  (host) => typeof host === 'string' && host !== '',
  '127.0.0.1',
);

export const AUDIT = { perSecond: option.integer(20, 0, 1_000) } satisfies OptionsOf<AuditOptions>;

export const WORKER = {
  lockstep: option.required(
    option.is<WorkerConfig['lockstep']>(
      'a Lockstep, or a function that makes one',
      (lockstep) =>
        typeof lockstep === 'function' ||
        typeof (lockstep as { startRelay?: unknown } | null)?.startRelay === 'function',
    ),
  ),
  close: option.callback<NonNullable<WorkerConfig['close']>>(),
  host: HOST,
  port: option.integer(4610, 0, LAST_PORT),
  metricsHost: HOST,
  metricsPort: option.integer(undefined, 0, LAST_PORT),
  allowedHosts: option.is<readonly string[], readonly string[]>(
    'host names or addresses, without ports',
    (hosts) => Array.isArray(hosts) && hosts.every(isHostName),
    [],
  ),
  token: option.is<string>(
    'a string of 16 to 256 characters',
    (token) => typeof token === 'string' && token.length >= 16 && token.length <= 256,
  ),
  proxyUserHeader: option.is<string>(
    'the name of a header',
    (name) => typeof name === 'string' && /^[a-z0-9-]{1,64}$/i.test(name),
  ),
  bullBoard: option.flag(false),
  bullBoardUrl: option.is<string>(
    'an http:// or https:// address',
    (url) => typeof url === 'string' && URL.canParse(url) && /^https?:$/.test(new URL(url).protocol),
  ),
  maxFeedLagMs: option.integer(5_000, 1, HOUR_MS),
  concurrency: option.integer(16, 1, 1_000),
  shutdownTimeoutMs: option.integer(20_000, 1, HOUR_MS),
  // The relay checks them.
  relay: option.is<RelayOptions>('options of the relay', (relay) => typeof relay === 'object'),
  audit: option.group(AUDIT),
  allowQueueEviction: option.flag(false),
} satisfies OptionsOf<WorkerConfig>;

/** A worker's options, checked and complete. */
export interface WorkerSettings extends Settings<typeof WORKER> {
  readonly metricsPort: number;
}

/** Throws `InvalidOptionError` naming the option that is wrong. */
export function workerSettings(config: WorkerConfig): WorkerSettings {
  const settings = withDefaults(config, WORKER, 'worker');
  const { host, port, proxyUserHeader, token } = settings;
  if (token === undefined && proxyUserHeader === undefined && !isLoopback(host)) {
    const problem = `${host} is reached from elsewhere: give a token, or proxyUserHeader behind a proxy with a log-in`;
    throw new InvalidOptionError('worker.host', problem);
  }
  const metricsPort = settings.metricsPort ?? (port === 0 ? 0 : port + 1);
  if (metricsPort > LAST_PORT) {
    throw new InvalidOptionError('worker.metricsPort', 'must be given where port is the last one');
  }
  if (port !== 0 && metricsPort === port) {
    throw new InvalidOptionError('worker.metricsPort', `must be another one than port, ${port}`);
  }
  return { ...settings, metricsPort };
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i.test(host);
}

/** A name or an address; IPv6 with or without brackets. */
export function isHostName(name: unknown): name is string {
  return typeof name === 'string' && /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[?[0-9a-f:.]+\]?)$/i.test(name);
}
