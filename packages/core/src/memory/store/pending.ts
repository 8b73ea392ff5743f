import type { ChangedTexts, ColumnTexts } from '../../contracts/declared.js';
import type { Change } from '../../contracts/feed.js';
import type { Version } from '../../contracts/version.js';

/** A change that nobody has taken. */
export interface PendingChange {
  readonly change: Change;
  /** When the oldest change of the row was made that this one stands for, in ms since the epoch. */
  readonly sinceMs: number;
  /** The version of that oldest change. */
  readonly oldest: Version;
  /** The place of that oldest change among all commits of the database. */
  readonly commit: number;
  /** The consumers that have dealt with it. */
  readonly done: readonly string[];
  /** Until then it is left to its writer's acknowledgement, in ms since the epoch; `0`: it is not. */
  readonly visibleAtMs: number;
}

/** One source's pending changes, the newest of each row: as many as there are rows, however often they change. */
export class Pending {
  readonly #ready = new Map<string, PendingChange>();
  /** In the order in which they become visible. */
  readonly #delayed = new Map<string, PendingChange>();

  get size(): number {
    return this.#ready.size + this.#delayed.size;
  }

  /** Adds a change, or merges it with the row's pending one. */
  add(item: PendingChange): void {
    const { key } = item.change;
    const known = this.#ready.get(key) ?? this.#delayed.get(key);
    const merged = known === undefined ? item : merge(known, item);
    if (merged.visibleAtMs === 0) this.#delayed.delete(key);
    (merged.visibleAtMs === 0 ? this.#ready : this.#delayed).set(key, merged);
  }

  /** Removes and returns up to `limit` changes that are visible and that the consumer has not dealt with. */
  take(limit: number, nowMs: number, consumer: string | undefined): PendingChange[] {
    for (const [key, item] of this.#delayed) {
      if (item.visibleAtMs > nowMs) break;
      this.#delayed.delete(key);
      this.#ready.set(key, { ...item, visibleAtMs: 0 });
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

  /** When the next delayed change becomes visible; infinite: none is delayed. */
  nextVisibleAtMs(): number {
    return this.#delayed.values().next().value?.visibleAtMs ?? Number.POSITIVE_INFINITY;
  }

  /** A cache that has this version needs no older one, either. `left` says what is left of the change then. */
  acknowledge(key: string, version: Version, left: (item: PendingChange) => PendingChange | undefined): void {
    for (const items of [this.#ready, this.#delayed]) {
      const item = items.get(key);
      if (item === undefined || item.change.version > version) continue;
      // This writer did not know the row's earlier texts.
      if (item.change.texts !== undefined && item.oldest !== version) continue;
      const rest = left(item);
      if (rest === undefined) items.delete(key);
      else items.set(key, rest);
    }
  }

  *all(): Generator<PendingChange> {
    yield* this.#ready.values();
    yield* this.#delayed.values();
  }
}

function merge(a: PendingChange, b: PendingChange): PendingChange {
  // A consumer that has dealt with the newer change needs no older one, unless texts name what the row had between.
  const [older, newer] = a.change.version > b.change.version ? [b, a] : [a, b];
  const texts = bothTexts(older.change, newer.change);
  return {
    change: texts === undefined ? newer.change : { ...newer.change, texts },
    done: texts === undefined ? newer.done : newer.done.filter((each) => older.done.includes(each)),
    oldest: Math.min(a.oldest, b.oldest),
    sinceMs: Math.min(a.sinceMs, b.sinceMs),
    commit: Math.min(a.commit, b.commit),
    visibleAtMs: Math.min(a.visibleAtMs, b.visibleAtMs),
  };
}

/** Each once. `undefined`: none are told. */
export function bothTexts(older: ChangedTexts, newer: ChangedTexts): readonly ColumnTexts[] | undefined {
  if (older.texts === undefined) return newer.texts;
  const all = [...older.texts, ...(newer.texts ?? [])];
  return [...new Map(all.map((each) => [JSON.stringify(each), each])).values()];
}
