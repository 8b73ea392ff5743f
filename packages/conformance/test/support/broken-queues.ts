import {
  type InvalidateJob,
  JobRefusedError,
  jobIdentity,
  type QueueAdapter,
  type QueueJob,
} from '@lockstep/core';
import { type MemoryQueueOptions, memoryQueue } from '@lockstep/core/memory';
import type { QueueUnderTest } from '../../src/index.js';

export interface BrokenQueue {
  readonly flaw: string;
  readonly noticedBy: readonly string[];
  readonly create: () => QueueUnderTest;
}

export const SOUND: MemoryQueueOptions = { attempts: 3, backoffMs: 5, maxBackoffMs: 20, maxJobs: 200 };

/** What a broken queue may want to know of the jobs that it has. */
interface Seen {
  readonly waiting: Set<string>;
  readonly active: Set<string>;
  readonly failed: Set<string>;
}

/** A sound queue with a part replaced. */
function queue(
  flaw: string,
  noticedBy: readonly string[],
  change: (inner: QueueAdapter, seen: Seen) => Partial<QueueAdapter>,
  options: MemoryQueueOptions = {},
): BrokenQueue {
  return {
    flaw,
    noticedBy,
    create() {
      const inner = memoryQueue({ ...SOUND, ...options });
      const seen: Seen = { waiting: new Set(), active: new Set(), failed: new Set() };
      const watched: QueueAdapter = {
        ...inner,
        async enqueue(jobs) {
          for (const job of jobs) seen.waiting.add(jobIdentity(job));
          await inner.enqueue(jobs);
        },
        consume: (handler, consumeOptions) =>
          inner.consume(async (job) => {
            const name = jobIdentity(job);
            seen.waiting.delete(name);
            seen.active.add(name);
            try {
              await handler(job);
            } catch (error) {
              seen.failed.add(name);
              throw error;
            } finally {
              seen.active.delete(name);
            }
          }, consumeOptions),
      };
      return { queue: { ...watched, ...change(watched, seen) }, attempts: 3, limit: 200 };
    },
  };
}

/** A queue that takes only some of the jobs. */
function dropping(
  flaw: string,
  noticedBy: readonly string[],
  drops: (job: QueueJob, seen: Seen) => boolean,
): BrokenQueue {
  return queue(flaw, noticedBy, (inner, seen) => ({
    enqueue: async (jobs) => {
      for (const job of jobs) if (!drops(job, seen)) await inner.enqueue([job]);
    },
  }));
}

let aliases = 0;

