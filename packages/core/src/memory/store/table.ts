import { LRUCache } from 'lru-cache';
import type { ColumnTexts } from '../../contracts/declared.js';
import { NO_VERSION, type Version } from '../../contracts/version.js';
import { textsOf } from './texts.js';

/** The state of one key: a row, or, with `value: undefined`, the version of its deletion. */
export interface RowState {
  readonly value: unknown;
  readonly version: Version;
  /** Milliseconds since the epoch by the store's clock. */
  readonly changedAtMs: number;
  /** The place of its change among all commits of the database; absent before the commit. */
  readonly commit?: number;
}

/**
 * The rows and tombstones of one source. It forgets no row and at most the oldest tombstones. A forgotten tombstone's
 * version becomes the floor of all keys without a row: versions never go down, and late flushes are refused
 * a little too often rather than once too few.
 */
export class MemoryTable {
  readonly #rows = new Map<string, RowState>();
  readonly #tombstones: LRUCache<string, RowState>;
  #floor: Version = NO_VERSION;
  /** Properties whose values are told with each change. */
  readonly declared = new Set<string>();
  /** The last commit whose tombstone was forgotten; `0`: none was. */
  forgotten = 0;

  constructor(maxTombstones: number) {
    this.#tombstones = new LRUCache<string, RowState>({
      max: maxTombstones,
      dispose: (state, _key, reason) => {
        if (reason !== 'evict') return;
        this.#floor = Math.max(this.#floor, state.version);
        this.forgotten = Math.max(this.forgotten, state.commit ?? 0);
      },
    });
  }

  /** Rows, tombstones not counted. */
  get size(): number {
    return this.#rows.size;
  }

  /** A row, a tombstone, or `undefined`: a key of which nothing above version `0` was ever known. */
  get(key: string): RowState | undefined {
    const known = this.#rows.get(key) ?? this.#tombstones.peek(key);
    if (known !== undefined || this.#floor === NO_VERSION) return known;
    return { value: undefined, version: this.#floor, changedAtMs: 0 };
  }

  set(key: string, state: RowState): void {
    const [from, to] =
      state.value === undefined ? [this.#rows, this.#tombstones] : [this.#tombstones, this.#rows];
    from.delete(key);
    to.set(key, state);
  }

  /** The texts of the states of a row that a change begins and ends at; `undefined`: no properties are declared. */
  texts(...states: readonly (RowState | undefined)[]): readonly ColumnTexts[] | undefined {
    if (this.declared.size === 0) return undefined;
    return states.flatMap((state) =>
      state?.value === undefined ? [] : [textsOf(state.value, this.declared)],
    );
  }

  /** Every row and every tombstone. */
  *entries(): Generator<[string, RowState]> {
    yield* this.#rows.entries();
    yield* this.#tombstones.entries();
  }

  keys(): string[] {
    return [...this.#rows.keys()];
  }
}
