import { LRUCache } from 'lru-cache';
import type { CacheClient } from '../cache/client.js';
import type { CacheHead, CacheHit } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { NearStatus } from '../contracts/near.js';
import type { RowShape, StoreShape } from '../contracts/rows.js';
import type { Version } from '../contracts/version.js';
import { copyOf, isCopyable } from '../values/copy.js';
import { KeyChanges, type NotedTags } from './changes.js';
import type { NearSettings } from './settings.js';
import type { NearWatch, WatchedEntries } from './watch.js';

export interface NearEntriesOptions<Value> {
  /** The collection's name, or the view's. */
  readonly collection: string;
  readonly keyPrefix: string;
  /** The key of the list of ended tags; `undefined`: rows have no tags. */
  readonly listKey: string | undefined;
  readonly settings: NearSettings;
  /** The collection's, by which the cache drops entries. */
  readonly ttlMs: number;
  readonly negativeTtlMs: number;
  readonly clock: Clock;
  readonly cache: Pick<CacheClient, 'heads' | 'trust'>;
  readonly watch: NearWatch;
  readonly shape: StoreShape | undefined;
  /** About how many bytes a value takes. */
  readonly measure: (value: Value, key: string) => number;
}

/** A row as this process holds it. Callers get copies of `value`. */
export class NearEntry<Value> {
  readonly key: string;
  readonly value: Value | null;
  readonly version: Version;
  /** As the cache's entry says. */
  readonly staleAtMs: number;
  /** By the clock's `monotonic`. */
  readonly untilMs: number;
  readonly shape: RowShape | undefined;
  /** `undefined`: it hangs on none. */
  readonly tags: NotedTags | undefined;

  constructor(
    key: string,
    value: Value | null,
    { staleAtMs, version }: Pick<CacheHit, 'staleAtMs' | 'version'>,
    untilMs: number,
    { shape, tags }: Pick<NearMark, 'shape' | 'tags'>,
  ) {
    this.key = key;
    this.value = value;
    this.version = version;
    this.staleAtMs = staleAtMs;
    this.untilMs = untilMs;
    this.shape = shape;
    this.tags = tags;
  }
}

/** The state at the beginning of a read. Its answer becomes a near entry only if nothing of this has changed. */
export interface NearMark {
  readonly era: number;
  readonly changes: number;
  readonly shape: RowShape | undefined;
  /** The tags that the entry hangs on. */
  readonly tags: NotedTags | undefined;
}

/** Keys share counters of their changes: of two that do, a change of one keeps a read of the other from being stored. */
const COUNTERS = 4_096;
/**
 * An entry is read from the cache again after this share of its TTL, and at the latest after this time: the cache tells
 * that an entry has expired only when it comes across it.
 */
const TTL_SHARE = 0.1;
const MAX_AGE_MS = 60_000;
/** An entry without its value, about. */
const ENTRY_BYTES = 200;
const TAG_BYTES = 16;

/**
 * The near entries of one collection, or view: what reads found in the cache, until it is told that it has changed there. What was
 * under way when its key changed is not stored; whatever else is stored will be told.
 */
export class NearEntries<Value> implements WatchedEntries {
  readonly keyPrefix: string;
  readonly listKey: string | undefined;
  readonly maxStaleMs: number;
  /** True: a hit is served only once the cache has said that it holds the same. */
  readonly validates: boolean;
  readonly #options: NearEntriesOptions<Value>;
  readonly #entries: LRUCache<string, NearEntry<Value>>;
  readonly #clock: Clock;
  readonly #watch: NearWatch;
  readonly #shape: StoreShape | undefined;
  readonly #changes = new KeyChanges(COUNTERS);
  /** Counts the times that everything was dropped. */
  #era = 0;
  /** The list of ended tags, as the cache had it in this era: a change of it ends the era. */
  #list: CacheHit | undefined;
  #hits = 0;
  #misses = 0;
  #dropped = 0;

  constructor(options: NearEntriesOptions<Value>) {
    const { clock, keyPrefix, listKey, settings, shape, watch } = options;
    const { maxBytes, maxItems, maxStaleMs, validate } = settings;
    this.#options = options;
    this.keyPrefix = keyPrefix;
    this.listKey = listKey;
    this.maxStaleMs = maxStaleMs;
    this.validates = validate;
    this.#clock = clock;
    this.#watch = watch;
    this.#shape = shape;
    // 0: no bound of this kind.
    this.#entries = new LRUCache({ max: maxItems ?? 0, maxSize: maxBytes ?? 0 });
  }