export const BROKEN_QUEUES: readonly BrokenQueue[] = [
  dropping(
    'a job that arrives while one of its key is active is swallowed',
    [
      'merging: a job that arrives while one',
      'merging: of several that arrive',
      'merging: a flush that arrives',
      'dead letters: a job that arrives while one of its key is being refused',
    ],
    (job, { active }) => active.has(jobIdentity(job)),
  ),
  dropping(
    'of jobs that wait the first stays',
    [
      'merging: of jobs of one key that wait',
      'merging: of jobs of one key in one call',
      'merging: an unknown version',
    ],
    (job, { waiting }) => waiting.has(jobIdentity(job)),
  ),
  dropping(
    'an unknown version counts as the lowest',
    ['merging: an unknown version'],
    (job, { waiting }) => job.kind === 'invalidate' && job.version === 0 && waiting.has(jobIdentity(job)),
  ),
  dropping(
    'a job that is being retried keeps newer ones out',
    ['retry: a higher version that arrives', 'dead letters: a new job of a key'],
    (job, { failed }) => failed.has(jobIdentity(job)),
  ),
  (() => {
    const { flaw, noticedBy, create } = dropping(
      'a job that was handled once is never taken again',
      ['at least once: a job that was handled'],
      () => false,
    );
    return {
      flaw,
      noticedBy,
      create() {
        const made = create();
        const known = new Set<string>();
        const enqueue = async (jobs: readonly QueueJob[]): Promise<void> => {
          const fresh = jobs.filter((job) => !known.has(JSON.stringify(job)));
          for (const job of fresh) known.add(JSON.stringify(job));
          await made.queue.enqueue(fresh);
        };
        return { ...made, queue: { ...made.queue, enqueue } };
      },
    };
  })(),
  queue('collections are not told apart', ['identity:'], (inner) => ({
    enqueue: (jobs) => inner.enqueue(jobs.map((job) => ({ ...job, collection: 'a' }))),
  })),
  queue('jobs of one key run side by side', ['merging: a job that arrives while one'], (inner) => ({
    enqueue: (jobs) =>
      inner.enqueue(
        jobs.map((job) => {
          aliases += 1;
          return { ...job, key: `${job.key}#${aliases}` };
        }),
      ),
    consume: (handler, options) =>
      inner.consume((job) => handler({ ...job, key: job.key.replace(/#\d+$/, '') }), options),
  })),
  queue(
    'a job that fails is given up at once',
    ['retry: a job that fails', 'dead letters: a job that failed for good'],
    () => ({}),
    { attempts: 1 },
  ),
  queue(
    'a job that fails is forgotten',
    ['retry: a job that fails', 'dead letters: a job that failed'],
    (inner) => ({
      consume: (handler, options) => inner.consume((job) => handler(job).catch(() => {}), options),
    }),
  ),
  queue(
    'a job that its handler refuses is tried again',
    ['dead letters: a job whose handler refuses it'],
    (inner) => ({
      consume: (handler, options) =>
        inner.consume(
          (job) =>
            handler(job).catch((error: unknown) => {
              throw new Error(String(error));
            }),
          options,
        ),
    }),
  ),
  queue(
    'a refused job is kept as it was queued',
    ['dead letters: a job whose handler refuses it'],
    (inner) => ({
      consume: (handler, options) =>
        inner.consume(
          (job) =>
            handler(job).catch((error: unknown) => {
              throw error instanceof JobRefusedError ? new JobRefusedError(error.message, job) : error;
            }),
          options,
        ),
    }),
  ),
  queue(
    'a refused job takes the newer one of its key along',
    ['dead letters: a job that arrives while one of its key is being refused'],
    (inner) => {
      const doomed = new Set<string>();
      return {
        consume: (handler, options) =>
          inner.consume(async (job) => {
            const name = jobIdentity(job);
            if (doomed.delete(name)) return;
            try {
              await handler(job);
            } catch (error) {
              if (error instanceof JobRefusedError) doomed.add(name);
              throw error;
            }
          }, options),
      };
    },
  ),
  queue(
    'a replayed job has lost what was refused',
    ['dead letters: a refused job that is replayed', 'dead letters: a job whose handler refuses it'],
    (inner) => ({
      deadLetters: {
        ...inner.deadLetters,
        async replay(ids) {
          const letters = await inner.deadLetters.list();
          const picked = letters.filter(({ id }) => ids?.includes(id) ?? true);
          await inner.deadLetters.discard(ids);
          await inner.enqueue(
            picked.flatMap(({ job }) => {
              if (job.kind === 'unreadable') return [];
              return job.kind === 'flush' ? { kind: 'flush', collection: job.collection, key: job.key } : job;
            }),
          );
          return picked.length;
        },
      },
    }),
  ),
  queue('failures are not told', ['retry: a job that fails'], (inner) => ({
    consume: (handler, { concurrency = 16 } = {}) => inner.consume(handler, { concurrency }),
  })),
  queue('a version is lost on the way', ['at least once: every job', 'retry: a job that fails'], (inner) => ({
    consume: (handler, options) =>
      inner.consume((job) => handler({ ...job, version: 0 } as InvalidateJob), options),
  })),
  queue('dead letters are oldest first', ['dead letters: newest first'], ({ deadLetters }) => ({
    deadLetters: {
      ...deadLetters,
      list: async (options) => [...(await deadLetters.list(options))].reverse(),
    },
  })),
  queue('a replay only forgets', ['dead letters: replayed ones run again'], ({ deadLetters }) => ({
    deadLetters: { ...deadLetters, replay: (ids) => deadLetters.discard(ids) },
  })),
  queue('discarding does nothing', ['dead letters: discarded ones'], ({ deadLetters }) => ({
    deadLetters: { ...deadLetters, discard: async (ids) => (ids ?? (await deadLetters.list())).length },
  })),
  queue('a consumer’s close does not wait', ['close: a consumer finishes'], (inner) => ({
    async consume(handler, options) {
      const consumer = await inner.consume(handler, options);
      return {
        close: async () => {
          void consumer.close();
        },
      };
    },
  })),
  queue('a closed consumer goes on', ['close: a consumer finishes'], (inner) => ({
    async consume(handler, options) {
      await inner.consume(handler, options);
      return { close: async () => {} };
    },
  })),
  queue('concurrency is not bounded', ['concurrency:', 'close: a consumer finishes'], (inner) => ({
    consume: (handler, options) => inner.consume(handler, { ...options, concurrency: 100 }),
  })),
  queue('concurrency is one', ['concurrency:'], (inner) => ({
    consume: (handler, options) => inner.consume(handler, { ...options, concurrency: 1 }),
  })),
  queue('it takes jobs without a bound', ['bounded:'], () => ({}), { maxJobs: 1_000 }),
  queue('jobs without a consumer are dropped', ['at least once: jobs wait'], (inner) => {
    let consumers = 0;
    return {
      enqueue: async (jobs) => void (consumers > 0 && (await inner.enqueue(jobs))),
      async consume(handler, options) {
        consumers += 1;
        return await inner.consume(handler, options);
      },
    };
  }),
  queue('status counts nothing', ['status:'], () => ({
    status: async () => ({ waiting: 0, active: 0, delayed: 0, dead: 0 }),
  })),
  queue('close does nothing', ['close: may be called twice'], () => ({ close: async () => {} })),
];
