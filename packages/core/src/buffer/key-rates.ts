/** Keys whose rate is watched at once; a key that is not watched counts as quiet. */
const MAX_KEYS = 20_000;
const WINDOW_MS = 1_000;

/** Writes per second of each key, over a window that slides by counting the last one in part. */
export class KeyRates {
  #current = new Map<string, number>();
  #last: ReadonlyMap<string, number> = new Map();
  #startedAtMs = 0;

  /** Counts a write of the key, and says how many there were in the last second. */
  count(key: string, nowMs: number): number {
    this.#turn(nowMs);
    const counted = this.#current.get(key) ?? 0;
    if (counted > 0 || this.#current.size < MAX_KEYS) this.#current.set(key, counted + 1);
    const ofLast = 1 - (nowMs - this.#startedAtMs) / WINDOW_MS;
    return counted + 1 + (this.#last.get(key) ?? 0) * ofLast;
  }

  #turn(nowMs: number): void {
    const passed = nowMs - this.#startedAtMs;
    if (passed < WINDOW_MS) return;
    this.#last = passed < 2 * WINDOW_MS ? this.#current : new Map();
    this.#current = new Map();
    this.#startedAtMs = passed < 2 * WINDOW_MS ? this.#startedAtMs + WINDOW_MS : nowMs;
  }
}
