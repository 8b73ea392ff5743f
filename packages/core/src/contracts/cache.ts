import type { Version } from './version.js';

/** A serialised value: text (stored as UTF-8) or bytes. */
export type Payload = string | Uint8Array;

/** How a payload comes back from a read. One collection uses one encoding. */
export type PayloadEncoding = 'utf8' | 'binary';

/** What a reader may return without asking the store. */
export interface CacheHit {
  /** The value's version; `0` for a known absence without a version and for unversioned stores. */
  readonly version: Version;
  /** `null`: the row is known to be absent. */
  readonly payload: Payload | null;
  /** Milliseconds since the epoch after which the value should be refreshed; `0`: not before it expires. */
  readonly staleAtMs: number;
}

/**
 * A writer's note before its store write. On a hole or an empty key it notes the token; on a value it
 * changes nothing. The reply says the highest version that the entry knows.
 */
export interface ReserveCommand {
  readonly kind: 'reserve';
  readonly key: string;
  readonly token: string;
  /** How long a hole made by this command lives, in ms. */
  readonly holeTtlMs: number;
}

/** A strict or unversioned writer's note: turns a value into a hole that nobody fills while it stands. */
export interface IntendCommand {
  readonly kind: 'intend';
  readonly key: string;
  readonly token: string;
  /** How long from now the intent stands, in ms by the cache's clock; longer than the store write can take. */
  readonly deadlineMs: number;
  readonly holeTtlMs: number;
}

/** A writer's value after its commit. */
export interface PutCommand {
  readonly kind: 'put';
  readonly key: string;
  /** The token of the writer's reservation or intent; `undefined` when it has none. */
  readonly token: string | undefined;
  /** `0`: the store has no versions; only an intent that no other overlapped can place the value then. */
  readonly version: Version;
  /** `null`: the row was deleted. */
  readonly payload: Payload | null;
  readonly ttlMs: number;
  readonly staleAtMs: number;
  /** How long the hole lives that this command leaves where it can't place its value. */
  readonly holeTtlMs: number;
}

/** A reader's newer load of a key that holds a value: replaces a value of the same or a lower version, never a hole. */
export interface RefreshCommand {
  readonly kind: 'refresh';
  readonly key: string;
  readonly version: Version;
  readonly payload: Payload;
  readonly ttlMs: number;
  readonly staleAtMs: number;
}

/** Makes everything below a version unreadable. Harmless when late or repeated. */
export interface InvalidateCommand {
  readonly kind: 'invalidate';
  readonly key: string;
  /** `0`: of unknown version; whatever is cached goes, except a buffered write that the store does not have yet. */
  readonly version: Version;
  readonly holeTtlMs: number;
  /** Leave a hole on an empty key, too: for loads that may read a lagging replica. */
  readonly holeOnEmpty: boolean;
}

/** A reader's bid to be the one that loads a missing key. */
export interface LeaseCommand {
  readonly kind: 'lease';
  readonly key: string;
  readonly token: string;
  /** After this time, in ms, another reader may take the lease over. */
  readonly leaseMs: number;
  readonly holeTtlMs: number;
  readonly encoding: PayloadEncoding;
}

/** The lease holder's load. */
export interface FillCommand {
  readonly kind: 'fill';
  readonly key: string;
  readonly token: string;
  /** `0` with a `null` payload: no row was found. */
  readonly version: Version;
  readonly payload: Payload | null;
  readonly ttlMs: number;
  readonly staleAtMs: number;
}

/** Takes back whatever the token holds (lease, reservation, intent): its owner wrote and read nothing. */
export interface ReleaseCommand {
  readonly kind: 'release';
  readonly key: string;
  readonly token: string;
}

/** One atomic transition of the entry at one key. `protocol/entry.ts` says what each does. */
export type CacheCommand =
  | ReserveCommand
  | IntendCommand
  | PutCommand
  | RefreshCommand
  | InvalidateCommand
  | LeaseCommand
  | FillCommand
  | ReleaseCommand;

/** The reply to `reserve` and `intend`: the highest version that the entry knew, `0` for none. */
export interface ReserveReply {
  readonly kind: 'reserved';
  readonly known: Version;
}

