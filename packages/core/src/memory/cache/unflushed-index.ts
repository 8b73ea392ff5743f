import type { UnflushedIndex, UnflushedKey } from '../../contracts/cache.js';
import type { Clock } from '../../contracts/clock.js';

/** The keys that may hold buffered writes, in this process's memory: bounded by the limit of its callers. */
export class MemoryIndex implements UnflushedIndex {
  readonly durable = false;
  readonly #clock: Clock;
  /** By index: each key's mark, the oldest first. */
  readonly #indexes = new Map<string, Map<string, number>>();
  #lastMark = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  #marksOf(index: string): Map<string, number> {
    const marks = this.#indexes.get(index) ?? new Map<string, number>();
    this.#indexes.set(index, marks);
    return marks;
  }

  async add(index: string, keys: readonly string[], limit: number) {
    const known = this.#marksOf(index);
    const nowMs = this.#clock.now();
    const marks = keys.map((key) => {
      if (!known.has(key) && known.size >= limit) return undefined;
      this.#lastMark = Math.max(this.#lastMark + 1, Math.trunc(nowMs * 1_000));
      known.delete(key);
      known.set(key, this.#lastMark);
      return this.#lastMark;
    });
    return { nowMs, marks };
  }

  async list(index: string, afterMark: number, limit: number) {
    const found: UnflushedKey[] = [];
    for (const [key, mark] of this.#marksOf(index)) {
      if (mark > afterMark) found.push({ key, mark });
      if (found.length === limit) break;
    }
    return found;
  }

  async remove(index: string, keys: readonly UnflushedKey[]) {
    const marks = this.#marksOf(index);
    for (const { key, mark } of keys) if (marks.get(key) === mark) marks.delete(key);
  }

  async size(index: string) {
    return this.#marksOf(index).size;
  }

  clear(): void {
    this.#indexes.clear();
  }
}
