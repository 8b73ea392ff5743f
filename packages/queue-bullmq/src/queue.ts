import {
  ClosedError,
  type DeadLetters,
  type InvalidateJob,
  jobIdentity,
  messageOf,
  type QueueAdapter,
  type QueueConsumeOptions,
  type QueueConsumer,
  type QueueJob,
  type QueueStatus,
  QueueUnavailableError,
} from '@lockstep/core';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { bounded } from './bounded.js';
import { boundedClient, checkDatabase, contacted, ready } from './connection.js';
import { startConsumer } from './consumer.js';
import { deadLettersOf } from './dead-letters.js';
import { type BullmqQueueOptions, type QueueSettings, queueSettings } from './options.js';
import { isHigher, Versions } from './versions.js';

/** A queue on BullMQ. */
export interface BullmqQueue extends QueueAdapter {
  /** True when the server may drop jobs (a `maxmemory-policy` other than `noeviction`); `undefined`: it does not say. */
  evicts(): Promise<boolean | undefined>;
  /**
   * BullMQ's own queue, for tools that look at it: jobs that others add, change or remove are not counted, merged or
   * signed. It is closed with this one. Rejects with `QueueUnavailableError`.
   */
  raw(): Promise<Queue<QueueJob>>;
}

/** How long the count of waiting jobs is trusted. */
const COUNT_MS = 1_000;

/**
 * Makes a queue on BullMQ: jobs survive their producers and consumers, are tried again with growing
 * pauses, and end as dead letters. Connects at once, in the background. Throws `InvalidOptionError`.
 */
export function bullmqQueue(options: BullmqQueueOptions): BullmqQueue {
  return new BullmqAdapter(queueSettings(options));
}

class BullmqAdapter implements BullmqQueue {
  readonly name: string;
  readonly deadLetters: DeadLetters;
  readonly #settings: QueueSettings;
  readonly #redis: Redis;
  readonly #versions: Versions;
  readonly #consumers = new Set<QueueConsumer>();
  #queue: Promise<Queue<QueueJob>> | undefined;
  #pending = 0;
  #counted = { atMs: Number.NEGATIVE_INFINITY, jobs: 0 };
  #closed = false;

  constructor(settings: QueueSettings) {
    const { name, prefix, quickTries, timeoutMs } = settings;
    this.name = `bullmq:${name}`;
    this.#settings = settings;
    this.#redis = boundedClient(settings.connection, timeoutMs);
    this.#versions = new Versions(prefix, name);
    this.deadLetters = deadLettersOf({
      quickTries,
      redis: this.#redis,
      enqueue: (jobs) => this.enqueue(jobs),
      call: (run) => this.#look(run),
    });
  }

  async enqueue(jobs: readonly QueueJob[]): Promise<void> {
    this.#checkOpen();
    const { maxPending } = this.#settings;
    if (jobs.length === 0) return;
    if (this.#pending + jobs.length > maxPending) {
      throw new QueueUnavailableError(
        `${this.name}: more than ${maxPending} jobs wait to be taken (maxPending)`,
      );
    }
    this.#pending += jobs.length;
    try {
      await this.#call((queue) => this.#add(queue, jobs));
    } finally {
      this.#pending -= jobs.length;
    }
  }

