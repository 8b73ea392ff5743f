import { jobIdentity, type QueueJob } from '../../contracts/queue.js';
import { NO_VERSION } from '../../contracts/version.js';

/** A job that waits, with the attempts that failed so far. */
export interface QueuedJob {
  readonly job: QueueJob;
  readonly attempts: number;
}

/** The job that replaces two of the same key: that of the highest version, `0` being the highest. */
export function mergeJobs(a: QueueJob, b: QueueJob): QueueJob {
  if (a.kind !== 'invalidate' || b.kind !== 'invalidate') return b;
  if (a.version === NO_VERSION) return a;
  return b.version === NO_VERSION || b.version > a.version ? b : a;
}

/** Waiting, delayed and active jobs, at most one of each kind per identity, and never two active. */
export class QueueJobs {
  readonly #waiting = new Map<string, QueuedJob>();
  readonly #delayed = new Map<string, { item: QueuedJob; cancel: () => void }>();
  readonly #active = new Set<string>();

  get counts(): { readonly waiting: number; readonly active: number; readonly delayed: number } {
    return { waiting: this.#waiting.size, active: this.#active.size, delayed: this.#delayed.size };
  }

  /** How many of these jobs could not be merged with one that waits. */
  countNew(jobs: readonly QueueJob[]): number {
    const names = new Set(jobs.map(jobIdentity));
    return [...names].filter((name) => !this.#waiting.has(name) && !this.#delayed.has(name)).length;
  }

  /** Adds a job. What joins a retry gets all attempts anew, and waits with it. */
  add(job: QueueJob): void {
    const name = jobIdentity(job);
    const delayed = this.#delayed.get(name);
    const known = delayed?.item ?? this.#waiting.get(name);
    const item = { job: known === undefined ? job : mergeJobs(known.job, job), attempts: 0 };
    if (delayed === undefined) this.#waiting.set(name, item);
    else delayed.item = item;
  }

  /** The next job whose identity is not active; active from now on. */
  take(): QueuedJob | undefined {
    for (const [name, item] of this.#waiting) {
      if (this.#active.has(name)) continue;
      this.#waiting.delete(name);
      this.#active.add(name);
      return item;
    }
    return undefined;
  }

  finish(item: QueuedJob): void {
    this.#active.delete(jobIdentity(item.job));
  }

  /** Ends the active job, to come back after `delay` calls back; one that arrived meanwhile takes it in. */
  retry(item: QueuedJob, delay: (callback: () => void) => () => void): void {
    this.finish(item);
    const name = jobIdentity(item.job);
    const waiting = this.#waiting.get(name);
    if (waiting !== undefined) {
      this.#waiting.set(name, { job: mergeJobs(item.job, waiting.job), attempts: waiting.attempts });
      return;
    }
    const cancel = delay(() => {
      const entry = this.#delayed.get(name);
      if (entry === undefined) return;
      this.#delayed.delete(name);
      this.#waiting.set(name, entry.item);
    });
    this.#delayed.set(name, { item, cancel });
  }

  /** Forgets everything that is not active. */
  clear(): void {
    for (const { cancel } of this.#delayed.values()) cancel();
    this.#delayed.clear();
    this.#waiting.clear();
  }
}
