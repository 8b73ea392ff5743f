import { type CancelTimer, type Clock, systemClock } from '../contracts/clock.js';

export interface DeadlineOptions {
  /** @defaultValue the machine's */
  readonly clock?: Clock | undefined;
  /** How long from now, in ms; `Infinity`: the signal alone ends it. */
  readonly timeoutMs: number;
  /** Makes what calls reject with once the time is over. */
  readonly late: () => Error;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
  /** Makes what calls reject with once the signal has aborted. @defaultValue the signal's reason */
  readonly aborted?: ((reason: unknown) => unknown) | undefined;
  /** True: the wait keeps the process alive when nothing else does (no open connection). @defaultValue false */
  readonly keepsAlive?: boolean | undefined;
}

/**
 * The end of a call's time: a time-out, a signal, or both, by a clock. Every wait of the call shares it, so that they
 * add up to no more than it allows.
 *
 * An answer that arrived in time counts, even where the event loop was held up (a collection, a large parse) until
 * after the end: the clock's timers call back after what has arrived by then.
 */
export class Deadline {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** The end by the clock's `monotonic`. */
  readonly atMs: number;
  readonly #options: DeadlineOptions;

  constructor(options: DeadlineOptions) {
    const { clock = systemClock, signal, timeoutMs } = options;
    this.clock = clock;
    this.timeoutMs = timeoutMs;
    this.signal = signal;
    this.atMs = clock.monotonic() + timeoutMs;
    this.#options = options;
  }

  /** Milliseconds that are left, with fractions; 0 once the time is over. */
  get remainingMs(): number {
    return Math.max(0, this.atMs - this.clock.monotonic());
  }

  /**
   * The time-out for the server, in whole ms: a little less than is left, so that its own clean answer comes first. At
   * least 1, since 0 means "for ever" to most servers.
   */
  get serverMs(): number {
    const leftMs = this.remainingMs;
    return Math.max(1, Math.floor(leftMs - Math.min(50, leftMs / 10)));
  }

  /**
   * Throws what a call would reject with, once the time is over or the signal has aborted. Asked before something is
   * sent: a process that was stopped finds its timers late.
   */
  throwIfOver(): void {
    if (this.signal?.aborted) throw this.#aborted();
    if (this.remainingMs === 0) throw this.#options.late();
  }

  /** A deadline of the same call that ends no later than this one, and no later than `timeoutMs` from now. */
  narrowed(timeoutMs: number, late: () => Error = this.#options.late): Deadline {
    return new Deadline({ ...this.#options, timeoutMs: Math.min(timeoutMs, this.remainingMs), late });
  }

  /** The work's outcome, or a rejection at the end. What was under way goes on; its late outcome is dropped. */
  bound<T>(work: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => this.#follow(work, resolve, reject, reject));
  }

  /**
   * As `bound`, for a function that takes a signal: it aborts at the end, with what the call rejects with. Users'
   * functions may throw at once, or return no promise.
   */
  run<T>(work: (signal: AbortSignal) => PromiseLike<T> | T): Promise<T> {
    const ending = new AbortController();
    return new Promise((resolve, reject) => {
      const working = (async () => await work(ending.signal))();
      this.#follow(working, resolve, reject, (reason) => {
        ending.abort(reason);
        reject(reason);
      });
    });
  }

  #follow<T>(
    work: PromiseLike<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
    over: (reason: unknown) => void,
  ): void {
    const stop = this.onOver(over);
    work.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  }

  /**
   * Calls back once, with what calls reject with: at once where the signal has aborted, else at the end. Returns what
   * takes it back. For work without a promise; `bound` serves the rest.
   */
  onOver(over: (reason: unknown) => void): CancelTimer {
    const { clock, signal } = this;
    if (signal?.aborted) {
      over(this.#aborted());
      return () => undefined;
    }
    const abort = (): void => {
      stop();
      over(this.#aborted());
    };
    const late = (): void => {
      stop();
      over(this.#options.late());
    };
    const cancel = this.timeoutMs === Infinity ? undefined : clock.schedule(late, this.remainingMs);
    const release = this.#options.keepsAlive === true ? keepAlive() : undefined;
    const stop = (): void => {
      cancel?.();
      release?.();
      signal?.removeEventListener('abort', abort);
    };
    signal?.addEventListener('abort', abort, { once: true });
    return stop;
  }

  #aborted(): unknown {
    const reason: unknown = this.signal?.reason;
    const { aborted } = this.#options;
    return aborted === undefined ? reason : aborted(reason);
  }
}

/**
 * The promise, or a rejection with `late()` after `ms`. What was under way goes on; its late outcome is dropped.
 * A {@link Deadline} for a single wait.
 */
export function withTimeout<T>(
  clock: Clock,
  work: PromiseLike<T>,
  ms: number,
  late: () => Error,
): Promise<T> {
  return new Deadline({ clock, timeoutMs: ms, late }).bound(work);
}

/** Resolves after `ms`, or once the signal aborts. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const wake = (): void => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.schedule(wake, ms);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

export interface RepeatOptions {
  readonly clock: Clock;
  /** From the end of one round to the next, in ms. */
  readonly everyMs: number;
  /** Told why a round failed. */
  readonly onError: (error: unknown) => void;
}

/** Runs rounds, one after the other, until the signal aborts. Does not reject. */
export async function repeat(
  round: () => Promise<void>,
  { clock, everyMs, onError }: RepeatOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await round();
    } catch (error) {
      onError(error);
    }
    await sleep(clock, everyMs, signal);
  }
}

/** As `sleep`, for a wait that a caller waits for: it keeps the process alive, as a call to a server does. */
export async function callerSleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  const release = keepAlive();
  try {
    await sleep(clock, ms, signal);
  } finally {
    release();
  }
}

/** A clock's timers let the process end. Returns what ends it. */
function keepAlive(): () => void {
  const alive = setInterval(() => undefined, 2 ** 30);
  return () => clearInterval(alive);
}