  async #add(queue: Queue<QueueJob>, jobs: readonly QueueJob[]): Promise<void> {
    const { attempts, deadLetterLimit } = this.#settings;
    await this.#checkRoom(queue, jobs.length);
    const versions = highestVersions(jobs);
    if (versions.size > 0) await this.#versions.raise(this.#redis, versions);
    const opts = {
      attempts,
      backoff: { type: 'custom' },
      removeOnComplete: true,
      removeOnFail: { count: deadLetterLimit },
      // The last one's message is told as the reason; a trace per attempt would outgrow the job.
      stackTraceLimit: 1,
    };
    const byIdentity = new Map(jobs.map((job) => [jobIdentity(job), job]));
    await queue.addBulk(
      [...byIdentity].map(([id, job]) => ({
        name: job.kind,
        data: versions.get(id) ?? job,
        opts: { ...opts, deduplication: { id, keepLastIfActive: true } },
      })),
    );
  }

  async #checkRoom(queue: Queue<QueueJob>, jobs: number): Promise<void> {
    const { maxJobs } = this.#settings;
    const now = performance.now();
    if (now - this.#counted.atMs > COUNT_MS) {
      const { delayed = 0, wait = 0 } = await queue.getJobCounts('wait', 'delayed');
      this.#counted = { atMs: now, jobs: wait + delayed };
    }
    this.#counted.jobs += jobs;
    if (this.#counted.jobs > maxJobs) {
      throw new QueueUnavailableError(`${this.name}: more than ${maxJobs} jobs wait (maxJobs)`);
    }
  }

  async consume(
    handler: (job: QueueJob) => Promise<void>,
    options: QueueConsumeOptions = {},
  ): Promise<QueueConsumer> {
    this.#checkOpen();
    await this.#checkDatabase();
    const parts = { settings: this.#settings, versions: this.#versions, redis: this.#redis, handler };
    const consumer = startConsumer(parts, options);
    const tracked: QueueConsumer = {
      close: async () => {
        this.#consumers.delete(tracked);
        await consumer.close();
      },
    };
    this.#consumers.add(tracked);
    return tracked;
  }

  /** A server that is away is waited for; one without the database would hand over somebody else's jobs. */
  async #checkDatabase(): Promise<void> {
    await ready(this.#redis, this.#settings.timeoutMs).catch(() => undefined);
    try {
      checkDatabase(this.#redis);
    } catch (error) {
      throw new QueueUnavailableError(`${this.name}: ${messageOf(error)}`, { cause: error });
    }
  }

  async status(): Promise<QueueStatus> {
    this.#checkOpen();
    const counts = await this.#look((queue) => queue.getJobCounts('wait', 'active', 'delayed', 'failed'));
    const { active = 0, delayed = 0, failed = 0, wait = 0 } = counts;
    return { waiting: wait, active, delayed, dead: failed };
  }

  async holds(jobs: readonly QueueJob[]): Promise<number> {
    this.#checkOpen();
    const ids = await this.#look((queue) =>
      Promise.all(jobs.map((job) => queue.getDeduplicationJobId(jobIdentity(job)))),
    );
    return ids.filter((id) => id !== null).length;
  }

  async evicts(): Promise<boolean | undefined> {
    this.#checkOpen();
    const info = await this.#look(() => this.#redis.info('memory'));
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    return policy === undefined ? undefined : policy !== 'noeviction';
  }

  async raw(): Promise<Queue<QueueJob>> {
    this.#checkOpen();
    return await this.#look(async (queue) => queue);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()));
    const { timeoutMs } = this.#settings;
    // Calls that the server does not answer any more are left to it.
    const closing = this.#queue?.then((queue) => queue.close());
    await bounded(this.name, timeoutMs, closing ?? Promise.resolve()).catch(() => undefined);
    this.#redis.disconnect();
  }

  /** A call of those who want to know how the queue is, and can wait for the first contact. */
  async #look<T>(run: (queue: Queue<QueueJob>) => Promise<T>): Promise<T> {
    await contacted(this.#redis, this.#settings.timeoutMs).catch((error: unknown) => {
      throw new QueueUnavailableError(`${this.name}: ${messageOf(error)}`, { cause: error });
    });
    return await this.#call(run);
  }

  /** One call on a connection that is there, within the bound. Rejects with `QueueUnavailableError`. */
  #call<T>(run: (queue: Queue<QueueJob>) => Promise<T>): Promise<T> {
    return bounded(this.name, this.#settings.timeoutMs, this.#open().then(run));
  }

  /** BullMQ's queue, made once the server answers: one that was made without it stays broken. */
  async #open(): Promise<Queue<QueueJob>> {
    const { name, prefix, timeoutMs } = this.#settings;
    await ready(this.#redis, timeoutMs);
    this.#queue ??= this.#make(name, prefix).catch((error: unknown) => {
      this.#queue = undefined;
      throw error;
    });
    return await this.#queue;
  }

  async #make(name: string, prefix: string): Promise<Queue<QueueJob>> {
    const queue = new Queue<QueueJob>(name, { connection: this.#redis, prefix });
    queue.on('error', () => undefined);
    await queue.waitUntilReady();
    return queue;
  }

  #checkOpen(): void {
    if (this.#closed) throw new ClosedError(`${this.name} is closed`);
  }
}

/** The invalidation of the highest version per identity; an unknown one (`0`) counts as the highest. */
function highestVersions(jobs: readonly QueueJob[]): Map<string, InvalidateJob> {
  const highest = new Map<string, InvalidateJob>();
  for (const job of jobs) {
    if (job.kind !== 'invalidate') continue;
    const id = jobIdentity(job);
    const held = highest.get(id);
    if (held === undefined || isHigher(job.version, held.version)) highest.set(id, job);
  }
  return highest;
}
