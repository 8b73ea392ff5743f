import type { Clock } from '../contracts/clock.js';

/** The least that is remembered, and half of the most. */
const GENERATION = 5_000;
const FOR_MS = 5_000;

/**
 * Keys of a collection whose rows can't be cached (too large, not to be serialized): for a while their readers
 * share loads as where the cache is away, rather than wait for each other's leases. A key that is forgotten costs
 * one lease.
 */
export class UncacheableKeys {
  readonly #clock: Clock;
  #young = new Map<string, number>();
  #old: ReadonlyMap<string, number> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(key: string): void {
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, this.#clock.monotonic() + FOR_MS);
  }

  has(key: string): boolean {
    if (this.#young.size + this.#old.size === 0) return false;
    const untilMs = this.#young.get(key) ?? this.#old.get(key);
    return untilMs !== undefined && this.#clock.monotonic() < untilMs;
  }
}
