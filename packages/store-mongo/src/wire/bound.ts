import { StoreTimeoutError, StoreUnavailableError, type StoreWriteOptions } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';
import { toStoreError } from './errors.js';

/** A call's deadline: its `serverMs` is the server's share as `maxTimeMS`. */
export class CallBound extends Deadline {
  readonly what: string;

  /** Nothing may be committed later, by the server's clock, in ms since the epoch; `undefined`: the time-out counts. */
  readonly notAfterMs: number | undefined;

  constructor(what: string, options: Pick<StoreWriteOptions, 'timeoutMs' | 'signal' | 'notAfterMs'>) {
    const { notAfterMs, signal, timeoutMs } = options;
    super({
      timeoutMs,
      signal,
      late: () => new StoreTimeoutError(`${what}: no answer in ${timeoutMs} ms`),
      aborted: (cause) => new StoreUnavailableError(`${what}: aborted`, 'unknown', { cause }),
    });
    this.what = what;
    this.notAfterMs = notAfterMs;
  }

  /** Throws when the call has ended before anything of it was sent. */
  check(): void {
    if (this.signal?.aborted) {
      throw new StoreUnavailableError(`${this.what}: aborted`, 'not-committed', {
        cause: this.signal.reason,
      });
    }
    this.throwIfOver();
  }

  /** The work's result, or a `StoreError`: its own, or the bound's. What was sent may still take effect. */
  async race<T>(work: Promise<T>): Promise<T> {
    try {
      return await this.bound(work);
    } catch (error) {
      throw toStoreError(error, this.what);
    }
  }
}
