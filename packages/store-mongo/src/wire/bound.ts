import { StoreTimeoutError, StoreUnavailableError, type StoreWriteOptions } from '@lockstep/core';
import { toStoreError } from './errors.js';

/** What is left of a call's time: the server's share as `maxTimeMS`, the caller's as a race. */
export class CallBound {
  readonly what: string;
  readonly timeoutMs: number;
  readonly #startedMs = performance.now();
  readonly #signal: AbortSignal | undefined;

  /** Nothing may be committed later, by the server's clock, in ms since the epoch; `undefined`: the time-out counts. */
  readonly notAfterMs: number | undefined;

  constructor(what: string, options: Pick<StoreWriteOptions, 'timeoutMs' | 'signal' | 'notAfterMs'>) {
    this.what = what;
    this.notAfterMs = options.notAfterMs;
    this.timeoutMs = options.timeoutMs;
    this.#signal = options.signal;
  }

  /**
   * Milliseconds that are left, less a little: what the server has not ended by itself when the caller is told
   * so may still commit. At least one: a `maxTimeMS` of 0 would mean "for ever".
   */
  get maxTimeMS(): number {
    const leftMs = this.remainingMs;
    return Math.max(1, Math.floor(leftMs - Math.min(50, leftMs / 10)));
  }

  get remainingMs(): number {
    return this.timeoutMs - (performance.now() - this.#startedMs);
  }

  /** Throws when the call has ended. */
  check(): void {
    if (this.#signal?.aborted) throw this.#aborted('not-committed');
    if (this.remainingMs <= 0) throw this.timeout();
  }

  timeout(): StoreTimeoutError {
    return new StoreTimeoutError(`${this.what}: no answer in ${this.timeoutMs} ms`);
  }

  #aborted(outcome: 'not-committed' | 'unknown'): StoreUnavailableError {
    return new StoreUnavailableError(`${this.what}: aborted`, outcome, { cause: this.#signal?.reason });
  }

  /** The work's result, or a `StoreError`: its own, or the bound's. What was sent may still take effect. */
  async race<T>(work: Promise<T>): Promise<T> {
    try {
      return await this.during(work);
    } catch (error) {
      throw toStoreError(error, this.what);
    }
  }

  /** As `race`, with the work's own errors as they are. */
  async during<T>(work: Promise<T>): Promise<T> {
    const signal = this.#signal;
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(this.#aborted('unknown'));
    const timer = setTimeout(() => reject(this.timeout()), Math.max(1, this.remainingMs));
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([work, ended]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