/**
 * `stored`: the entry holds the value that was sent. `superseded`: it holds a newer one.
 * `floored`: it holds a hole that no older version can fill.
 */
export interface PutReply {
  readonly kind: 'put';
  readonly outcome: 'stored' | 'superseded' | 'floored';
}

/** `stored`: replaced. `refused`: the key holds no value, or a newer one. */
export interface RefreshReply {
  readonly kind: 'refresh';
  readonly outcome: 'stored' | 'refused';
}

/** `floored`: the entry is a hole with at least this floor. `nothing`: nothing older was there. */
export interface InvalidateReply {
  readonly kind: 'invalidate';
  readonly outcome: 'floored' | 'nothing';
}

/**
 * `hit`: somebody filled it. `granted`: load it. `busy`: another reader loads it. `pass`: writers are
 * under way; load it and fill nothing. `floor`: a load below it is from a lagging replica.
 */
export type LeaseReply =
  | { readonly kind: 'lease'; readonly outcome: 'hit'; readonly hit: CacheHit }
  | { readonly kind: 'lease'; readonly outcome: 'granted'; readonly floor: Version }
  | {
      readonly kind: 'lease';
      readonly outcome: 'busy';
      readonly floor: Version;
      readonly remainingMs: number;
    }
  | { readonly kind: 'lease'; readonly outcome: 'pass'; readonly floor: Version };

/** `lost`: the lease was ended or taken over. `below-floor`: the lease still stands; a restamped row may fill. */
export type FillReply =
  | { readonly kind: 'fill'; readonly outcome: 'filled' }
  | { readonly kind: 'fill'; readonly outcome: 'lost' }
  | { readonly kind: 'fill'; readonly outcome: 'below-floor'; readonly floor: Version };

export interface ReleaseReply {
  readonly kind: 'release';
}

export type CacheReply =
  | ReserveReply
  | PutReply
  | RefreshReply
  | InvalidateReply
  | LeaseReply
  | FillReply
  | ReleaseReply;

/** The reply that belongs to a command. */
export type ReplyOf<C extends CacheCommand> = C extends ReserveCommand | IntendCommand
  ? ReserveReply
  : C extends PutCommand
    ? PutReply
    : C extends RefreshCommand
      ? RefreshReply
      : C extends InvalidateCommand
        ? InvalidateReply
        : C extends LeaseCommand
          ? LeaseReply
          : C extends FillCommand
            ? FillReply
            : ReleaseReply;

/** What a cache says of itself when asked. */
export interface CacheInfo {
  /** True when the server may drop entries that have not expired; `undefined` when it does not say. */
  readonly evicts: boolean | undefined;
  /**
   * Changes when the server may have lost acknowledged writes (a restart, a failover); `undefined`
   * when it can't be told.
   */
  readonly generation: string | undefined;
  /** The policy, version and topology in words, for logs. */
  readonly description: string;
}

/** One cached key as `scan` sees it. */
export interface ScannedEntry {
  readonly key: string;
  /** The value's version, or the hole's floor. */
  readonly version: Version;
  readonly state: 'value' | 'hole';
  /** The payload of a value; `null` for an absent value and for a hole. */
  readonly payload: Payload | null;
}

/**
 * A cache: keys to entries, with the protocol's transitions, each atomic on its one key.
 *
 * Contract: `read` and `execute` answer position by position; a command that failed alone is an
 * `Error` in its place, and only a call of which nothing can be said rejects. Commands of one call on
 * one key take effect in their order; across keys there is no order. After a rejection or an `Error`
 * it is unknown whether the command took effect or still will: every command tolerates that. The
 * engine bounds the wait; an adapter must drop, not queue without bound, what it can't send.
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
  /** What the server says of itself. */
  info(): Promise<CacheInfo>;
  /** Every entry whose key starts with `prefix`, each at least once unless it changes meanwhile. For audits, not for serving. */
  scan(prefix: string, encoding: PayloadEncoding): AsyncIterable<ScannedEntry>;
  /** Ends what the adapter opened; leaves alone a client that was handed in. */
  close(): Promise<void>;
}
