import type { DeadLetter, DeadLetters, QueueJob } from '@lockstep/core';
import type { Job, Queue } from 'bullmq';

export interface DeadLetterParts {
  /** Runs one call on BullMQ's queue, within its bound. */
  readonly call: <T>(run: (queue: Queue<QueueJob>) => Promise<T>) => Promise<T>;
  /** How many tries BullMQ's one attempt stands for. */
  readonly quickTries: number;
  readonly enqueue: (jobs: readonly QueueJob[]) => Promise<void>;
}

const PAGE = 100;

/** BullMQ's failed jobs, as people see them. */
export function deadLettersOf({ call, enqueue, quickTries }: DeadLetterParts): DeadLetters {
  async function page(from: number, to: number, oldestFirst: boolean): Promise<Job<QueueJob>[]> {
    const jobs = await call((queue) => queue.getJobs(['failed'], from, to, oldestFirst));
    // A job that went while the page was read leaves a gap.
    return jobs.filter((job) => job !== undefined) as Job<QueueJob>[];
  }

  /**
   * Takes letters away, after `first` was done with each. Without ids: as many as there are now, the oldest
   * first, so that a replayed job that fails at once is not taken for another letter.
   */
  async function take(
    ids: readonly string[] | undefined,
    first: (job: Job<QueueJob>) => Promise<void>,
  ): Promise<number> {
    if (ids !== undefined) {
      const found = await call((queue) => Promise.all(ids.map((id) => queue.getJob(id))));
      return await takeAll(found.filter((job) => job !== undefined) as Job<QueueJob>[], first);
    }
    const letters = await call((queue) => queue.getFailedCount());
    let count = 0;
    while (count < letters) {
      const taken = await takeAll(await page(0, Math.min(PAGE, letters - count) - 1, true), first);
      if (taken === 0) break;
      count += taken;
    }
    return count;
  }

  async function takeAll(
    jobs: readonly Job<QueueJob>[],
    first: (job: Job<QueueJob>) => Promise<void>,
  ): Promise<number> {
    let count = 0;
    for (const job of jobs) {
      if (!(await call(() => job.isFailed()))) continue;
      await first(job);
      await call(() => job.remove());
      count += 1;
    }
    return count;
  }

  return {
    async list({ limit = 50, offset = 0 } = {}): Promise<DeadLetter[]> {
      const jobs = await page(offset, offset + limit - 1, false);
      return jobs.map((job) => ({
        id: String(job.id),
        job: job.data,
        error: job.failedReason ?? '',
        attempts: job.attemptsMade * quickTries,
        failedAtMs: job.finishedOn ?? job.timestamp,
      }));
    },
    // Queued before it is removed: a crash between the two repeats an idempotent job.
    replay: (ids) => take(ids, (job) => enqueue([job.data])),
    discard: (ids) => take(ids, async () => undefined),
  };
}
