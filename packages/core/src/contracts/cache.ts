import type {
  CacheCommand,
  CacheHead,
  CacheHit,
  CacheReply,
  Payload,
  PayloadEncoding,
} from './cache-commands.js';
import type { Version } from './version.js';

/** A cache's description of itself. */
export interface CacheInfo {
  /** True when the server may drop entries that have not expired; `undefined` when it does not say. */
  readonly evicts: boolean | undefined;
  /** True when it may drop even entries without an expiry, so that it must not hold a buffer; `undefined`: not known. */
  readonly evictsPersistent?: boolean | undefined;
  /** False when it keeps no append-only file, so that it confirms no write as being on its disk; `undefined`: not known. */
  readonly appendsToFile?: boolean | undefined;
  /** The problem with the servers' version; `undefined`: there is none, or they do not tell it. */
  readonly outdated?: string | undefined;
  /**
   * Changes when the server may have lost acknowledged writes (a restart, a failover); `undefined`
   * when it can't be told. Of several primaries: what each one's probe says, sorted, joined by commas.
   */
  readonly generation: string | undefined;
  /** How many primaries there are, each of which may lose writes by itself. @defaultValue 1 */
  readonly primaries?: number;
  /** The policy, version and topology in words, for logs. */
  readonly description: string;
}

/** A primary's proof that it takes invalidations. */
export interface CacheProbe {
  /**
   * Whose proof it is: changes when this primary may have lost acknowledged writes (a restart, a failover);
   * `undefined` when it can't be told. {@link CacheInfo.generation} holds that of every primary.
   */
  readonly generation: string | undefined;
  /** The primary's clock when it answered, in ms since the epoch. */
  readonly nowMs: number;
}

/** One cached key as `scan` sees it. */
export interface ScannedEntry {
  readonly key: string;
  /** The value's version, or the hole's floor. */
  readonly version: Version;
  readonly state: 'value' | 'hole';
  /** The payload of a value; `null` for an absent value and for a hole. */
  readonly payload: Payload | null;
  /** True for a buffered write that the store does not have yet. */
  readonly unflushed?: boolean;
}

/** The content of a cache key, for a person to look at. */
export interface InspectedEntry extends ScannedEntry {
  /** How long it is kept, in ms; `undefined`: until it is removed, as a buffered write is. */
  readonly expiresInMs: number | undefined;
  /** When a value should be refreshed, in ms since the epoch; `0`: not before it expires. */
  readonly staleAtMs: number;
  /** A hole of a row that is known to be absent: readers take it. */
  readonly knownAbsent: boolean;
}

/** Paces a scan, and follows it, so that another can go on where it has ended. */
export interface ScanOptions {
  /** How long it rests after each step of at most some hundred keys, whoever they belong to, in ms. @defaultValue 0 */
  readonly pauseMs?: number;
  /** A position that an earlier scan of the same prefix told. One that the cache does not know begins anew. */
  readonly from?: string;
  /**
   * Told when all entries before `position` were handed over; `share`: about how much that is, from 0 to 1. An adapter
   * without positions tells none.
   */
  readonly at?: (position: string, share: number | undefined) => void;
}

/** A key in the index of unflushed keys. */
export interface UnflushedKey {
  readonly key: string;
  /** Changes with every addition of the key; older ones are lower. */
  readonly mark: number;
}

/**
 * The keys that may hold buffered writes. A key is added before its entry is written and removed once the
 * store has it, so that after a crash at any instruction the index names every unflushed entry.
 */
export interface UnflushedIndex {
  /** True when a `buffer` command's `durable` is honoured. */
  readonly durable: boolean;
  /**
   * Adds the keys, or moves them up when they are in it. `marks` says position by position which mark the
   * key got; `undefined`: the index is full, and takes no new ones beyond `limit`. `nowMs` is the cache's
   * clock at that moment.
   */
  add(
    index: string,
    keys: readonly string[],
    limit: number,
  ): Promise<{ readonly nowMs: number; readonly marks: readonly (number | undefined)[] }>;
  /** The oldest first, above a mark: at most `limit`. */
  list(index: string, afterMark: number, limit: number): Promise<readonly UnflushedKey[]>;
  /** Removes each key unless it was added again since its mark. */
  remove(index: string, keys: readonly UnflushedKey[]): Promise<void>;
  size(index: string): Promise<number>;
}

/** Notices that processes leave for each other: few, short, and gone by themselves. No guarantee rests on them. */
export interface NoticeBoard {
  /**
   * Puts a notice in the place of the one of that name, for `ttlMs`. False where `limit` others are there: it was not
   * taken.
   */
  post(
    board: string,
    name: string,
    text: string,
    lasts: { readonly ttlMs: number; readonly limit: number },
  ): Promise<boolean>;
  /** The notices whose time is not over. */
  list(board: string): Promise<readonly string[]>;
  remove(board: string, name: string): Promise<void>;
}

/** Who is told of changes of entries. Its functions return at once and must not throw. */
export interface ChangeListener {
  /** The entry at a key was written, removed, evicted or has expired. Told in vain at times. */
  changed(key: string): void;
  /** Changes may have gone untold: the way on which they are told has broken, or everything was dropped. */
  lost(): void;
}

