import type { Version } from './version.js';

/** The longest token of a command, in bytes of UTF-8. */
export const MAX_TOKEN_BYTES = 200;

/** The longest text of a tag's token in the cache, in bytes: the command's token and the cache's clock. */
export const MAX_TAG_BYTES = 224;

/** A serialised value: text (stored as UTF-8) or bytes. */
export type Payload = string | Uint8Array;

/** How a payload comes back from a read. One collection uses one encoding. */
export type PayloadEncoding = 'utf8' | 'binary';

/** An entry that a reader may return without asking the store. */
export interface CacheHit {
  /** The value's version; `0` for a known absence without a version and for unversioned stores. */
  readonly version: Version;
  /** `null`: the row is known to be absent. */
  readonly payload: Payload | null;
  /** Milliseconds since the epoch after which the value should be refreshed; `0`: not before it expires. */
  readonly staleAtMs: number;
  /** True for a buffered write that the store does not have yet. */
  readonly unflushed?: boolean;
}

/** A hit without its payload: enough to tell it from a later one of its key. */
export interface CacheHead extends Pick<CacheHit, 'version' | 'staleAtMs'> {
  /** The row is known to be absent. */
  readonly absent: boolean;
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

/**
 * A reader's newer load of a key that holds a value: replaces a value of the same or a lower version, never a hole.
 */
export interface RefreshCommand {
  readonly kind: 'refresh';
  readonly key: string;
  readonly version: Version;
  readonly payload: Payload;
  readonly ttlMs: number;
  readonly staleAtMs: number;
  /**
   * The entry that the key held before the load. Given, only exactly that is replaced (payload and `staleAtMs`), and no
   * unflushed write: without versions nothing else tells that no write came between.
   */
  readonly unchanged?: CacheHit;
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

/**
 * A write that the cache acknowledges before the store has it. The cache gives it its version, odd and
 * above both what the entry holds and the cache's clock in µs; marks the entry unflushed, and takes its
 * expiry away. Only on a value, or an absence whose version is known. An adapter sends it once, or not at all:
 * applied twice it would be two writes.
 */
export interface BufferCommand {
  readonly kind: 'buffer';
  readonly key: string;
  /** `null`: the row is to be deleted. */
  readonly payload: Payload | null;
  /** A deadline by the cache's clock, in ms since the epoch: a command that is applied later does nothing. */
  readonly notAfterMs: number;
  /** Answer only once the cache has it on its disk; an `Error` where that can't be confirmed. */
  readonly durable: boolean;
}

/** The outcome of a buffered write in the store. */
export interface FlushedCommand {
  readonly kind: 'flushed';
  readonly key: string;
  /** The version that was flushed: an entry that is unflushed at another one stays as it is. */
  readonly version: Version;
  /** `stored`: the mark goes and the entry expires again. `refused`: the entry becomes a hole. */
  readonly outcome: 'stored' | 'refused';
  readonly ttlMs: number;
  readonly staleAtMs: number;
  readonly holeTtlMs: number;
}

/**
 * A reader's question for a tag's token, before a load that depends on the tag. A tag that is there keeps its token, and
 * lives at least `ttlMs` from now; an empty key, or a hole, becomes a tag. A tag is an entry: a value of version `0`
 * whose payload is the token. An `invalidate` of version `0` ends it, and no later tag has its token.
 */
export interface TagCommand {
  readonly kind: 'tag';
  readonly key: string;
  /** Unique for ever. The cache adds its clock, so that a command that arrives twice makes two tokens. */
  readonly token: string;
  readonly ttlMs: number;
}

/** One atomic transition of the entry at one key. `protocol/transitions.ts` says what each does. */
export type CacheCommand =
  | ReserveCommand
  | IntendCommand
  | PutCommand
  | RefreshCommand
  | InvalidateCommand
  | LeaseCommand
  | FillCommand
  | ReleaseCommand
  | BufferCommand
  | FlushedCommand
  | TagCommand;

/** The reply to `reserve` and `intend`: the highest version that the entry knew, `0` for none. */
export interface ReserveReply {
  readonly kind: 'reserved';
  readonly known: Version;
  /** Set: nothing was noted. `foreign`: the entry is of another release's format. `full`: too many intents stand. */
  readonly refused?: 'foreign' | 'full';
  /** True: the entry is unflushed. An intent was not noted then: the key has to be flushed first. */
  readonly unflushed?: boolean;
}

/**
 * `stored`: the entry holds the value that was sent. `superseded`: it holds a newer one.
 * `floored`: it holds a hole that no older version can fill. `foreign`: the entry is of another release's
 * format, and stays as it is.
 */
export interface PutReply {
  readonly kind: 'put';
  readonly outcome: 'stored' | 'superseded' | 'floored' | 'foreign';
}

/** `stored`: replaced. `refused`: the key holds no value, or a newer one. */
export interface RefreshReply {
  readonly kind: 'refresh';
  readonly outcome: 'stored' | 'refused';
}

/**
 * `floored`: the entry is a hole with at least this floor. `nothing`: nothing older was there. `foreign`: the
 * entry is of another release's format, and stays as it is.
 */
export interface InvalidateReply {
  readonly kind: 'invalidate';
  readonly outcome: 'floored' | 'nothing' | 'foreign';
  /** The version of a buffered write that the store will refuse, since it has this newer one. */
  readonly superseded?: Version;
}

/**
 * `hit`: somebody filled it. `granted`: load it. `busy`: another reader loads it. `pass`: writers are
 * under way, or the hole's floor is beyond belief; load it and fill nothing. `foreign`: the entry is of another
 * release's format; load it and fill nothing. `floor`: a load below it is from a lagging replica. `behind`: an
 * intent ran out here, whose writer may still commit.
 */
export type LeaseReply =
  | { readonly kind: 'lease'; readonly outcome: 'hit'; readonly hit: CacheHit }
  | {
      readonly kind: 'lease';
      readonly outcome: 'granted';
      readonly floor: Version;
      readonly behind?: true;
    }
  | {
      readonly kind: 'lease';
      readonly outcome: 'busy';
      readonly floor: Version;
      readonly remainingMs: number;
    }
  | { readonly kind: 'lease'; readonly outcome: 'pass'; readonly floor: Version }
  | { readonly kind: 'lease'; readonly outcome: 'foreign' };

/** `lost`: the lease was ended or taken over. `below-floor`: the lease still stands; a restamped row may fill. */
export type FillReply =
  | { readonly kind: 'fill'; readonly outcome: 'filled' }
  | { readonly kind: 'fill'; readonly outcome: 'lost' }
  | { readonly kind: 'fill'; readonly outcome: 'below-floor'; readonly floor: Version };

export interface ReleaseReply {
  readonly kind: 'release';
  /** True when the lease still was the token's: as after a fill that was accepted, no write came since it was taken. */
  readonly held: boolean;
}

/**
 * `buffered`: acknowledged, at this version. `unfit`: the key holds no value and no absence of known version.
 * `late`: it came after its deadline.
 */
export type BufferReply =
  | { readonly kind: 'buffer'; readonly outcome: 'buffered'; readonly version: Version }
  | { readonly kind: 'buffer'; readonly outcome: 'unfit' | 'late' };

/** `cleared`: the entry was unflushed at this version. `kept`: at another one. `nothing`: it was not. */
export interface FlushedReply {
  readonly kind: 'flushed';
  readonly outcome: 'cleared' | 'kept' | 'nothing';
}

/** `undefined`: what is there is no tag, and stays as it is (another release's entry, a buffered write). */
export interface TagReply {
  readonly kind: 'tag';
  readonly token: string | undefined;
}

interface Replies {
  readonly reserve: ReserveReply;
  readonly intend: ReserveReply;
  readonly put: PutReply;
  readonly refresh: RefreshReply;
  readonly invalidate: InvalidateReply;
  readonly lease: LeaseReply;
  readonly fill: FillReply;
  readonly release: ReleaseReply;
  readonly buffer: BufferReply;
  readonly flushed: FlushedReply;
  readonly tag: TagReply;
}

export type CacheReply = Replies[keyof Replies];

/** The reply that belongs to a command. */
export type ReplyOf<C extends CacheCommand> = Replies[C['kind']];
