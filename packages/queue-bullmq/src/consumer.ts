import { jobIdentity, type QueueConsumeOptions, type QueueConsumer, type QueueJob } from '@lockstep/core';
import { type Job, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import pRetry from 'p-retry';
import { waitingClient } from './connection.js';
import type { QueueSettings } from './options.js';
import type { Versions } from './versions.js';

/** What `close` waits for jobs under way. */
const CLOSE_MS = 15_000;
const QUICK_TRY_MS = 20;

export interface ConsumerParts {
  readonly settings: QueueSettings;
  readonly versions: Versions;
  /** For the versions. */
  readonly redis: Redis;
  readonly handler: (job: QueueJob) => Promise<void>;
}

/**
 * Runs jobs with BullMQ's Worker: a few quick tries each time, a growing pause between the times. The
 * version is read when a try begins, so that it is the newest that was asked for.
 */
export function startConsumer(parts: ConsumerParts, options: QueueConsumeOptions): QueueConsumer {
  const { handler, redis, settings, versions } = parts;
  const { concurrency = 16, onError } = options;
  const connection = waitingClient(settings.connection);

  async function attempt(job: Job<QueueJob>): Promise<void> {
    const current = await newest(job);
    try {
      await handler(current);
    } catch (error) {
      onError?.(error, current);
      // p-retry takes some classes of errors for mistakes of the program, and does not try again.
      throw new Error(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /** The job at the highest version asked for; stored with it before that is forgotten, so that a crash loses nothing. */
  async function newest(job: Job<QueueJob>): Promise<QueueJob> {
    if (job.data.kind !== 'invalidate') return job.data;
    const identity = jobIdentity(job.data);
    const version = await versions.read(redis, identity);
    if (version === undefined) return job.data;
    if (version !== job.data.version) await job.updateData({ ...job.data, version });
    await versions.settle(redis, identity, version);
    return job.data;
  }

  const worker = new Worker<QueueJob>(
    settings.name,
    (job) =>
      pRetry(() => attempt(job), {
        retries: settings.quickTries - 1,
        minTimeout: QUICK_TRY_MS,
        randomize: true,
      }),
    {
      connection,
      prefix: settings.prefix,
      concurrency,
      lockDuration: settings.lockMs,
      stalledInterval: settings.lockMs,
      // A consumer's death is not the job's fault.
      maxStalledCount: 1_000,
      drainDelay: 1,
      runRetryDelay: 500,
      settings: { backoffStrategy: (attemptsMade) => pauseMs(attemptsMade, settings) },
    },
  );
  // BullMQ goes on by itself; without a listener the event would end the process.
  worker.on('error', () => undefined);

  return {
    async close() {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, CLOSE_MS);
      await Promise.race([worker.close(), late]);
      clearTimeout(timer);
      connection.disconnect();
    },
  };
}

/** Doubles up to a cap, with jitter: what failed together is not tried again together. */
function pauseMs(attemptsMade: number, { backoffMs, maxBackoffMs }: QueueSettings): number {
  const full = Math.min(backoffMs * 2 ** (attemptsMade - 1), maxBackoffMs);
  return Math.round(full * (0.5 + Math.random() / 2));
}
