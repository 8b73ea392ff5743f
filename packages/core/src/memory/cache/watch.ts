import type { ChangeListener, ChangeWatch } from '../../contracts/cache.js';

/** A watch over a cache in this process: each change is told before it is acknowledged, so that a ping waits for nothing. */
export class MemoryWatch implements ChangeWatch {
  readonly #listener: ChangeListener;
  readonly #ended: () => void;
  readonly #prefixes: string[] = [];

  constructor(listener: ChangeListener, ended: () => void) {
    this.#listener = listener;
    this.#ended = ended;
  }

  add(prefix: string): void {
    this.#prefixes.push(prefix);
  }

  tell(key: string): void {
    if (this.#prefixes.some((prefix) => key.startsWith(prefix))) this.#listener.changed(key);
  }

  lost(): void {
    this.#listener.lost();
  }

  async ping(): Promise<void> {}

  async close(): Promise<void> {
    this.#ended();
  }
}
