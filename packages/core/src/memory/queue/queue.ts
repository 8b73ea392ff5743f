import type { Clock } from '../../contracts/clock.js';
import type { QueueAdapter, QueueConsumeOptions, QueueConsumer, QueueJob } from '../../contracts/queue.js';
import { ClosedError, JobRefusedError, messageOf, QueueUnavailableError } from '../../errors.js';
import { backoffMs } from '../../kit/backoff.js';
import { DAY_MS, HOUR_MS, type OptionsOf, option, optionValue, withDefaults } from '../../kit/options.js';
import { DeadLetterBox } from './dead-letters.js';
import { type QueuedJob, QueueJobs } from './jobs.js';

export interface MemoryQueueOptions {
  /** Jobs that may wait, retries included; more are refused with `QueueUnavailableError`. @defaultValue 100_000 */
  readonly maxJobs?: number;
  /** Dead letters kept; the oldest go first. @defaultValue 10_000 */
  readonly maxDeadLetters?: number;
  /** How often a job is tried in all. @defaultValue 10 */
  readonly attempts?: number;
  /** The pause before the first retry, in ms; doubled before each further one, with jitter. @defaultValue 100 */
  readonly backoffMs?: number;
  /** The longest pause before a retry, in ms. @defaultValue 30_000 */
  readonly maxBackoffMs?: number;
  /** Injected by tests. @defaultValue the system's */
  readonly clock?: Clock;
  /** For the jitter: 0 <= n < 1. @defaultValue Math.random */
  readonly random?: () => number;
}

const MOST = 2 ** 32;
const CONCURRENCY = option.integer(16, 1, 10_000);

export const MEMORY_QUEUE = {
  maxJobs: option.integer(100_000, 1, MOST),
  maxDeadLetters: option.integer(10_000, 1, MOST),
  attempts: option.integer(10, 1, 1_000),
  backoffMs: option.integer(100, 0, HOUR_MS),
  maxBackoffMs: option.integer(30_000, 0, DAY_MS),
  clock: option.clock(),
  random: option.random(),
} satisfies OptionsOf<MemoryQueueOptions>;

/** One consumer's slots. */
interface Consumer {
  readonly handler: (job: QueueJob) => Promise<void>;
  readonly options: QueueConsumeOptions;
  readonly concurrency: number;
  readonly underWay: Set<Promise<void>>;
}

/**
 * Makes a queue in this process's memory: what waits is lost with the process, as far as the change
 * feed does not hold it. Throws `InvalidOptionError`.
 */
export function memoryQueue(options: MemoryQueueOptions = {}): QueueAdapter {
  const settings = withDefaults(options, MEMORY_QUEUE, 'memoryQueue');
  const { attempts, clock, maxDeadLetters, maxJobs, random } = settings;
  const pauses = { firstMs: settings.backoffMs, lastMs: settings.maxBackoffMs, random };
  const jobs = new QueueJobs();
  const dead = new DeadLetterBox(maxDeadLetters, enqueue);
  const consumers = new Set<Consumer>();
  let closed = false;

  async function enqueue(added: readonly QueueJob[]): Promise<void> {
    if (closed) throw new ClosedError('the memory queue is closed');
    const { delayed, waiting } = jobs.counts;
    if (waiting + delayed + jobs.countNew(added) > maxJobs) {
      throw new QueueUnavailableError(`the memory queue is full: maxJobs = ${maxJobs} jobs wait`);
    }
    for (const job of added) jobs.add({ ...job });
    pump();
  }

  function pump(): void {
    for (const consumer of consumers) {
      while (consumers.has(consumer) && consumer.underWay.size < consumer.concurrency) {
        const item = jobs.take();
        if (item === undefined) break;
        const work = handle(consumer, item);
        consumer.underWay.add(work);
        void work.then(() => {
          consumer.underWay.delete(work);
          pump();
        });
      }
    }
  }

  /** Never rejects. */
  async function handle({ handler, options: { onError } }: Consumer, item: QueuedJob): Promise<void> {
    const { job } = item;
    try {
      await handler(job);
      jobs.finish(item);
    } catch (error) {
      try {
        onError?.(error, job);
      } catch {
        // A listener's own failure must not cost the job its retry.
      }
      const failed = { job, attempts: item.attempts + 1 };
      const refused = error instanceof JobRefusedError;
      if (!refused && failed.attempts < attempts) {
        const pauseMs = backoffMs(failed.attempts, pauses);
        jobs.retry(failed, (ready) =>
          clock.schedule(() => {
            ready();
            pump();
          }, pauseMs),
        );
        return;
      }
      jobs.finish(item);
      const letter = { ...failed, error: messageOf(error), failedAtMs: clock.now() };
      dead.add(refused ? { ...letter, job: error.job } : letter);
    }
  }

  async function closeConsumer(consumer: Consumer): Promise<void> {
    consumers.delete(consumer);
    await Promise.all(consumer.underWay);
  }

  return {
    name: 'memory',
    enqueue,
    async consume(handler, consumeOptions = {}): Promise<QueueConsumer> {
      if (closed) throw new ClosedError('the memory queue is closed');
      const concurrency = optionValue(consumeOptions.concurrency, CONCURRENCY, 'queue.concurrency');
      const consumer = { handler, options: consumeOptions, concurrency, underWay: new Set<Promise<void>>() };
      consumers.add(consumer);
      pump();
      return { close: () => closeConsumer(consumer) };
    },
    deadLetters: dead,
    async status() {
      return { ...jobs.counts, dead: dead.size };
    },
    async close() {
      closed = true;
      await Promise.all([...consumers].map(closeConsumer));
      jobs.clear();
    },
  };
}
