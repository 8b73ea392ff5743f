import { checkKnown, InvalidOptionError, numberOption } from '@lockstep/core';
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

/** Throws `InvalidOptionError` naming the option that is wrong. */
export function workerSettings(config: WorkerConfig): WorkerSettings {
  if (typeof config !== 'object' || config === null) {
    throw new InvalidOptionError('worker', 'takes an object of options');
  }
  checkKnown(config, KNOWN, 'worker');
  const { lockstep } = config;
  if (typeof lockstep !== 'function' && typeof lockstep?.startRelay !== 'function') {
    throw new InvalidOptionError('worker.lockstep', 'must be a Lockstep, or a function that makes one');
  }
  if (config.host !== undefined && (typeof config.host !== 'string' || config.host === '')) {
    throw new InvalidOptionError('worker.host', 'must be a host name or address');
  }
  const hour = 3_600_000;
  return {
    host: config.host ?? '127.0.0.1',
    port: numberOption(config.port, 4610, 'worker.port', { min: 0, max: 65_535 }),
    maxFeedLagMs: numberOption(config.maxFeedLagMs, 5_000, 'worker.maxFeedLagMs', { min: 1, max: hour }),
    concurrency: numberOption(config.concurrency, 16, 'worker.concurrency', { min: 1, max: 1_000 }),
    shutdownTimeoutMs: numberOption(config.shutdownTimeoutMs, 20_000, 'worker.shutdownTimeoutMs', {
      min: 1,
      max: hour,
    }),
    allowQueueEviction: config.allowQueueEviction ?? false,
  };
}
