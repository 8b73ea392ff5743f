import { checkKnown, InvalidOptionError, type NumberRange, numberOption } from '@lockstep/core';
import type { WorkerConfig } from './define.js';

/** A worker's options, checked and complete. */
export interface WorkerSettings {
  readonly host: string;
  readonly port: number;
  readonly metricsHost: string;
  readonly metricsPort: number;
  readonly allowedHosts: readonly string[];
  readonly maxFeedLagMs: number;
  readonly concurrency: number;
  readonly shutdownTimeoutMs: number;
  readonly allowQueueEviction: boolean;
}

const KNOWN = [
  'lockstep',
  'close',
  'host',
  'port',
  'metricsHost',
  'metricsPort',
  'allowedHosts',
  'maxFeedLagMs',
  'concurrency',
  'shutdownTimeoutMs',
  'relay',
  'allowQueueEviction',
];

const HOUR_MS = 3_600_000;

/** What each number may be. */
export const RANGES = {
  port: { min: 0, max: 65_535 },
  metricsPort: { min: 0, max: 65_535 },
  maxFeedLagMs: { min: 1, max: HOUR_MS },
  concurrency: { min: 1, max: 1_000 },
  shutdownTimeoutMs: { min: 1, max: HOUR_MS },
} as const satisfies Record<string, NumberRange>;

/** Throws `InvalidOptionError` naming the option that is wrong. */
export function workerSettings(config: WorkerConfig): WorkerSettings {
  checkKnown(config, KNOWN, 'worker');
  const { lockstep } = config;
  if (typeof lockstep !== 'function' && typeof lockstep?.startRelay !== 'function') {
    throw new InvalidOptionError('worker.lockstep', 'must be a Lockstep, or a function that makes one');
  }
  for (const name of ['host', 'metricsHost'] as const) {
    const host = config[name];
    if (host !== undefined && (typeof host !== 'string' || host === '')) {
      throw new InvalidOptionError(`worker.${name}`, 'must be a host name or address');
    }
  }
  const { allowedHosts = [] } = config;
  if (!Array.isArray(allowedHosts) || !allowedHosts.every(isHostName)) {
    throw new InvalidOptionError('worker.allowedHosts', 'must be host names or addresses, without ports');
  }
  if (config.close !== undefined && typeof config.close !== 'function') {
    throw new InvalidOptionError('worker.close', 'must be a function');
  }
  const number = (name: keyof typeof RANGES, fallback: number): number =>
    numberOption(config[name], fallback, `worker.${name}`, RANGES[name]);
  const port = number('port', 4610);
  const metricsPort = number('metricsPort', port === 0 ? 0 : port + 1);
  if (metricsPort > RANGES.port.max) {
    throw new InvalidOptionError('worker.metricsPort', 'must be given where port is the last one');
  }
  if (port !== 0 && metricsPort === port) {
    throw new InvalidOptionError('worker.metricsPort', `must be another one than port, ${port}`);
  }
  return {
    host: config.host ?? '127.0.0.1',
    port,
    metricsHost: config.metricsHost ?? '127.0.0.1',
    metricsPort,
    allowedHosts,
    maxFeedLagMs: number('maxFeedLagMs', 5_000),
    concurrency: number('concurrency', 16),
    shutdownTimeoutMs: number('shutdownTimeoutMs', 20_000),
    allowQueueEviction: config.allowQueueEviction ?? false,
  };
}

/** A name or an address; IPv6 with or without brackets. */
export function isHostName(name: unknown): name is string {
  return typeof name === 'string' && /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[?[0-9a-f:.]+\]?)$/i.test(name);
}
