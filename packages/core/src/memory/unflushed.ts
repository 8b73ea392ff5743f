import type { UnflushedIndex, UnflushedKey } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';

/** Keys in the order of their marks. */
interface Index {
  readonly marks: Map<string, number>;
  top: number;
}

/** The index of unflushed keys in this process's memory. Marks are µs of the clock, and above all that were given. */
export function memoryUnflushed(clock: Clock, checkOpen: () => void): UnflushedIndex & { clear(): void } {
  const indexes = new Map<string, Index>();

  function indexOf(name: string): Index {
    checkOpen();
    let index = indexes.get(name);
    if (index === undefined) {
      index = { marks: new Map(), top: 0 };
      indexes.set(name, index);
    }
    return index;
  }

  return {
    durable: false,
    async add(name: string, keys: readonly string[], limit: number) {
      const index = indexOf(name);
      const nowMs = clock.now();
      const marks = keys.map((key) => {
        if (!index.marks.has(key) && index.marks.size >= limit) return undefined;
        index.top = Math.max(Math.trunc(nowMs * 1_000), index.top + 1);
        index.marks.delete(key);
        index.marks.set(key, index.top);
        return index.top;
      });
      return { nowMs, marks };
    },
    async list(name: string, afterMark: number, limit: number) {
      const found: UnflushedKey[] = [];
      for (const [key, mark] of indexOf(name).marks) {
        if (found.length >= limit) break;
        if (mark > afterMark) found.push({ key, mark });
      }
      return found;
    },
    async remove(name: string, keys: readonly UnflushedKey[]) {
      const { marks } = indexOf(name);
      for (const { key, mark } of keys) if ((marks.get(key) ?? Infinity) <= mark) marks.delete(key);
    },
    size: async (name: string) => indexOf(name).marks.size,
    clear: () => indexes.clear(),
  };
}
