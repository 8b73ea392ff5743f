import { type Clock, systemClock } from '../contracts/clock.js';
import { callerSleep, type Deadline, sleep } from './wait.js';

export interface Pauses {
  /** The longest first pause, in ms. */
  readonly firstMs: number;
  /** No pause is longer, in ms. */
  readonly lastMs: number;
  /** The factor by which the pause grows each time. @defaultValue 2 */
  readonly factor?: number | undefined;
  /**
   * The share of a pause that is random, from 0 to 1: those that failed together must not try again together.
   * @defaultValue 0.5: a pause is at least half of its longest
   */
  readonly jitter?: number | undefined;
  /** 0 <= n < 1. @defaultValue Math.random */
  readonly random?: (() => number) | undefined;
}

export interface BackoffOptions extends Pauses {
  /** @defaultValue the machine's */
  readonly clock?: Clock | undefined;
}

/**
 * The pause after a number of failures in a row (1: the first), in ms. For whoever counts on their own: a client's
 * `retryStrategy`, a queue's attempts.
 */
export function backoffMs(failures: number, options: Pauses): number {
  const { factor = 2, firstMs, jitter = 0.5, lastMs, random = Math.random } = options;
  return Math.min(firstMs * factor ** (failures - 1), lastMs) * (1 - jitter * (1 - random()));
}

/** The pauses between tries of what fails: each longer than the one before, up to a last one, with jitter. */
export class Backoff {
  readonly #clock: Clock;
  readonly #pauses: Pauses;
  #failures = 0;

  constructor({ clock = systemClock, ...pauses }: BackoffOptions) {
    this.#clock = clock;
    this.#pauses = pauses;
  }

  /** The next pause is a first one again. */
  reset(): void {
    this.#failures = 0;
  }

  /** How long the next pause is, in ms; the one after it will be longer. For whoever sets a timer of their own. */
  nextMs(): number {
    this.#failures += 1;
    return backoffMs(this.#failures, this.#pauses);
  }

  /** Resolves after the next pause, or once the signal aborts. */
  wait(signal?: AbortSignal): Promise<void> {
    return sleep(this.#clock, this.nextMs(), signal);
  }

  /**
   * As `wait`, for a call that is to be tried again before its deadline, by its clock: false, without waiting, where
   * the pause would not be over by then. Keeps the process alive, since a caller waits.
   */
  async waitWithin(deadline: Deadline, signal = deadline.signal): Promise<boolean> {
    const pauseMs = this.nextMs();
    if (pauseMs >= deadline.remainingMs) return false;
    await callerSleep(deadline.clock, pauseMs, signal);
    return true;
  }
}
