import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import { withinCacheTime } from './cache-time.js';

type Answer = ReadonlyMap<string, number | Error>;

/**
 * Tells how long the cache has lost nothing. A cache that lost everything a moment ago has lost the intents of writers,
 * too, and the entry of a key does not show that.
 */
export class KeptByCache {
  readonly #adapter: CacheAdapter;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  #underWay: Promise<unknown> = Promise.resolve();
  #next: Promise<Answer> | undefined;
  /** The longest that an intent of this process has stood, in ms. */
  #longestMs = 0;

  constructor(adapter: CacheAdapter, prefix: string, timeoutMs: number, clock: Clock) {
    this.#adapter = adapter;
    this.#prefix = prefix;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
  }

  /** Notes how long an intent stands. */
  intends(deadlineMs: number): void {
    if (deadlineMs > this.#longestMs) this.#longestMs = deadlineMs;
  }

  /**
   * For how long the primary of a key, asked after this call, has kept more than the longest intent can stand, in
   * ms; `0`: it may have lost one that would stand still, or can't be asked. Never rejects.
   */
  async allMs(key: string): Promise<number> {
    this.#next ??= this.#underWay.then(() => this.#ask());
    const answer = await this.#next.catch(() => undefined);
    const kept = answer?.get(this.#adapter.primaryOf?.(key) ?? '');
    return typeof kept === 'number' ? Math.max(0, kept - this.#longestMs) : 0;
  }

  /** Asks one question at a time; all callers in the meantime share the next one. */
  #ask(): Promise<Answer> {
    this.#next = undefined;
    const asking = withinCacheTime(this.#clock, this.#adapter.kept(this.#prefix), this.#timeoutMs);
    this.#underWay = asking.catch(() => undefined);
    return asking;
  }
}
