/** As many keys as may come and go between two renewals, at the least. */
const MIN_LIMIT = 1_024;

/**
 * A map of which every key soon goes again. A `Map` would grow and shrink all the time, and each time V8
 * leaves the old table with what it held and a pointer to the new one: one such table that outlives a young
 * collection keeps all later ones alive until the next full collection. Here a key that has gone leaves an
 * empty place behind, and now and then what is left moves into a new map.
 */
export class KeyTable<Value extends object> {
  #entries = new Map<string, Value | undefined>();
  #limit = MIN_LIMIT;

  get(key: string): Value | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: Value): void {
    if (this.#entries.size >= this.#limit) this.#renew();
    this.#entries.set(key, value);
  }

  delete(key: string): void {
    this.#entries.set(key, undefined);
  }

  #renew(): void {
    const entries = new Map<string, Value | undefined>();
    for (const [key, value] of this.#entries) if (value !== undefined) entries.set(key, value);
    this.#entries = entries;
    this.#limit = Math.max(MIN_LIMIT, entries.size * 2);
  }
}
