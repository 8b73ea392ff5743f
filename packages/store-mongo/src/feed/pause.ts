/** Resolves after `delayMs`, or when the signal aborts. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(finish, delayMs);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    }
    signal.addEventListener('abort', finish, { once: true });
  });
}

/** Waits between tries: each twice as long as the last, up to a second. */
export class Backoff {
  readonly #firstMs: number;
  #nextMs: number;

  constructor(firstMs = 10) {
    this.#firstMs = firstMs;
    this.#nextMs = firstMs;
  }

  reset(): void {
    this.#nextMs = this.#firstMs;
  }

  async wait(signal: AbortSignal): Promise<void> {
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, 1_000);
    await pause(delayMs, signal);
  }
}
