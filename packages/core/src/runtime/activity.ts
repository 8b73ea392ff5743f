/** Counts what is under way, so that `drain` and `close` know when nothing is. */
export class Activity {
  #count = 0;
  #idle: (() => void)[] = [];

  /** Counts a promise until it settles; the promise is handed back untouched. */
  track<T>(promise: Promise<T>): Promise<T> {
    this.enter();
    promise.then(this.leave, this.leave);
    return promise;
  }

  /** Counts one more, until its `leave`. */
  enter(): void {
    this.#count++;
  }

  readonly leave = (): void => {
    this.#count--;
    if (this.#count > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  };

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
