import type { Clock } from '../contracts/clock.js';

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves on by `ms`, calling back what falls due on the way, in the order of time. */
  advance(ms: number): void;
  /** Callbacks that are scheduled. */
  readonly pending: number;
}

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Makes a clock for tests; `startMs`: what it shows at first, in ms since the epoch. */
export function manualClock(startMs = 1_750_000_000_000): ManualClock {
  let elapsedMs = 0;
  const timers = new Set<Timer>();

  function nextDue(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of timers) {
      if (timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
    }
    return next;
  }

  return {
    now: () => startMs + elapsedMs,
    monotonic: () => elapsedMs,
    schedule(callback, delayMs) {
      const timer: Timer = { atMs: elapsedMs + Math.max(0, delayMs), callback };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const untilMs = elapsedMs + ms;
      for (let timer = nextDue(untilMs); timer !== undefined; timer = nextDue(untilMs)) {
        timers.delete(timer);
        elapsedMs = Math.max(elapsedMs, timer.atMs);
        timer.callback();
      }
      elapsedMs = untilMs;
    },
    get pending() {
      return timers.size;
    },
  };
}
