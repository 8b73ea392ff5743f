/**
 * Asks for a value at intervals, one question at a time, and keeps the last answer as long as it is fresh. A
 * server that hangs leaves the value `null`, and is not asked again before it has answered.
 */
export class Poller<Value> {
  readonly #ask: () => Promise<Value>;
  readonly #freshMs: number;
  readonly #timer: NodeJS.Timeout;
  #asking = false;
  #value: Value | null = null;
  #answeredMs = 0;

  constructor(ask: () => Promise<Value>, everyMs: number) {
    this.#ask = ask;
    this.#freshMs = everyMs * 3;
    this.#timer = setInterval(() => void this.#turn(), everyMs);
    void this.#turn();
  }

  get value(): Value | null {
    return performance.now() - this.#answeredMs <= this.#freshMs ? this.#value : null;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #turn(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      this.#value = await this.#ask();
      this.#answeredMs = performance.now();
    } catch {
      // An old value goes stale by itself.
    } finally {
      this.#asking = false;
    }
  }
}
