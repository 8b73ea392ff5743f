import type { CancelTimer, Clock } from '../contracts/clock.js';

export interface RegistryWatchOptions {
  readonly clock: Clock;
  readonly lifecycle: { readonly closed: boolean };
  /** When it was read last, by the clock's `monotonic`. */
  readonly readAtMs: () => number;
  readonly everyMs: number;
  readonly read: () => void;
}

/** Has a registry read in time, with calls or without: a process that writes nothing has to see its switch, too. */
export function watchRegistry(options: RegistryWatchOptions): CancelTimer {
  const { clock, everyMs, lifecycle, read, readAtMs } = options;
  let cancel: CancelTimer = () => undefined;
  const next = (): void => {
    const dueMs = readAtMs() + everyMs - clock.monotonic();
    // One that fails, or is under way, comes a whole time later.
    // Once the clock has moved on: that of a test may pass by the answer's time-out, too.
    cancel = clock.schedule(() => queueMicrotask(again), dueMs > 0 ? dueMs : everyMs);
  };
  const again = (): void => {
    if (lifecycle.closed) return;
    read();
    next();
  };
  next();
  return () => cancel();
}
