import { StoreTimeoutError, systemClock } from '@lockstep/core';
import { sleep } from '@lockstep/core/kit';

const MAX_PATIENCE_MS = 600_000;

/**
 * Tells that a read of the change stream hangs. It can't be called off, and while its server does not end the
 * connection the driver learns of it by its heartbeats alone, most of a minute later: so somebody must stop waiting.
 * A server may need its time, too, to find the next event of a long past: each time, it is given twice as much.
 */
export class ReadWatch {
  readonly #leastMs: number;
  readonly #what: string;
  #patienceMs: number;
  #sinceMs: number | undefined;

  constructor(what: string, leastMs: number) {
    this.#what = what;
    this.#leastMs = leastMs;
    this.#patienceMs = leastMs;
  }

  /** The read's result; nothing else is added to what it costs. */
  async during<T>(read: Promise<T>): Promise<T> {
    const sinceMs = performance.now();
    this.#sinceMs = sinceMs;
    const result = await read;
    // One that was given up on, and came after all, says nothing of the one that took its place.
    if (this.#sinceMs !== sinceMs) return result;
    this.#sinceMs = undefined;
    this.#patienceMs = Math.max(this.#leastMs, 3 * (performance.now() - sinceMs));
    return result;
  }

  /** Rejects with a `StoreTimeoutError` once a read has taken too long; resolves when the signal aborts. */
  async hang(ended: AbortSignal): Promise<void> {
    this.#sinceMs = undefined;
    while (!ended.aborted) {
      await sleep(systemClock, this.#leastMs / 4, ended);
      const waitedMs = this.#sinceMs === undefined ? 0 : performance.now() - this.#sinceMs;
      if (ended.aborted || waitedMs <= this.#patienceMs) continue;
      this.#patienceMs = Math.min(2 * this.#patienceMs, MAX_PATIENCE_MS);
      throw new StoreTimeoutError(`${this.#what}: no answer in ${Math.round(waitedMs)} ms`);
    }
  }
}
