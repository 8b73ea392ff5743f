import type { UnflushedIndex, UnflushedKey } from '../../contracts/cache.js';
import type { Clock } from '../../contracts/clock.js';

/** The keys that may hold buffered writes, in this process's memory: bounded by the limit of its callers. */
export function unflushedIndex(clock: Clock): UnflushedIndex & { clear(): void } {
  /** By index: each key's mark, the oldest first. */
  const indexes = new Map<string, Map<string, number>>();
  let lastMark = 0;

  function marksOf(index: string): Map<string, number> {
    const marks = indexes.get(index) ?? new Map<string, number>();
    indexes.set(index, marks);
    return marks;
  }

  function mark(): number {
    lastMark = Math.max(lastMark + 1, Math.trunc(clock.now() * 1_000));
    return lastMark;
  }

  return {
    durable: false,
    async add(index: string, keys: readonly string[], limit: number) {
      const marks = marksOf(index);
      const added = keys.map((key) => {
        if (!marks.has(key) && marks.size >= limit) return undefined;
        const own = mark();
        marks.delete(key);
        marks.set(key, own);
        return own;
      });
      return { nowMs: clock.now(), marks: added };
    },
    async list(index: string, afterMark: number, limit: number) {
      const found: UnflushedKey[] = [];
      for (const [key, own] of marksOf(index)) {
        if (own > afterMark) found.push({ key, mark: own });
        if (found.length === limit) break;
      }
      return found;
    },
    async remove(index: string, keys: readonly UnflushedKey[]) {
      const marks = marksOf(index);
      for (const { key, mark: own } of keys) if (marks.get(key) === own) marks.delete(key);
    },
    async size(index: string) {
      return marksOf(index).size;
    },
    clear() {
      indexes.clear();
    },
  };
}
