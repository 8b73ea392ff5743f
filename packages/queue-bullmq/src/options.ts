import { checkKnown, InvalidOptionError, numberOption } from '@lockstep/core';
import type { RedisOptions as AllRedisOptions, Redis } from 'ioredis';

/** Options for ioredis; replies keep the form that BullMQ expects. */
export type RedisOptions = Omit<AllRedisOptions, 'replyMapping'>;

export interface BullmqQueueOptions {
  /**
   * The queue's Redis: an address, options for ioredis, or a client of the caller's, which is duplicated
   * (BullMQ needs settings of its own) and never closed. Use a Redis apart from the cache's, with
   * `maxmemory-policy noeviction` and an append-only file.
   */
  readonly connection: { readonly url: string } | RedisOptions | Redis;
  /** The queue's name in BullMQ. @defaultValue 'lockstep' */
  readonly name?: string;
  /** The start of BullMQ's keys. @defaultValue 'bull' */
  readonly prefix?: string;
  /** How often BullMQ gives a failing job to a consumer. @defaultValue 200 */
  readonly attempts?: number;
  /** Quick tries within each of them. @defaultValue 3 */
  readonly quickTries?: number;
  /** The pause before the second attempt, in ms; it doubles each time, with jitter. @defaultValue 250 */
  readonly backoffMs?: number;
  /** The longest pause, in ms. @defaultValue 2_000 */
  readonly maxBackoffMs?: number;
  /** Dead letters kept; the oldest goes first. @defaultValue 10_000 */
  readonly deadLetterLimit?: number;
  /** The bound of `enqueue` and of the other calls, in ms. @defaultValue 1_000 */
  readonly timeoutMs?: number;
  /** Jobs that `enqueue` may have under way at once in this process. @defaultValue 10_000 */
  readonly maxPending?: number;
  /** Jobs that may wait in the queue; more are refused: the change feed is the record. @defaultValue 1_000_000 */
  readonly maxJobs?: number;
  /** How long a consumer that died holds its jobs, in ms. @defaultValue 10_000 */
  readonly lockMs?: number;
}

/** The options, checked and complete. */
export interface QueueSettings extends Required<Omit<BullmqQueueOptions, 'connection'>> {
  readonly connection: BullmqQueueOptions['connection'];
}

const KNOWN = [
  'connection',
  'name',
  'prefix',
  'attempts',
  'quickTries',
  'backoffMs',
  'maxBackoffMs',
  'deadLetterLimit',
  'timeoutMs',
  'maxPending',
  'maxJobs',
  'lockMs',
];

/** Throws `InvalidOptionError` naming the option that is wrong. */
export function queueSettings(options: BullmqQueueOptions): QueueSettings {
  checkKnown(options, KNOWN, 'bullmqQueue');
  const { connection } = options;
  if (typeof connection !== 'object' || connection === null) {
    throw new InvalidOptionError(
      'bullmqQueue.connection',
      'must be { url }, options for ioredis, or a client',
    );
  }
  const number = (name: keyof BullmqQueueOptions, fallback: number, min: number, max: number): number =>
    numberOption(options[name] as number | undefined, fallback, `bullmqQueue.${name}`, { min, max });
  const day = 24 * 3_600_000;
  return {
    connection,
    name: text(options.name ?? 'lockstep', 'name'),
    prefix: text(options.prefix ?? 'bull', 'prefix'),
    attempts: number('attempts', 200, 1, 1_000),
    quickTries: number('quickTries', 3, 1, 100),
    backoffMs: number('backoffMs', 250, 1, day),
    maxBackoffMs: number('maxBackoffMs', 2_000, 1, day),
    deadLetterLimit: number('deadLetterLimit', 10_000, 1, 10_000_000),
    timeoutMs: number('timeoutMs', 1_000, 1, day),
    maxPending: number('maxPending', 10_000, 1, 10_000_000),
    maxJobs: number('maxJobs', 1_000_000, 1, 1_000_000_000),
    lockMs: number('lockMs', 10_000, 100, day),
  };
}

function text(value: string, name: string): string {
  if (typeof value === 'string' && value !== '' && !value.includes(':')) return value;
  throw new InvalidOptionError(`bullmqQueue.${name}`, 'must be a string without colons, not empty');
}
