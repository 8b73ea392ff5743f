import type { Change } from '../contracts/store.js';
import type { Version } from '../contracts/version.js';

/** A change that nobody has taken. */
export interface PendingChange {
  readonly change: Change;
  /** When the oldest change of the row was made that this one stands for, in ms since the epoch. */
  readonly sinceMs: number;
}

interface Delayed extends PendingChange {
  readonly visibleAtMs: number;
}

/** One source's pending changes, the newest of each row: as many as there are rows, however often they change. */
export class Pending {
  readonly #ready = new Map<string, PendingChange>();
  /** In the order in which they become visible. */
  readonly #delayed = new Map<string, Delayed>();

  get size(): number {
    return this.#ready.size + this.#delayed.size;
  }

  /** Adds a change, or merges it with the row's pending one. `visibleAtMs: undefined`: at once. */
  add(item: PendingChange, visibleAtMs: number | undefined): void {
    const { key } = item.change;
    const ready = this.#ready.get(key);
    const delayed = this.#delayed.get(key);
    const known = ready ?? delayed;
    const merged = known === undefined ? item : merge(known, item);
    if (ready !== undefined || visibleAtMs === undefined) {
      this.#delayed.delete(key);
      this.#ready.set(key, merged);
    } else {
      this.#delayed.set(key, { ...merged, visibleAtMs: delayed?.visibleAtMs ?? visibleAtMs });
    }
  }

  /** Removes and returns up to `limit` changes that are visible. */
  take(limit: number, nowMs: number): PendingChange[] {
    for (const [key, item] of this.#delayed) {
      if (item.visibleAtMs > nowMs) break;
      this.#delayed.delete(key);
      this.#ready.set(key, item);
    }
    const taken: PendingChange[] = [];
    for (const [key, item] of this.#ready) {
      if (taken.length >= limit) break;
      this.#ready.delete(key);
      taken.push(item);
    }
    return taken;
  }

  /** When the next delayed change becomes visible; `undefined`: none is delayed. */
  nextVisibleAtMs(): number | undefined {
    return this.#delayed.values().next().value?.visibleAtMs;
  }

  /** A cache that has this version needs no older one, either. */
  acknowledge(key: string, version: Version): void {
    for (const map of [this.#ready, this.#delayed]) {
      const item = map.get(key);
      if (item !== undefined && item.change.version <= version) map.delete(key);
    }
  }

  *all(): Generator<PendingChange> {
    yield* this.#ready.values();
    yield* this.#delayed.values();
  }
}

function merge(a: PendingChange, b: PendingChange): PendingChange {
  const newer = a.change.version > b.change.version ? a : b;
  return { change: newer.change, sinceMs: Math.min(a.sinceMs, b.sinceMs) };
}
