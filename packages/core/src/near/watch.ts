import type { CacheAdapter, ChangeListener, ChangeWatch } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { NearStatus } from '../contracts/near.js';
import { CacheUnavailableError, InvalidOptionError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';

/** The near entries of one collection, as the watch over the cache uses them. */
export interface WatchedEntries {
  readonly keyPrefix: string;
  /** The cache's key by which any entry may change; `undefined`: there is none. */
  readonly listKey: string | undefined;
  readonly maxStaleMs: number;
  /** They rest on no message. */
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

/** Each is a prefix that the cache compares with the key of every write. */
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
  /** When the next ping is due. */
  nextPingMs = Number.NEGATIVE_INFINITY;
  readonly #options: NearWatchOptions;
  readonly #byPrefix = new Map<string, WatchedEntries>();
  readonly #byListKey = new Map<string, WatchedEntries>();
  #watch: ChangeWatch | undefined;
  #everyMs = PING_MS;
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
      throw new InvalidOptionError(`${where}.near`, `at most ${MAX_COLLECTIONS} collections may have it`);
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
    // What was changed of these before was not told.
    this.lost();
  }

  changed(cacheKey: string): void {
    // Prefix, name and id, the first two without a colon of their own.
    const end = cacheKey.indexOf(':', cacheKey.indexOf(':') + 1) + 1;
    const entries = this.#byPrefix.get(cacheKey.slice(0, end));
    if (entries !== undefined) entries.changed(cacheKey);
    else this.#byListKey.get(cacheKey)?.clear();
  }

  lost(): void {
    this.#losses++;
    this.provenAtMs = Number.NEGATIVE_INFINITY;
    if (!this.#pinging) this.nextPingMs = Number.NEGATIVE_INFINITY;
    this.clear();
  }

  /** A command of this process may have changed the entry. */
  written(cacheKey: string): void {
    this.changed(cacheKey);
  }

  /** A ping that was sent then has come back. */
  prove(sentAtMs: number): void {
    this.provenAtMs = sentAtMs;
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
    const late = (): Error =>
      new CacheUnavailableError(`the watch over changes did not answer a ping within ${timeoutMs} ms`);
    const pinging = open().then(() => this.#watch?.ping());
    withTimeout(clock, pinging, timeoutMs, late).then(
      () => {
        this.#pinging = false;
        this.#failures = 0;
        this.nextPingMs = losses === this.#losses ? nowMs + this.#everyMs : Number.NEGATIVE_INFINITY;
        if (losses === this.#losses) this.prove(nowMs);
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

  get isEmpty(): boolean {
    return this.#byPrefix.size === 0;
  }

  async close(): Promise<void> {
    await this.#watch?.close();
  }
}
