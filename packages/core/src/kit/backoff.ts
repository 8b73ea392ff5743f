import { type Clock, systemClock } from '../contracts/clock.js';
import { callerSleep, type Deadline, sleep } from './wait.js';

export interface BackoffOptions {
  /** @defaultValue the machine's */
  readonly clock?: Clock | undefined;
  /** The longest first pause, in ms. */
  readonly firstMs: number;
  /** No pause is longer, in ms. */
  readonly lastMs: number;
  /** What the pause grows by each time. @defaultValue 2 */
  readonly factor?: number | undefined;
  /**
   * The share of a pause that is random, from 0 to 1: those that failed together must not try again together.
   * @defaultValue 0.5: a pause is at least half of its longest
   */
  readonly jitter?: number | undefined;
  /** 0 <= n < 1. @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

/** The pauses between tries of what fails: each longer than the one before, up to a last one, with jitter. */
export class Backoff {
  readonly #options: BackoffOptions;
  #longestMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#longestMs = options.firstMs;
  }

  /** The next pause is a first one again. */
  reset(): void {
    this.#longestMs = this.#options.firstMs;
  }

  /** How long the next pause is, in ms; the one after it will be longer. For whoever sets a timer of their own. */
  nextMs(): number {
    const { factor = 2, jitter = 0.5, lastMs, random = Math.random } = this.#options;
    const longestMs = Math.min(this.#longestMs, lastMs);
    this.#longestMs = Math.min(longestMs * factor, lastMs);
    return longestMs * (1 - jitter * random());
  }

  /** Resolves after the next pause, or once the signal aborts. */
  wait(signal?: AbortSignal): Promise<void> {
    return sleep(this.#options.clock ?? systemClock, this.nextMs(), signal);
  }

  /**
   * As `wait`, for a call that is to be tried again before its deadline, by its clock: false, without waiting, where
   * the pause would not be over by then. Keeps the process alive, since a caller waits.
   */
  async waitWithin(deadline: Deadline): Promise<boolean> {
    const pauseMs = this.nextMs();
    if (pauseMs >= deadline.remainingMs) return false;
    await callerSleep(deadline.clock, pauseMs, deadline.signal);
    return true;
  }
}
