import type { Clock } from '@lockstep/core';

/** How long an estimate counts, in ms: clocks that run apart by 500 ppm are 5 ms apart by then. */
const FRESH_MS = 10_000;
const ASK_TIMEOUT_MS = 5_000;

/**
 * The server's clock as this process can tell it without asking: never ahead of it, as long as it does not step
 * back meanwhile. It serves deadlines only: no version comes from it.
 */
export class ServerClock {
  readonly #clock: Clock;
  readonly #ask: (timeoutMs: number) => Promise<void>;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  /** The least time by which the server's clock is ahead of the process's monotonic one. */
  #leadMs = 0;
  #asking: Promise<void> | undefined;

  /** `ask` has the server tell its time to {@link sample}. */
  constructor(clock: Clock, ask: (timeoutMs: number) => Promise<void>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** In ms since the epoch. A promise where the server has not told its time of late. */
  nowMs(): number | Promise<number> {
    const monotonic = this.#clock.monotonic();
    if (monotonic - this.#sampledAtMs <= FRESH_MS) return monotonic + this.#leadMs;
    this.#asking ??= this.#ask(ASK_TIMEOUT_MS).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking.then(() => this.#clock.monotonic() + this.#leadMs);
  }

  /** Notes a time that the server's clock showed, in µs, between `sentAtMs` (monotonic) and now. */
  sample(sentAtMs: number, serverUs: number): void {
    const serverMs = serverUs / 1_000;
    const receivedAtMs = this.#clock.monotonic();
    const least = serverMs - receivedAtMs;
    const stale = receivedAtMs - this.#sampledAtMs > FRESH_MS;
    const steppedBack = serverMs - sentAtMs < this.#leadMs;
    this.#leadMs = stale || steppedBack ? least : Math.max(this.#leadMs, least);
    this.#sampledAtMs = receivedAtMs;
  }

  /** The estimate was wrong: a process that was suspended, or another server. */
  forget(): void {
    this.#sampledAtMs = Number.NEGATIVE_INFINITY;
  }
}
