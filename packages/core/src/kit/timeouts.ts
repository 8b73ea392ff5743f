import type { CancelTimer, Clock } from '../contracts/clock.js';

/** Something that waits, and what is to be done when it has waited too long. */
class Timeout {
  readonly untilMs: number;
  /** `undefined` once it is over. */
  expired: (() => void) | undefined;

  constructor(untilMs: number, expired: () => void) {
    this.untilMs = untilMs;
    this.expired = expired;
  }
}

export type { Timeout };

/**
 * Times out what waits, all for the same time. One timer serves all, and runs on when they are over: a timer for each would
 * be a good part of what a call of the cache costs.
 */
export class Timeouts {
  readonly #clock: Clock;
  readonly #ms: number;
  /** In the order in which they expire. The first one is not over. */
  readonly #waiting: Timeout[] = [];
  #timer: CancelTimer | undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  /** @param expired called once, never at once, unless it is over by then */
  begin(expired: () => void, nowMs = this.#clock.monotonic()): Timeout {
    const timeout = new Timeout(nowMs + this.#ms, expired);
    this.#waiting.push(timeout);
    if (this.#timer === undefined) this.#wait(this.#ms);
    return timeout;
  }

  end(timeout: Timeout): void {
    timeout.expired = undefined;
    while (this.#waiting.length > 0 && this.#waiting[0]?.expired === undefined) this.#waiting.shift();
  }

  #wait(ms: number): void {
    this.#timer = this.#clock.schedule(() => this.#expire(), Math.ceil(ms));
  }

  #expire(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonic();
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (first.untilMs > nowMs) {
        this.#wait(first.untilMs - nowMs);
        return;
      }
      const { expired } = first;
      this.end(first);
      expired?.();
    }
  }
}
