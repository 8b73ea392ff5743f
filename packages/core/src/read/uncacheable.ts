import type { Clock } from '../contracts/clock.js';

const MAX_KEYS = 5_000;
const FOR_MS = 5_000;

/**
 * Keys of a collection whose rows can't be cached (too large, not to be serialized): for a while their readers
 * share loads as where the cache is away, rather than wait for each other's leases. A key that is forgotten costs
 * one lease.
 */
export class UncacheableKeys {
  readonly #clock: Clock;
  /** Each key's end of that time, the longest known key first. */
  readonly #untilMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(key: string): void {
    this.#untilMs.delete(key);
    for (const oldest of this.#untilMs.keys()) {
      if (this.#untilMs.size < MAX_KEYS) break;
      this.#untilMs.delete(oldest);
    }
    this.#untilMs.set(key, this.#clock.monotonic() + FOR_MS);
  }

  has(key: string): boolean {
    const untilMs = this.#untilMs.get(key);
    return untilMs !== undefined && this.#clock.monotonic() < untilMs;
  }
}
