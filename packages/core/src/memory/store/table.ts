import { LRUCache } from 'lru-cache';
import { NO_VERSION, type Version } from '../../contracts/version.js';

/** What is known of one key: a row, or, with `value: undefined`, the version under which it went. */
export interface RowState {
  readonly value: unknown;
  readonly version: Version;
  /** Milliseconds since the epoch by the store's clock. */
  readonly changedAtMs: number;
  /** The place of its change among all commits of the database; absent before the commit. */
  readonly commit?: number;
}

/** The rows and tombstones of one source. */
export interface MemoryTable {
  /** A row, a tombstone, or `undefined`: a key of which nothing above version `0` was ever known. */
  get(key: string): RowState | undefined;
  set(key: string, state: RowState): void;
  /** Rows, tombstones not counted. */
  readonly size: number;
  /** Every row and every tombstone. */
  entries(): Iterable<readonly [string, RowState]>;
  /** The keys of the rows. */
  keys(): string[];
  /** The last commit whose tombstone was forgotten; `0`: none was. */
  readonly forgotten: number;
}

/**
 * A table that forgets no row and at most the oldest tombstones. A forgotten tombstone's version
 * becomes the floor of all keys without a row: versions never go down, and late flushes are refused
 * a little too often rather than once too few.
 */
export function memoryTable(maxTombstones: number): MemoryTable {
  let floor: Version = NO_VERSION;
  let forgotten = 0;
  const rows = new Map<string, RowState>();
  const tombstones = new LRUCache<string, RowState>({
    max: maxTombstones,
    dispose(state, _key, reason) {
      if (reason !== 'evict') return;
      floor = Math.max(floor, state.version);
      forgotten = Math.max(forgotten, state.commit ?? 0);
    },
  });
  return {
    get(key) {
      const known = rows.get(key) ?? tombstones.peek(key);
      if (known !== undefined || floor === NO_VERSION) return known;
      return { value: undefined, version: floor, changedAtMs: 0 };
    },
    set(key, state) {
      if (state.value === undefined) {
        rows.delete(key);
        tombstones.set(key, state);
      } else {
        tombstones.delete(key);
        rows.set(key, state);
      }
    },
    get size() {
      return rows.size;
    },
    *entries() {
      yield* rows.entries();
      yield* tombstones.entries();
    },
    keys: () => [...rows.keys()],
    get forgotten() {
      return forgotten;
    },
  };
}
