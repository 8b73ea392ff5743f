import type { Clock } from '../../contracts/clock.js';
import type { Version } from '../../contracts/version.js';

/** Time for writes of other processes to be flushed, whose index nobody here knows. */
const LEAST_MS = 2_000;
/** Two writes that wait for each other end here at the latest, and writes whose turn never comes. */
const MOST_MS = 30_000;
/** Refused writes that are watched at once; beyond them a refusal counts at once. */
const MAX_KEYS = 10_000;

interface Deferral {
  readonly version: Version;
  readonly sinceMs: number;
}

/**
 * Buffered writes that the store refused, where another unflushed write may lift the refusal (the row that it refers
 * to, a unique value that is being given up). They are tried again behind the others; the refusal counts once none is
 * left that could lift it, and no sooner than others have had their time.
 */
export class Deferrals {
  readonly #clock: Clock;
  readonly #others: () => Promise<boolean>;
  readonly #refused = new Map<string, Deferral>();

  /** `others` tells whether the database's collections hold an unflushed write that is not itself refused. */
  constructor(clock: Clock, others: () => Promise<boolean>) {
    this.#clock = clock;
    this.#others = others;
  }

  has(key: string): boolean {
    return this.#refused.has(key);
  }

  /** The write was refused again: is that the store's last word? */
  async isFinal(key: string, version: Version): Promise<boolean> {
    const now = this.#clock.monotonic();
    const known = this.#refused.get(key);
    if (known?.version !== version) {
      if (known === undefined && this.#refused.size >= MAX_KEYS) return true;
      this.#refused.set(key, { version, sinceMs: now });
      return false;
    }
    const waitedMs = now - known.sinceMs;
    if (waitedMs < LEAST_MS) return false;
    // An index that can't be asked may hold what lifts it.
    if (waitedMs < MOST_MS && (await this.#others().catch(() => true))) return false;
    this.#refused.delete(key);
    return true;
  }

  settled(key: string): void {
    if (this.#refused.size > 0) this.#refused.delete(key);
  }
}
