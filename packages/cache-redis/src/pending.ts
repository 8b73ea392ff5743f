import { CacheUnavailableError } from '@lockstep/core';
import { unanswered } from './bounded.js';

export interface PendingLimits {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly commandTimeoutMs: number;
}

/** A caller, and when it gives up. */
interface Waiting {
  readonly untilMs: number;
  readonly reject: (error: Error) => void;
}

/**
 * What was sent to one server and has not settled. Counted until the client lets go of it, however
 * long ago its caller gave up: that is what memory holds.
 *
 * One timer serves all callers, and runs on when they have their answers: a timer for each would be
 * a good part of what a call costs.
 */
export class Pending {
  readonly #limits: PendingLimits;
  #commands = 0;
  #bytes = 0;
  /** In the order in which they give up, all waiting for the same time. */
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limits: PendingLimits) {
    this.#limits = limits;
  }

  /**
   * What `send` makes, which must not throw; or a `CacheUnavailableError`: without sending when it would be
   * too much, and after `commandTimeoutMs`, while what was sent goes on unheard.
   */
  send<T>(commands: number, bytes: number, send: () => Promise<T>): Promise<T> {
    const refusal = this.#refusal(commands, bytes);
    if (refusal !== undefined) return Promise.reject(new CacheUnavailableError(refusal));
    this.#commands += commands;
    this.#bytes += bytes;
    return new Promise<T>((resolve, reject) => {
      const sent = send();
      const waiting = { untilMs: performance.now() + this.#limits.commandTimeoutMs, reject };
      this.#waiting.add(waiting);
      if (this.#timer === undefined) this.#wait(this.#limits.commandTimeoutMs);
      const settle = (): void => {
        this.#waiting.delete(waiting);
        this.#commands -= commands;
        this.#bytes -= bytes;
      };
      sent.then(
        (value) => {
          resolve(value);
          settle();
        },
        (error: unknown) => {
          reject(error);
          settle();
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

  #wait(ms: number): void {
    this.#timer = setTimeout(() => this.#giveUp(), Math.ceil(ms)).unref();
  }

  #giveUp(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (const waiting of this.#waiting) {
      if (waiting.untilMs > nowMs) {
        this.#wait(waiting.untilMs - nowMs);
        return;
      }
      this.#waiting.delete(waiting);
      waiting.reject(unanswered(this.#limits.commandTimeoutMs));
    }
  }
}