/** A listener's watch over a cache's entries. */
export interface ChangeWatch {
  /**
   * Watches every key that starts with the prefix, too, from the next ping on. None of the prefixes starts with another.
   */
  add(prefix: string): void;
  /**
   * Resolves once the listener was told of every change that was made before the call, by primaries that take
   * invalidations at that time; what is changed afterwards is told, or `lost` is. Rejects where that can't be said, and
   * within the adapter's own time. Tries to mend what is broken; so it is to be called again.
   */
  ping(): Promise<void>;
  /** Nothing more is told. */
  close(): Promise<void>;
}

/**
 * A cache: keys to entries, with the protocol's transitions, each atomic on its one key.
 *
 * Contract: `read` and `execute` answer position by position; a command that failed alone is an
 * `Error` in its place, and only a call of which nothing can be said rejects. Commands of one call on
 * one key take effect in their order; across keys there is no order. After a rejection or an `Error`
 * it is unknown whether the command took effect or still will: every command tolerates that.
 *
 * Who bounds what: the engine bounds how long its callers wait (`cacheTimeoutMs`) and how much it asks for at once;
 * an adapter bounds what it holds in memory, and must drop, not queue without bound, what it can't send. It
 * ends each call in a time of its own, too, since a worker or a test may call it without an engine.
 *
 * An `Error` that is a `CacheUnavailableError` says that a server is away or refuses all writes: the engine
 * leaves a cache alone that goes on saying so. Any other concerns its command alone.
 *
 * Anything at a key that is no entry counts as empty and is replaced; so does an entry whose version is further
 * ahead of the cache's own clock than `MAX_VERSION_AHEAD_MS`. An entry of an unknown format, which a later release
 * may have written, is neither read nor replaced. A token is 1 to `MAX_TOKEN_BYTES` bytes long.
 */
export interface CacheAdapter {
  /** For messages and metrics, e.g. `redis`. */
  readonly name: string;
  /** True when every process sees the same entries. */
  readonly shared: boolean;
  /** True when a call costs no round trip, so that waiting for neighbours gains nothing. */
  readonly local: boolean;
  /** Connects; called once before first use. Rejects with `CacheUnavailableError`. */
  open?(): Promise<void>;
  /** Reads many keys at once. `undefined`: a miss. */
  read(
    keys: readonly string[],
    encoding: PayloadEncoding,
  ): Promise<readonly (CacheHit | undefined | Error)[]>;
  /** Runs many transitions in one round trip. */
  execute(commands: readonly CacheCommand[]): Promise<readonly (CacheReply | Error)[]>;
  /** The server's description of itself. */
  info(): Promise<CacheInfo>;
  /**
   * Asks every primary to make an invalidation, in the way of `invalidate` commands, on a key of its own that
   * starts with `prefix`. What an invalidation would meet the probe must meet: it fails on a server that answers
   * reads and refuses writes, and succeeds on a full one that can still invalidate. By the names that `primaryOf`
   * gives; rejects when no primary can be asked. The engine bounds the wait.
   */
  probe(prefix: string): Promise<ReadonlyMap<string, CacheProbe | Error>>;
  /**
   * Asks every primary for how long it has kept what it was told, in ms by its own clock: since it was first asked
   * under this prefix after it had lost anything (a restart, a failover, a flush of everything). By the names that
   * `primaryOf` gives; rejects when no primary can be asked. The engine bounds the wait.
   */
  kept(prefix: string): Promise<ReadonlyMap<string, number | Error>>;
  /** Names the primary that holds a key, as far as is known. Absent: there is one, named `''`. */
  primaryOf?(key: string): string;
  /**
   * Every entry whose key starts with `prefix`, each at least once unless it changes meanwhile. For audits, not for
   * serving.
   */
  scan(prefix: string, encoding: PayloadEncoding, options?: ScanOptions): AsyncIterable<ScannedEntry>;
  /** The content of a key, holes included; `undefined`: no entry. Absent: tools see what readers see. */
  inspect?(key: string, encoding: PayloadEncoding): Promise<InspectedEntry | undefined>;
  /** The index that a buffer needs beside the entries; `undefined`: this cache holds no buffered writes. */
  readonly unflushed?: UnflushedIndex;
  /** The board on which the processes of this cache say that they are alive; `undefined`: there is none. */
  readonly notices?: NoticeBoard;
  /**
   * Tells of each change of an entry, whoever makes it: a transition, a deletion, an eviction, an expiry, a flush. It may
   * come late, but behind none that was made after it. Absent: this cache can't tell, and no collection over it can have
   * near entries.
   *
   * @param prefix the start of keys of the watch's own, as that of `probe`
   */
  watchChanges?(prefix: string, listener: ChangeListener): ChangeWatch;
  /**
   * As `read`, without the payloads, which may be long. Absent: this cache can't read less than an entry, and no near entry
   * over it can be validated.
   */
  readHeads?(keys: readonly string[]): Promise<readonly (CacheHead | undefined | Error)[]>;
  /** Ends what the adapter opened; leaves alone a client that was handed in. */
  close(): Promise<void>;
}
