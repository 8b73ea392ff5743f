import { type OptionsOf, option, type Settings, withDefaults } from '@lockstep/core/kit';
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
  /**
   * The bound of `enqueue` and of the other calls, in ms. Those that only look wait up to 2.5 s for the first contact.
   * @defaultValue 1_000
   */
  readonly timeoutMs?: number;
  /** Jobs that `enqueue` may have under way at once in this process. @defaultValue 10_000 */
  readonly maxPending?: number;
  /** Jobs that may wait in the queue; more are refused: the change feed is the record. @defaultValue 1_000_000 */
  readonly maxJobs?: number;
  /** How long a consumer that died holds its jobs, in ms. @defaultValue 10_000 */
  readonly lockMs?: number;
}

const DAY_MS = 24 * 3_600_000;

const text = (fallback: string) =>
  option.is<string, string>(
    'a string without colons, not empty',
    (value) => typeof value === 'string' && value !== '' && !value.includes(':'),
    fallback,
  );

export const BULLMQ_QUEUE = {
  connection: option.required(
    option.is<BullmqQueueOptions['connection']>(
      '{ url }, options for ioredis, or a client',
      (value) => typeof value === 'object' && value !== null,
    ),
  ),
  name: text('lockstep'),
  prefix: text('bull'),
  attempts: option.integer(200, 1, 1_000),
  quickTries: option.integer(3, 1, 100),
  backoffMs: option.integer(250, 1, DAY_MS),
  maxBackoffMs: option.integer(2_000, 1, DAY_MS),
  deadLetterLimit: option.integer(10_000, 1, 10_000_000),
  timeoutMs: option.integer(1_000, 1, DAY_MS),
  maxPending: option.integer(10_000, 1, 10_000_000),
  maxJobs: option.integer(1_000_000, 1, 1_000_000_000),
  lockMs: option.integer(10_000, 100, DAY_MS),
} satisfies OptionsOf<BullmqQueueOptions>;

/** The options, checked and complete. */
export type QueueSettings = Settings<typeof BULLMQ_QUEUE>;

/** Throws `InvalidOptionError` naming the option that is wrong. */
export function queueSettings(options: BullmqQueueOptions): QueueSettings {
  return withDefaults(options, BULLMQ_QUEUE, 'bullmqQueue');
}
