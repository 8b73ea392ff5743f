import type { Clock } from '../contracts/clock.js';
import type { Version } from '../contracts/version.js';

/** Time for writes of other processes to be flushed, whose index nobody here knows. */
const LEAST_MS = 2_000;
/** The longest wait, which ends two writes that wait for each other. */
const MOST_MS = 30_000;
/** Refused writes that are watched at once; beyond them a refusal counts at once. */
const MAX_KEYS = 10_000;

interface Deferral {
  readonly version: Version;
  readonly sinceMs: number;
  /** No other write is left: the next try is the last. */
  alone: boolean;
}

/**
 * Buffered writes that the store refused, where another unflushed write may lift the refusal (the row that it refers
 * to, a unique value that is being given up). They are tried again behind the others; a refusal counts once a try
 * that began with none left was refused, and no sooner than others have had their time.
 */
export class Deferrals {
  readonly #clock: Clock;
  readonly #others: (key: string) => Promise<boolean>;
  readonly #refused = new Map<string, Deferral>();

  /** `others` tells whether the database's collections hold an unflushed write of any key but that. */
  constructor(clock: Clock, others: (key: string) => Promise<boolean>) {
    this.#clock = clock;
    this.#others = others;
  }

  /** Called before a try. True when its refusal will count, since no other write is left that could lift it. */
  isLast(key: string, version: Version): boolean {
    const known = this.#refused.get(key);
    return known !== undefined && known.version === version && known.alone;
  }

  /** Called when a try was refused. True when the refusal is final. `last`: the answer of `isLast` before the try. */
  async isFinal(key: string, version: Version, last: boolean): Promise<boolean> {
    const now = this.#clock.monotonic();
    const known = this.#refused.get(key);
    if (known?.version !== version) {
      if (known === undefined && this.#refused.size >= MAX_KEYS) return true;
      this.#refused.set(key, { version, sinceMs: now, alone: false });
      return false;
    }
    const waitedMs = now - known.sinceMs;
    if (waitedMs < LEAST_MS) return false;
    if (waitedMs < MOST_MS && !last) {
      // The others may have been flushed since the store refused, so it is tried once more. An index that can't be
      // asked may hold what lifts it.
      known.alone = !(await this.#others(key).catch(() => true));
      return false;
    }
    this.#refused.delete(key);
    return true;
  }

  forget(key: string): void {
    if (this.#refused.size > 0) this.#refused.delete(key);
  }
}
