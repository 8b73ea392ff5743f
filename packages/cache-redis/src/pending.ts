import { CacheUnavailableError } from '@lockstep/core';

export interface PendingLimits {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
}

/**
 * What was sent to one server and has not settled. Counted until the client lets go of it, however
 * long ago its caller gave up: that is what memory holds.
 */
export class Pending {
  readonly #limits: PendingLimits;
  #commands = 0;
  #bytes = 0;

  constructor(limits: PendingLimits) {
    this.#limits = limits;
  }

  /** What `send` makes, or a `CacheUnavailableError` without sending when it would be too much. */
  async send<T>(commands: number, bytes: number, send: () => Promise<T>): Promise<T> {
    const { maxPending, maxPendingBytes } = this.#limits;
    // One call alone always passes: a limit that a single batch exceeds must not refuse it for ever.
    if (this.#commands > 0 && this.#commands + commands > maxPending) {
      throw new CacheUnavailableError(`Redis has not answered ${this.#commands} commands (maxPending)`);
    }
    if (this.#bytes > 0 && this.#bytes + bytes > maxPendingBytes) {
      throw new CacheUnavailableError(`Redis has not answered ${this.#bytes} bytes (maxPendingBytes)`);
    }
    this.#commands += commands;
    this.#bytes += bytes;
    try {
      return await send();
    } finally {
      this.#commands -= commands;
      this.#bytes -= bytes;
    }
  }
}
