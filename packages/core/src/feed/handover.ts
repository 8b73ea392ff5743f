import type { Clock } from '../contracts/clock.js';
import { jobIdentity, type QueueAdapter, type QueueJob } from '../contracts/queue.js';
import { NO_VERSION } from '../contracts/version.js';
import { QueueUnavailableError } from '../errors.js';
import { Batcher, nextTick } from '../kit/batcher.js';
import { Breaker } from '../kit/breaker.js';
import { withTimeout } from '../kit/wait.js';
import type { EventHub } from '../runtime/events.js';
import type { Integrity } from '../values/integrity.js';

interface PendingJob {
  readonly job: QueueJob;
  resolve(taken: boolean): void;
}

const MAX_BATCH = 500;
const MAX_WAITING = 50_000;

/**
 * Hands to the queue what the cache did not take, and the keys of buffered writes, in bounded time, many at once,
 * newest per key.
 */
export class Handover {
  readonly #queue: QueueAdapter | undefined;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #events: EventHub;
  readonly #integrity: Integrity | undefined;
  readonly #breaker: Breaker;
  readonly #batcher: Batcher<PendingJob>;

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
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
    this.#events = options.events;
    this.#breaker = new Breaker(options.breaker);
    this.#batcher = new Batcher({
      tick: nextTick,
      maxItems: MAX_BATCH,
      maxInFlight: 4,
      run: (items) => this.#run(items),
    });
  }

  /** True when the queue has the job; false, never a rejection, when it does not. */
  async offer(job: QueueJob): Promise<boolean> {
    if (this.#queue === undefined || this.#batcher.waiting >= MAX_WAITING) return false;
    return await new Promise<boolean>((resolve) => this.#batcher.add({ job, resolve }));
  }

  async #run(items: PendingJob[]): Promise<void> {
    const newest = newestPerKey(items.map((item) => item.job));
    const integrity = this.#integrity;
    const jobs = integrity === undefined ? newest : newest.map((job) => integrity.signed(job));
    const startedAt = this.#clock.monotonic();
    let taken = true;
    try {
      await this.#breaker.execute(() => this.#enqueue(jobs));
    } catch (error) {
      taken = false;
      this.#events.error.emit({ where: 'queue', error });
    }
    const durationMs = this.#clock.monotonic() - startedAt;
    const invalidations = jobs.reduce((count, { kind }) => (kind === 'invalidate' ? count + 1 : count), 0);
    if (invalidations > 0) this.#events.handover.emit({ jobs: invalidations, taken, durationMs });
    for (const item of items) item.resolve(taken);
  }

  async #enqueue(jobs: readonly QueueJob[]): Promise<void> {
    const queue = this.#queue as QueueAdapter;
    await withTimeout(
      this.#clock,
      queue.enqueue(jobs),
      this.#timeoutMs,
      () => new QueueUnavailableError(`the queue did not answer within ${this.#timeoutMs} ms`),
    );
  }
}

/** One job per key, at its highest version; an unknown version (`0`) is the highest. */
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
