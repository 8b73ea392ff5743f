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
    // A read that has failed, or is under way, is repeated a whole interval later. In a microtask, since the step of a
    // test's clock that comes to this timer may come to the read's own time-out as well.
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
