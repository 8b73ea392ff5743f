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
  /**
   * Calls back once, after `delayMs` milliseconds, without keeping the process alive. What had arrived by then is seen
   * first: an answer must not be taken for a missing one because the event loop was held up.
   */
  schedule(callback: () => void, delayMs: number): CancelTimer;
}

/** The machine's own clock and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule(callback, delayMs) {
    let immediate: NodeJS.Immediate | undefined;
    // Timers come before what sockets have received, in each turn of the loop; immediates come after.
    const timer = setTimeout(() => {
      immediate = setImmediate(callback);
    }, delayMs);
    timer.unref();
    return () => {
      clearTimeout(timer);
      if (immediate !== undefined) clearImmediate(immediate);
    };
  },
};
