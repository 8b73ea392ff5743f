import type { Version } from './version.js';

/** An invalidation that the cache did not take: a full cache key and a version, never a payload. */
export interface InvalidateJob {
  readonly kind: 'invalidate';
  /** The cache key, prefix included. */
  readonly key: string;
  /** `0`: of unknown version. */
  readonly version: Version;
  /** Proves that a Lockstep with the same keys made it (`integrity`); belongs to this very version. */
  readonly mac?: string;
}

/** A buffered write that the store does not have yet; the value is read from its entry. */
export interface FlushJob {
  readonly kind: 'flush';
  readonly collection: string;
  /** The store's key, not the cache's. */
  readonly key: string;
  /** The write that the store refused for good; of a dead letter only. */
  readonly refused?: RefusedWrite;
  /** As an invalidation's. */
  readonly mac?: string;
}

/** A buffered write that the store refused, whole, so that a person can decide what becomes of it. */
export interface RefusedWrite {
  readonly version: Version;
  /** The serialised value; `null`: a deletion. */
  readonly payload: string | null;
  readonly encoding: 'utf8' | 'base64';
}

export type QueueJob = InvalidateJob | FlushJob;

/** Something in a job's place that is no job. It can be discarded; a replay skips it. */
export interface UnreadableJob {
  readonly kind: 'unreadable';
  /** The beginning of what was found. */
  readonly raw: string;
}

/** A job that failed for good. */
export interface DeadLetter {
  readonly id: string;
  readonly job: QueueJob | UnreadableJob;
  readonly error: string;
  readonly attempts: number;
  /** Milliseconds since the epoch. */
  readonly failedAtMs: number;
}

export interface QueueStatus {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
  readonly dead: number;
}

export interface QueueConsumeOptions {
  /** Jobs handled at once by this consumer. Default 16. */
  readonly concurrency?: number;
  /** Told of each attempt that failed. */
  readonly onError?: (error: unknown, job: QueueJob | UnreadableJob) => void;
}

/** A running consumer. */
export interface QueueConsumer {
  /** Finishes what is under way, takes nothing new. */
  close(): Promise<void>;
}

/** Jobs that failed for good, kept for people. */
export interface DeadLetters {
  /** Newest first. */
  list(options?: { readonly offset?: number; readonly limit?: number }): Promise<readonly DeadLetter[]>;
  /** Queues them again, all that can be read without ids. Returns how many. */
  replay(ids?: readonly string[]): Promise<number>;
  /** Forgets them; all of them without ids. Returns how many. */
  discard(ids?: readonly string[]): Promise<number>;
}

/**
 * A durable queue of idempotent jobs, at least once, retried with backoff, dead-lettered at the end.
 *
 * Contract: jobs of one key may be merged while they wait (the highest version stays; a version of `0` counts
 * as the highest; a job's `mac` goes with its version), and a job that arrives while one of its key is active runs
 * after it: none is swallowed. What others wrote to the queue's server in a job's place
 * (`jobProblem`) reaches no handler: it is set aside alone, as a dead letter with an `UnreadableJob`.
 * A handler that rejects with `JobRefusedError` is not called again: the dead letter holds the error's `job`.
 */
export interface QueueAdapter {
  readonly name: string;
  /**
   * Resolves when the queue has taken all jobs. Rejects with `QueueUnavailableError`, within a bound of the adapter's
   * own. How long a write waits for it is the engine's to say (`queueTimeoutMs`): what is taken later is taken.
   */
  enqueue(jobs: readonly QueueJob[]): Promise<void>;
  consume(handler: (job: QueueJob) => Promise<void>, options?: QueueConsumeOptions): Promise<QueueConsumer>;
  readonly deadLetters: DeadLetters;
  status(): Promise<QueueStatus>;
  /** How many of these jobs wait or are active, under their identities. Absent: the queue can't tell. */
  holds?(jobs: readonly QueueJob[]): Promise<number>;
  close(): Promise<void>;
}

/** The identity by which waiting jobs are merged. The length keeps colons in names from joining two jobs. */
export function jobIdentity(job: QueueJob): string {
  if (job.kind === 'invalidate') return `i:${job.key}`;
  const { collection, key, refused } = job;
  const version = refused === undefined ? '' : refused.version;
  return `f${version}:${collection.length}:${collection}:${key}`;
}
