import type { CacheClient } from '../cache/client.js';
import type { InvalidateCommand } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { CacheOutcome } from '../contracts/outcome.js';
import { jobIdentity, type QueueAdapter, type QueueJob } from '../contracts/queue.js';
import { NO_VERSION } from '../contracts/version.js';
import { messageOf, QueueUnavailableError } from '../errors.js';
import { Batcher } from '../kit/batcher.js';
import { Breaker } from '../kit/breaker.js';
import type { EventHub } from '../runtime/events.js';
import type { Integrity } from '../values/integrity.js';

const MAX_BATCH = 500;
const MAX_WAITING = 50_000;

/**
 * Hands to the queue what the cache did not take, and the keys of buffered writes, in bounded time, many at once,
 * newest per key.
 */
export class Handover {
  readonly #queue: QueueAdapter | undefined;
  readonly #events: EventHub;
  readonly #integrity: Integrity | undefined;
  readonly #batcher: Batcher<QueueJob, true>;

  constructor(
    queue: QueueAdapter | undefined,
    options: {
      readonly timeoutMs: number;
      readonly breaker: { readonly threshold: number; readonly cooldownMs: number };
      readonly clock: Clock;
      readonly events: EventHub;
      readonly integrity: Integrity | undefined;
    },
  ) {
    this.#queue = queue;
    this.#integrity = options.integrity;
    this.#events = options.events;
    const { breaker, clock, timeoutMs } = options;
    this.#batcher = new Batcher({
      waitsForTurn: 'never',
      maxItems: MAX_BATCH,
      maxInFlight: 4,
      clock,
      timeoutMs,
      late: () => new QueueUnavailableError(`the queue did not answer within ${timeoutMs} ms`),
      breaker: new Breaker({ ...breaker, clock }),
      errorOf: (error) =>
        error instanceof Error ? error : new QueueUnavailableError(messageOf(error), { cause: error }),
      call: (jobs) => this.#enqueue(jobs),
      ended: (jobs, [answer], durationMs) => {
        if (answer instanceof Error) this.#events.error.emit({ where: 'queue', error: answer });
        const invalidations = newestPerKey(jobs).filter(({ kind }) => kind === 'invalidate').length;
        const taken = answer === true;
        if (invalidations > 0) this.#events.handover.emit({ jobs: invalidations, taken, durationMs });
      },
    });
  }

  /** True when the queue has the job; false, never a rejection, when it does not. */
  async offer(job: QueueJob): Promise<boolean> {
    if (this.#queue === undefined || this.#batcher.waiting >= MAX_WAITING) return false;
    return await this.#batcher.ask(job).catch(() => false);
  }

  /** Makes an entry unreadable, by whichever way is left. Never rejects. */
  async invalidate(cache: CacheClient, command: InvalidateCommand): Promise<CacheOutcome> {
    const { key, version } = command;
    const reply = await cache.run(command).catch(() => undefined);
    if (reply !== undefined && reply.outcome !== 'foreign') return 'invalidated';
    return (await this.offer({ kind: 'invalidate', key, version })) ? 'queued' : 'deferred';
  }

  async #enqueue(jobs: readonly QueueJob[]): Promise<true[]> {
    const integrity = this.#integrity;
    const newest = newestPerKey(jobs);
    const queue = this.#queue as QueueAdapter;
    await queue.enqueue(integrity === undefined ? newest : newest.map((job) => integrity.signed(job)));
    return jobs.map(() => true);
  }
}

/** The newest job of each key; an unknown version (`0`) counts as the highest. */
function newestPerKey(jobs: readonly QueueJob[]): QueueJob[] {
  const newest = new Map<string, QueueJob>();
  for (const job of jobs) {
    const id = jobIdentity(job);
    const other = newest.get(id);
    if (other === undefined || rank(job) > rank(other)) newest.set(id, job);
  }
  return [...newest.values()];
}

function rank(job: QueueJob): number {
  if (job.kind === 'flush') return 0;
  return job.version === NO_VERSION ? Number.POSITIVE_INFINITY : job.version;
}
