import type { Change } from '../../contracts/feed.js';
import type { Version } from '../../contracts/version.js';

/** A change that nobody has taken. */
export interface PendingChange {
  readonly change: Change;
  /** When the oldest change of the row was made that this one stands for, in ms since the epoch. */
  readonly sinceMs: number;
  /** The place of that oldest change among all commits of the database. */
  readonly commit: number;
  /** The consumers that have dealt with it. */
  readonly done: readonly string[];
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

  /** Removes and returns up to `limit` changes that are visible and that the consumer has not dealt with. */
  take(limit: number, nowMs: number, consumer: string | undefined): PendingChange[] {
    for (const [key, item] of this.#delayed) {
      if (item.visibleAtMs > nowMs) break;
      this.#delayed.delete(key);
      this.#ready.set(key, item);
    }
    const taken: PendingChange[] = [];
    for (const [key, item] of this.#ready) {
      if (taken.length >= limit) break;
      if (consumer !== undefined && item.done.includes(consumer)) continue;
      this.#ready.delete(key);
      taken.push(item);
    }
    return taken;
  }

  /** When the next delayed change becomes visible; `undefined`: none is delayed. */
  nextVisibleAtMs(): number | undefined {
    return this.#delayed.values().next().value?.visibleAtMs;
  }

  /** A cache that has this version needs no older one, either. `left` says what is left of the change then. */
  acknowledge(key: string, version: Version, left: (item: PendingChange) => PendingChange | undefined): void {
    const item = this.#ready.get(key);
    if (item !== undefined && item.change.version <= version) keep(this.#ready, key, left(item));
    const delayed = this.#delayed.get(key);
    if (delayed === undefined || delayed.change.version > version) return;
    const rest = left(delayed);
    keep(this.#delayed, key, rest && { ...rest, visibleAtMs: delayed.visibleAtMs });
  }

  *all(): Generator<PendingChange> {
    yield* this.#ready.values();
    yield* this.#delayed.values();
  }
}

function keep<Item>(map: Map<string, Item>, key: string, item: Item | undefined): void {
  if (item === undefined) map.delete(key);
  else map.set(key, item);
}

function merge(a: PendingChange, b: PendingChange): PendingChange {
  const newer = a.change.version > b.change.version ? a : b;
  // Who has dealt with the newer one needs no older one.
  return {
    change: newer.change,
    done: newer.done,
    sinceMs: Math.min(a.sinceMs, b.sinceMs),
    commit: Math.min(a.commit, b.commit),
  };
}
