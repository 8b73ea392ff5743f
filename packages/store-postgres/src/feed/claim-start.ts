import type { Clock } from '@lockstep/core';

/** A place in the order of the outbox. */
export interface Position {
  readonly version: string;
  readonly id: string;
}

const LOWEST_NUMBER = '-9223372036854775808';
/** Before all rows, whatever somebody wrote into them. */
export const LOWEST: Position = { version: LOWEST_NUMBER, id: LOWEST_NUMBER };

/** Behind this every row is: what was written so long ago is mostly taken. In µs; the rest waits for a claim of all. */
export const RECENT_US = 10_000_000;

/** A claim that takes no longer than this looks at all of the outbox every time. */
const CHEAP_MS = 25;
/** The part of the time that claims of all may take otherwise, and the longest between two. */
const REST = 4;
const MAX_REST_MS = 1_000;

/**
 * Where to begin a claim. At the lowest version, since a change that commits late may be anywhere; but rows that were
 * taken stay in the way for as long as a transaction from before is open, a million of them in an hour. So where that
 * shows, claims of all are a second apart, and the others begin where the last came to, or with what is recent.
 */
export class ClaimStart {
  readonly #clock: Clock;
  #reached: Position | undefined;
  #dueAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `undefined`: with what is recent. */
  get next(): Position | undefined {
    return this.isDue ? LOWEST : this.#reached;
  }

  get isDue(): boolean {
    return this.#clock.monotonic() >= this.#dueAtMs;
  }

  /** A claim of all has taken so long. */
  searched(ms: number): void {
    this.#dueAtMs =
      ms <= CHEAP_MS ? Number.NEGATIVE_INFINITY : this.#clock.monotonic() + Math.min(REST * ms, MAX_REST_MS);
  }

  /** @param reached `undefined`: nothing more waits */
  ended(reached: Position | undefined): void {
    this.#reached = reached;
  }

  /** What was claimed is there again. */
  failed(): void {
    this.#dueAtMs = Number.NEGATIVE_INFINITY;
  }
}
