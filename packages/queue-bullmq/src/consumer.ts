import {
  type InvalidateJob,
  isBelievable,
  JobRefusedError,
  jobIdentity,
  jobProblem,
  NO_VERSION,
  type QueueConsumeOptions,
  type QueueConsumer,
  type QueueJob,
  systemClock,
} from '@lockstep/core';
import { backoffMs, Deadline, sleep } from '@lockstep/core/kit';
import { Job, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import pRetry, { AbortError } from 'p-retry';
import { waitingClient } from './connection.js';
import type { QueueSettings } from './options.js';
import { isUnreadable, rawText, readRaw, setAside } from './raw-jobs.js';
import { type Asked, isHigher, type Versions } from './versions.js';

/** The longest time that `close` waits for jobs under way, in ms. */
const CLOSE_MS = 15_000;
/** The longest time that it waits for a server that has nothing under way, in ms. */
const QUIET_MS = 1_000;
const QUICK_TRY_MS = 20;
/** Beyond the longest time that BullMQ waits for a job in one call, with the default lock. */
const SILENCE_BEYOND_LOCK_MS = 2_000;
/** The length of the error's message in a dead letter. */
const MAX_MESSAGE = 1_000;
/** Jobs under way that are looked at when one of them can't be read. */
const MAX_ACTIVE = 1_000;

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
  const running = new Set<Promise<void>>();
  let over = false;
  const connection = waitingClient(settings.connection, {
    silentMs: settings.lockMs + SILENCE_BEYOND_LOCK_MS,
    over: () => over,
  });

  async function attempt(job: Job<QueueJob>): Promise<void> {
    const current = await newest(job);
    try {
      await handler(current);
    } catch (error) {
      onError?.(error, current);
      if (error instanceof JobRefusedError) throw new AbortError(error);
      const message = error instanceof Error ? error.message : String(error);
      // p-retry takes some classes of errors for mistakes of the program, and does not try again.
      throw new Error(message.slice(0, MAX_MESSAGE), { cause: error });
    }
  }

  /** The job at the highest version asked for; stored with it before that is forgotten, so that a crash loses nothing. */
  async function newest(job: Job<QueueJob>): Promise<QueueJob> {
    const { data } = job;
    if (data.kind !== 'invalidate') return data;
    const identity = jobIdentity(data);
    const noted = await versions.read(redis, identity);
    if (noted === undefined) return data;
    // A job that waits for its next try may hold the higher version already.
    if (isHigher(noted.version, data.version)) await job.updateData(raised(data, noted));
    await versions.forget(redis, identity, noted);
    return job.data;
  }

  async function run(job: Job<QueueJob>): Promise<void> {
    const problem = jobProblem(job.data);
    if (problem !== undefined) {
      const error = new UnrecoverableError(`it is no job: ${problem}`);
      onError?.(error, { kind: 'unreadable', raw: rawText(JSON.stringify(job.data)) });
      throw error;
    }
    const tries = pRetry(() => attempt(job), {
      retries: settings.quickTries - 1,
      minTimeout: QUICK_TRY_MS,
      randomize: true,
    });
    running.add(tries);
    try {
      await tries;
    } catch (error) {
      if (!(error instanceof JobRefusedError)) throw error;
      await job.updateData(error.job);
      throw new UnrecoverableError(error.message.slice(0, MAX_MESSAGE));
    } finally {
      running.delete(tries);
    }
  }

  const pauses = { firstMs: settings.backoffMs, lastMs: settings.maxBackoffMs };
  const worker = new Worker<QueueJob>(settings.name, run, {
    connection,
    prefix: settings.prefix,
    concurrency,
    lockDuration: settings.lockMs,
    stalledInterval: settings.lockMs,
    // A consumer's death is not the job's fault.
    maxStalledCount: 1_000,
    drainDelay: 1,
    runRetryDelay: 500,
    settings: { backoffStrategy: (attemptsMade) => Math.round(backoffMs(attemptsMade, pauses)) },
  });
  const toKey = (name: string): string => worker.toKey(name);
  /** BullMQ has taken a job that it can't read, and does not say which. */
  async function setUnreadableAside(error: Error): Promise<void> {
    for (const id of await redis.lrange(toKey('active'), 0, MAX_ACTIVE - 1)) {
      const unreadable = await Job.fromId(worker, id).then(() => false, isUnreadable);
      if (!unreadable) continue;
      const { data } = await readRaw(redis, toKey(id));
      await setAside(redis, toKey, id);
      onError?.(error, { kind: 'unreadable', raw: rawText(data) });
    }
  }
  // BullMQ goes on by itself; without a listener the event would end the process.
  worker.on('error', (error) => {
    // A job that could not be set aside comes back when its lock has run out, and is set aside then.
    if (isUnreadable(error)) setUnreadableAside(error).catch(() => undefined);
  });

  return {
    async close() {
      // BullMQ's own close waits for ever for a connection that is between two tries.
      const away = connection.status !== 'ready';
      if (away) {
        await worker.pause(true);
        await within(CLOSE_MS, quiet(running));
      }
      const closed = worker.close(away).catch(() => undefined);
      await within(CLOSE_MS, Promise.race([closed, quiet(running)]));
      // A server that goes away now would keep it waiting; a job whose end it did not hear of runs again.
      over = true;
      connection.disconnect();
      await within(QUIET_MS, closed);
    },
  };
}

/** The job at a version that others asked for since. */
function raised(job: InvalidateJob, { mac, version }: Asked): InvalidateJob {
  // One that no store can have given is somebody else's; that it was asked for stands, whatever the version.
  const { mac: _own, ...rest } = job;
  if (!isBelievable(version, Date.now())) return { ...rest, version: NO_VERSION };
  return mac === undefined ? { ...rest, version } : { ...rest, version, mac };
}

/** Resolves once no job is under way, and none has begun for a while. */
async function quiet(running: ReadonlySet<Promise<void>>): Promise<void> {
  do {
    await Promise.allSettled(running);
    await sleep(systemClock, QUIET_MS);
  } while (running.size > 0);
}

/** Waits for the promise, for no longer than `ms`. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  const late = (): Error => new Error(`not over after ${ms} ms`);
  await new Deadline({ timeoutMs: ms, late, keepsAlive: true }).bound(promise).catch(() => undefined);
}