  /** The entry, if it may be served now. Hot path: synchronous, and makes nothing. */
  find(key: string, minVersion: Version): NearEntry<Value> | undefined {
    const nowMs = this.#clock.monotonic();
    const watch = this.#watch;
    if (this.validates) return this.#maybe(key, minVersion);
    if (nowMs >= watch.nextPingMs) watch.ping(nowMs);
    const entry = this.#entries.get(key);
    if (
      entry === undefined ||
      nowMs - watch.provenAtMs >= this.maxStaleMs ||
      nowMs >= entry.untilMs ||
      entry.version < minVersion ||
      (this.#shape !== undefined && this.#shape.current() !== entry.shape)
    ) {
      this.#misses++;
      return undefined;
    }
    if (entry.tags?.areCurrent === false) {
      this.#entries.delete(key);
      this.#dropped++;
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    return entry;
  }

  /** An entry that is still to be validated. */
  #maybe(key: string, minVersion: Version): NearEntry<Value> | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.version >= minVersion && this.#shape?.current() === entry.shape)
      return entry;
    this.#misses++;
    return undefined;
  }

  /** Asks the cache whether it would answer a read with the very entry. Does not reject. */
  async isStill({ key, staleAtMs, value, version }: NearEntry<Value>): Promise<boolean> {
    const { cache } = this.#options;
    const cacheKey = this.keyPrefix + key;
    const head = await new Promise<CacheHead | Error | undefined>((resolve) =>
      cache.heads.add(cacheKey, resolve),
    );
    const isSame =
      head !== undefined &&
      !(head instanceof Error) &&
      head.version === version &&
      head.staleAtMs === staleAtMs &&
      head.absent === (value === null) &&
      (staleAtMs === 0 || this.#clock.now() < staleAtMs) &&
      version <= (cache.trust.proofOf(cacheKey)?.maxVersion ?? -1);
    if (isSame) this.#hits++;
    else this.#misses++;
    return isSame;
  }

  /** The list of ended tags, while that is as near as an entry may be. Hot path. */
  get list(): CacheHit | undefined {
    if (this.#list === undefined) return undefined;
    const agoMs = this.#clock.monotonic() - this.#watch.provenAtMs;
    return agoMs < this.maxStaleMs ? this.#list : undefined;
  }

  /** Keeps the list that came with a read that began at the mark, unless it may have changed since. */
  keepList({ era }: NearMark, list: CacheHit | undefined): void {
    const { listKey } = this;
    if (era !== this.#era || listKey === undefined || this.validates) return;
    // Right behind a failover the list would be held against the generation of the cache from before.
    if (this.#options.cache.trust.isKnownSince([listKey], this.#watch.sinceMs)) this.#list = list;
  }

  /** Called before a read of the key is sent to the cache; `undefined`: the answer is not to be stored. */
  mark(key: string, tags?: NotedTags): NearMark | undefined {
    if (!this.validates && this.#watch.provenAtMs === Number.NEGATIVE_INFINITY) return undefined;
    return { era: this.#era, changes: this.#changes.of(key), shape: this.#shape?.current(), tags };
  }

  /** Stores what a read found that began at the mark, unless it may have changed since. */
  store(key: string, mark: NearMark, hit: CacheHit, value: Value | null): void {
    if (mark.era !== this.#era || mark.changes !== this.#changes.of(key)) return;
    if (mark.tags?.areCurrent === false) return;
    const { measure, negativeTtlMs, settings, ttlMs } = this.#options;
    const shape = this.#shape?.current();
    if (shape !== mark.shape || (this.#shape !== undefined && shape === undefined)) return;
    // A value that callers could change in its copy is left to the cache.
    if (!isCopyable(value)) return;
    const ageMs = Math.min(MAX_AGE_MS, TTL_SHARE * (value === null ? negativeTtlMs : ttlMs));
    const { staleAtMs } = hit;
    const leftMs = staleAtMs > 0 ? staleAtMs - this.#clock.now() : Number.POSITIVE_INFINITY;
    const untilMs = this.#clock.monotonic() + Math.min(ageMs, leftMs);
    const entry = new NearEntry(key, copyOf(value), hit, untilMs, mark);
    if (settings.maxBytes === undefined) {
      this.#entries.set(key, entry);
    } else {
      const valueBytes = value === null || value === undefined ? 0 : measure(value, key);
      const size = ENTRY_BYTES + 2 * key.length + TAG_BYTES * (mark.tags?.size ?? 0) + valueBytes;
      this.#entries.set(key, entry, { size });
    }
  }

  changed(cacheKey: string): void {
    const key = cacheKey.slice(this.keyPrefix.length);
    this.#changes.changed(key);
    if (this.#entries.delete(key)) this.#dropped++;
  }

  clear(): void {
    this.#era++;
    this.#list = undefined;
    this.#dropped += this.#entries.size;
    this.#entries.clear();
  }

  status(live: boolean): NearStatus {
    const { calculatedSize: bytes, size: items } = this.#entries;
    const counts = { hits: this.#hits, misses: this.#misses, dropped: this.#dropped };
    return { collection: this.#options.collection, items, bytes, ...counts, live };
  }
}
