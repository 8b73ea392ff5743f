import type { UnflushedIndex, UnflushedKey } from '../../src/contracts/cache.js';

/** The index of unflushed keys, across the cache's network. */
export class SimIndex implements UnflushedIndex {
  readonly durable = false;
  readonly marks = new Map<string, number>();
  readonly #travel: () => Promise<void>;
  readonly #nowMs: () => number;
  #last = 0;

  constructor(travel: () => Promise<void>, nowMs: () => number) {
    this.#travel = travel;
    this.#nowMs = nowMs;
  }

  async add(_index: string, keys: readonly string[]) {
    await this.#travel();
    const nowMs = this.#nowMs();
    const marks = keys.map((key) => {
      this.#last = Math.max(this.#last + 1, nowMs * 1_000);
      this.marks.delete(key);
      this.marks.set(key, this.#last);
      return this.#last;
    });
    await this.#travel();
    return { nowMs, marks };
  }

  async list(_index: string, afterMark: number, limit: number): Promise<UnflushedKey[]> {
    await this.#travel();
    const found = [...this.marks]
      .map(([key, mark]) => ({ key, mark }))
      .filter(({ mark }) => mark > afterMark);
    await this.#travel();
    return found.slice(0, limit);
  }

  async remove(_index: string, keys: readonly UnflushedKey[]): Promise<void> {
    await this.#travel();
    for (const { key, mark } of keys) if (this.marks.get(key) === mark) this.marks.delete(key);
    await this.#travel();
  }

  async size(): Promise<number> {
    await this.#travel();
    return this.marks.size;
  }
}
