import { checkKnown, InvalidOptionError, type NumberRange, numberOption } from '@lockstep/core';
import type { WorkerConfig } from './define.js';

/** A worker's options, checked and complete. */
export interface WorkerSettings {
  readonly host: string;
  readonly port: number;
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
  if (config.host !== undefined && (typeof config.host !== 'string' || config.host === '')) {
    throw new InvalidOptionError('worker.host', 'must be a host name or address');
  }
  if (config.close !== undefined && typeof config.close !== 'function') {
    throw new InvalidOptionError('worker.close', 'must be a function');
  }
  const number = (name: keyof typeof RANGES, fallback: number): number =>
    numberOption(config[name], fallback, `worker.${name}`, RANGES[name]);
  return {
    host: config.host ?? '127.0.0.1',
    port: number('port', 4610),
    maxFeedLagMs: number('maxFeedLagMs', 5_000),
    concurrency: number('concurrency', 16),
    shutdownTimeoutMs: number('shutdownTimeoutMs', 20_000),
    allowQueueEviction: config.allowQueueEviction ?? false,
  };
}
