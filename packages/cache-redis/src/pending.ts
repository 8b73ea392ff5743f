import { CacheUnavailableError, type CancelTimer, systemClock } from '@lockstep/core';
import { asError, unanswered } from './bounded.js';
import { refusalOf } from './refusal.js';

export interface PendingLimits {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly commandTimeoutMs: number;
}

/** A caller, and when it gives up. */
interface Waiting {
  readonly untilMs: number;
  /** `undefined` once it has its answer. */
  reject: ((error: Error) => void) | undefined;
}

/**
 * Calls that were sent to one server and not answered. Each counts until the client lets go of it, however
 * long ago its caller gave up: that is what memory holds.
 *
 * One timer serves all callers, and runs on when they have their answers: a timer for each would be
 * a good part of what a call costs.
 */
export class Pending {
  readonly #limits: PendingLimits;
  #commands = 0;
  #bytes = 0;
  /** In the order in which they give up, all waiting for the same time. The first one has no answer yet. */
  readonly #waiting: Waiting[] = [];
  #timer: CancelTimer | undefined;

  constructor(limits: PendingLimits) {
    this.#limits = limits;
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
      const waiting: Waiting = { untilMs: systemClock.monotonic() + this.#limits.commandTimeoutMs, reject };
      this.#waiting.push(waiting);
      if (this.#timer === undefined) this.#wait(this.#limits.commandTimeoutMs);
      const released = (): void => {
        waiting.reject = undefined;
        this.#dropAnswered();
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

  #dropAnswered(): void {
    while (this.#waiting.length > 0 && this.#waiting[0]?.reject === undefined) this.#waiting.shift();
  }

  #wait(ms: number): void {
    this.#timer = systemClock.schedule(() => this.#giveUp(), Math.ceil(ms));
  }

  #giveUp(): void {
    this.#timer = undefined;
    const nowMs = systemClock.monotonic();
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (first.untilMs > nowMs) {
        this.#wait(first.untilMs - nowMs);
        return;
      }
      first.reject?.(unanswered(this.#limits.commandTimeoutMs));
      first.reject = undefined;
      this.#dropAnswered();
    }
  }
}
