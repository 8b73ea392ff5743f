/** Ends a scheduled callback; harmless when it has run. */
export type CancelTimer = () => void;

/**
 * Time as the engine sees it. Injected, so that no unit test sleeps. It bounds waits and dates
 * entries for humans; it never makes a version.
 */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds of a clock that never steps back, with fractions. */
  monotonic(): number;
  /** Calls back once, after `delayMs` milliseconds, without keeping the process alive. */
  schedule(callback: () => void, delayMs: number): CancelTimer;
}

/** The machine's own clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule(callback, delayMs) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
