import { CacheUnavailableError, systemClock } from '@lockstep/core';
import { Timeouts } from '@lockstep/core/kit';
import { asError, unanswered } from './bounded.js';
import { refusalOf } from './refusal.js';

export interface PendingLimits {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly commandTimeoutMs: number;
}

/**
 * Calls that were sent to one server and not answered. Each counts until the client lets go of it, however
 * long ago its caller gave up: that is what memory holds.
 */
export class Pending {
  readonly #limits: PendingLimits;
  #commands = 0;
  #bytes = 0;
  readonly #timeouts: Timeouts;

  constructor(limits: PendingLimits) {
    this.#limits = limits;
    this.#timeouts = new Timeouts(systemClock, limits.commandTimeoutMs);
  }

  /**
   * Sends, and answers as `send` does, which must not throw; or with a `CacheUnavailableError`: without sending when it
   * would be too much, and after `commandTimeoutMs`, while what was sent goes on unheard.
   */
  send<T>(commands: number, bytes: number, send: () => Promise<T>): Promise<T> {
    const refusal = this.#refusal(commands, bytes);
    if (refusal !== undefined) return Promise.reject(new CacheUnavailableError(refusal));
    this.#commands += commands;
    this.#bytes += bytes;
    return new Promise<T>((resolve, reject) => {
      const sent = send();
      const timeout = this.#timeouts.begin(() => reject(unanswered(this.#limits.commandTimeoutMs)));
      const released = (): void => {
        this.#timeouts.end(timeout);
        this.#commands -= commands;
        this.#bytes -= bytes;
      };
      sent.then(
        (value) => {
          resolve(value);
          released();
        },
        (error: unknown) => {
          reject(refusalOf(asError(error)));
          released();
        },
      );
    });
  }

  /** One call alone always passes: a limit that a single batch exceeds must not refuse it for ever. */
  #refusal(commands: number, bytes: number): string | undefined {
    const { maxPending, maxPendingBytes } = this.#limits;
    if (this.#commands > 0 && this.#commands + commands > maxPending) {
      return `Redis has not answered ${this.#commands} commands (maxPending)`;
    }
    if (this.#bytes > 0 && this.#bytes + bytes > maxPendingBytes) {
      return `Redis has not answered ${this.#bytes} bytes (maxPendingBytes)`;
    }
    return undefined;
  }
}
