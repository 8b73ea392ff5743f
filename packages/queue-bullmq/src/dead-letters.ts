import { type DeadLetter, type DeadLetters, jobProblem, type QueueJob } from '@lockstep/core';
import type { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { isUnreadable, rawText, readRaw, removeRaw } from './raw-jobs.js';

export interface DeadLetterParts {
  /** Runs one call on BullMQ's queue, within its bound. */
  readonly call: <T>(run: (queue: Queue<QueueJob>) => Promise<T>) => Promise<T>;
  readonly redis: Redis;
  /** How many tries BullMQ's one attempt stands for. */
  readonly quickTries: number;
  readonly enqueue: (jobs: readonly QueueJob[]) => Promise<void>;
}

const PAGE = 100;

/** A failed job of BullMQ's. */
interface Found {
  readonly id: string;
  /** `undefined`: BullMQ can't read it, or it holds no job of ours. */
  readonly job: Job<QueueJob> | undefined;
}

/** BullMQ's failed jobs, as people see them. One that can't be read is one letter, and no more than that. */
export function deadLettersOf({ call, enqueue, quickTries, redis }: DeadLetterParts): DeadLetters {
  async function page(from: number, to: number, oldestFirst: boolean): Promise<Found[]> {
    return await call(async (queue) => {
      const ids = await queue.getRanges(['failed'], from, to, oldestFirst);
      return await Promise.all(ids.map((id) => find(queue, id)));
    });
  }

  async function find(queue: Queue<QueueJob>, id: string): Promise<Found> {
    const job = await queue.getJob(id).catch((error: unknown) => {
      if (!isUnreadable(error)) throw error;
      return undefined;
    });
    const readable = job !== undefined && jobProblem(job.data) === undefined;
    return { id, job: readable ? (job as Job<QueueJob>) : undefined };
  }

  async function letterOf(queue: Queue<QueueJob>, { id, job }: Found): Promise<DeadLetter> {
    if (job === undefined) {
      const { attempts, data, failedAtMs, reason } = await readRaw(redis, queue.toKey(id));
      const error = reason || 'it is no job';
      return { id, job: { kind: 'unreadable', raw: rawText(data) }, error, attempts, failedAtMs };
    }
    return {
      id,
      job: job.data,
      error: job.failedReason ?? '',
      attempts: job.attemptsMade * quickTries,
      failedAtMs: job.finishedOn ?? job.timestamp,
    };
  }

  /**
   * Takes letters away that `first` is done with. Without ids: as many as there are now, the oldest first, so that a
   * replayed job that fails at once is not taken for another letter.
   */
  async function take(
    ids: readonly string[] | undefined,
    first: (found: Found) => Promise<boolean>,
  ): Promise<number> {
    if (ids !== undefined) {
      const found = await call((queue) => Promise.all(ids.map((id) => find(queue, id))));
      return (await takeAll(found, first)).taken;
    }
    const letters = await call((queue) => queue.getFailedCount());
    let count = 0;
    for (let seen = 0, kept = 0; seen < letters; ) {
      const found = await page(kept, kept + Math.min(PAGE, letters - seen) - 1, true);
      if (found.length === 0) break;
      const { left, taken } = await takeAll(found, first);
      seen += found.length;
      kept += left;
      count += taken;
    }
    return count;
  }

  async function takeAll(
    letters: readonly Found[],
    first: (found: Found) => Promise<boolean>,
  ): Promise<{ readonly taken: number; readonly left: number }> {
    let taken = 0;
    let left = 0;
    for (const found of letters) {
      if (!(await call((queue) => isFailed(queue, found.id)))) continue;
      if (await first(found)) {
        await call((queue) => remove(queue, found));
        taken += 1;
      } else left += 1;
    }
    return { taken, left };
  }

  async function isFailed(queue: Queue<QueueJob>, id: string): Promise<boolean> {
    return (await redis.zscore(queue.toKey('failed'), id)) !== null;
  }

  async function remove(queue: Queue<QueueJob>, { id, job }: Found): Promise<void> {
    // BullMQ refuses to remove what others have tampered with (a lock, a parent).
    const removed = await job?.remove().then(
      () => true,
      () => false,
    );
    if (removed !== true) await removeRaw(redis, (name) => queue.toKey(name), id);
  }

  return {
    async list({ limit = 50, offset = 0 } = {}): Promise<DeadLetter[]> {
      const found = await page(offset, offset + limit - 1, false);
      return await call((queue) => Promise.all(found.map((one) => letterOf(queue, one))));
    },
    // Queued before it is removed: a crash between the two repeats an idempotent job.
    replay: (ids) =>
      take(ids, async ({ job }) => {
        if (job === undefined) return false;
        await enqueue([job.data]);
        return true;
      }),
    discard: (ids) => take(ids, async () => true),
  };
}
