import type { CancelTimer, Clock } from '../contracts/clock.js';

export interface RegistryWatchOptions {
  readonly clock: Clock;
  /** When it was read last, by the clock's `monotonic`. */
  readonly readAtMs: () => number;
  readonly everyMs: number;
  readonly read: () => void;
}

/** Has a registry read in time, with calls or without: a process that writes nothing has to see its switch, too. */
export class RegistryWatch {
  readonly #options: RegistryWatchOptions;
  #cancel: CancelTimer | undefined;
  #stopped = false;

  constructor(options: RegistryWatchOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#cancel === undefined) this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #next(): void {
    const { clock, everyMs, read, readAtMs } = this.#options;
    const dueMs = readAtMs() + everyMs - clock.monotonic();
    const again = (): void => {
      if (this.#stopped) return;
      read();
      this.#next();
    };
    // One that fails, or is under way, comes a whole time later.
    // Once the clock has moved on: that of a test may pass by the answer's time-out, too.
    this.#cancel = clock.schedule(() => queueMicrotask(again), dueMs > 0 ? dueMs : everyMs);
  }
}
