import { withinCacheTime } from '../cache/cache-time.js';
import type { CacheAdapter, ChangeListener, ChangeWatch } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { NearStatus } from '../contracts/near.js';
import { InvalidOptionError } from '../errors.js';
import { keyPrefixOf } from '../protocol/key.js';
import { TAG_STARTS } from '../protocol/tags.js';
import { type Kept, KeyChanges, NotedTags, TAG_COUNTERS } from './changes.js';

/** The near entries of one collection, or view, as the watch over the cache uses them. */
export interface WatchedEntries {
  readonly keyPrefix: string;
  /** The cache's key by which any entry may change; `undefined`: there is none. */
  readonly listKey: string | undefined;
  readonly maxStaleMs: number;
  /** True: each hit is validated, so that the entries need no messages. */
  readonly validates: boolean;
  /** The entry at a key of the cache has changed. */
  changed(cacheKey: string): void;
  /** Any entry may have changed. */
  clear(): void;
  status(live: boolean): NearStatus;
}

export interface NearWatchOptions {
  readonly adapter: CacheAdapter;
  /** The start of the watch's own keys. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly open: () => Promise<void>;
  /** Told when pings have failed a few times in a row. */
  readonly onBreak: (error: unknown) => void;
}

/** Each collection is a prefix, and each whose tags are watched a few more, that the cache compares with the key of every write. */
const MAX_COLLECTIONS = 64;
/** How often a ping is sent within the time that it proves, and at least. */
const PINGS = 3;
const PING_MS = 1_000;
const RETRY_MS = 100;
/** A connection comes about in less; more failures in a row are told. */
const TOLD_FAILURES = 3;

/**
 * The watch over the cache's changes for all near entries of one Lockstep, and the proof that it works: a ping that came
 * back behind all that was changed before it was sent. Near entries are served by the time of that sending, not of the
 * answer, which may have been held up for long.
 *
 * Pings are sent while there are reads. A watch that has lost something drops all entries, and proves nothing until a
 * ping that was sent afterwards comes back.
 */
export class NearWatch implements ChangeListener {
  /** When the last ping that came back was sent, by the clock's `monotonic`. A field: every read looks at it. */
  provenAtMs = Number.NEGATIVE_INFINITY;
  /** When the first ping was sent that came back since the last loss: what is known of the cache from before may be of another server. */
  sinceMs = Number.POSITIVE_INFINITY;
  /** When the next ping is due. */
  nextPingMs = Number.NEGATIVE_INFINITY;
  readonly #options: NearWatchOptions;
  readonly #byPrefix = new Map<string, WatchedEntries>();
  readonly #byListKey = new Map<string, WatchedEntries>();
  /** The starts of the keys of tags that entries may hang on; false: none does so far. */
  readonly #tags = new Map<string, boolean>();
  #tagChanges: KeyChanges | undefined;
  #watch: ChangeWatch | undefined;
  #everyMs = PING_MS;
  #watchedTags = 0;
  /** Counts `lost`: a ping that was sent before proves nothing. */
  #losses = 0;
  #pinging = false;
  #failures = 0;

  constructor(options: NearWatchOptions) {
    this.#options = options;
  }

  /** Throws `InvalidOptionError` where there are too many. */
  add(entries: WatchedEntries, where: string): void {
    const { adapter, prefix } = this.#options;
    if (this.#byPrefix.size >= MAX_COLLECTIONS) {
      throw new InvalidOptionError(
        `${where}.near`,
        `at most ${MAX_COLLECTIONS} collections and views may have it`,
      );
    }
    this.#byPrefix.set(entries.keyPrefix, entries);
    if (entries.validates) return;
    this.#watch ??= adapter.watchChanges?.(prefix, this);
    this.#everyMs = Math.min(this.#everyMs, entries.maxStaleMs / PINGS);
    this.#watch?.add(entries.keyPrefix);
    if (entries.listKey !== undefined) {
      this.#byListKey.set(entries.listKey, entries);
      this.#watch?.add(entries.listKey);
    }
    // Changes of these keys from before were not told.
    this.lost();
  }

  /** Entries may hang on tags whose keys start so; `watched`: they are watched already. */
  addTags(keyPrefix: string, watched = false): void {
    this.#tags.set(keyPrefix, watched);
  }

  /** False: they can't be watched. Entries that hang on them are kept from the next ping on. */
  watchTags(keyPrefix: string): boolean {
    const watched = this.#tags.get(keyPrefix);
    if (watched !== false) return watched === true;
    if (this.#watchedTags >= MAX_COLLECTIONS) return false;
    this.#watchedTags++;
    this.#tags.set(keyPrefix, true);
    for (const start of TAG_STARTS) this.#watch?.add(keyPrefix + start);
    this.lost();
    return true;
  }

  /** The tags that an entry will hang on, before they are read; `undefined`: it is not to be kept. */
  note(keys: readonly string[], tables: readonly Kept[]): NotedTags | undefined {
    this.#tagChanges ??= new KeyChanges(TAG_COUNTERS);
    const noted = new NotedTags(this.#tagChanges, tables);
    return this.alsoNote(noted, keys) ? noted : undefined;
  }

  /** Notes more of them. False: the entry is not to be kept. */
  alsoNote(noted: NotedTags, keys: readonly string[]): boolean {
    const areWatched = keys.every((key) => this.watchTags(keyPrefixOf(key)));
    if (areWatched) noted.add(keys);
    else noted.end();
    return areWatched;
  }

  changed(cacheKey: string): void {
    const keyPrefix = keyPrefixOf(cacheKey);
    if (this.#tags.get(keyPrefix) === true) this.#tagChanges?.changed(cacheKey);
    const entries = this.#byPrefix.get(keyPrefix);
    if (entries !== undefined) entries.changed(cacheKey);
    else this.#byListKey.get(cacheKey)?.clear();
  }

  lost(): void {
    this.#losses++;
    this.provenAtMs = Number.NEGATIVE_INFINITY;
    this.sinceMs = Number.POSITIVE_INFINITY;
    if (!this.#pinging) this.nextPingMs = Number.NEGATIVE_INFINITY;
    this.clear();
  }

  /** Drops all entries of all collections. */
  clear(): void {
    for (const entries of this.#byPrefix.values()) entries.clear();
  }

  /** Sends a ping, which is due. */
  ping(nowMs: number): void {
    const { clock, open, timeoutMs } = this.#options;
    const losses = this.#losses;
    this.#pinging = true;
    this.nextPingMs = Number.POSITIVE_INFINITY;
    const pinging = open().then(() => this.#watch?.ping());
    withinCacheTime(clock, pinging, timeoutMs, 'the watch over changes did not answer a ping').then(
      () => {
        this.#pinging = false;
        this.#failures = 0;
        this.nextPingMs = losses === this.#losses ? nowMs + this.#everyMs : Number.NEGATIVE_INFINITY;
        if (losses !== this.#losses) return;
        this.provenAtMs = nowMs;
        this.sinceMs = Math.min(this.sinceMs, nowMs);
      },
      (error: unknown) => {
        this.#pinging = false;
        this.nextPingMs = clock.monotonic() + Math.min(RETRY_MS, this.#everyMs);
        if (++this.#failures === TOLD_FAILURES) this.#options.onBreak(error);
      },
    );
  }

  status(): readonly NearStatus[] {
    const agoMs = this.#options.clock.monotonic() - this.provenAtMs;
    return [...this.#byPrefix.values()].map((entries) =>
      entries.status(entries.validates || agoMs < entries.maxStaleMs),
    );
  }

  async close(): Promise<void> {
    await this.#watch?.close();
  }
}
