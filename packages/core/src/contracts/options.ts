import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Amount } from '../kit/decimal.js';
import type { CacheAdapter } from './cache.js';
import type { Clock } from './clock.js';
import type { AnnounceOptions } from './fleet.js';
import type { IntegrityOptions } from './integrity.js';
import type { UniqueSets } from './lookups.js';
import type { NearOptions } from './near.js';
import type { QueueAdapter } from './queue.js';
import type { Serializer } from './serializer.js';
import type { StoreAdapter, TransactionHost } from './store.js';
import type { TransactionMode } from './transaction-mode.js';
import type { Version } from './version.js';

/** How a collection weighs freshness against availability. */
export type Consistency = 'available' | 'strict';

/**
 * The way that writes take. `write-through`: to the store, then into the cache. `write-behind`: into the cache,
 * then, by the worker, to the store. `cache-aside`: to the store, then a floor into the cache; the next reader
 * loads.
 */
export type Strategy = 'write-through' | 'write-behind' | 'cache-aside';

/**
 * A transaction across collections. Once it is over (committed, rolled back, out of time, aborted, run again, its
 * connection lost, its body returned) each further call with it rejects with `TransactionOverError` and reaches
 * nobody; so do statements on `client`.
 */
export interface Transaction<Tx = unknown> {
  /** The driver's own handle. */
  readonly client: Tx;
}

/** Options that every call takes. */
export interface CallOptions {
  /** Gives up waiting; what was sent may still take effect. */
  readonly signal?: AbortSignal;
  /** The bound of the store's part, in ms. @defaultValue the collection's `storeTimeoutMs` */
  readonly timeoutMs?: number;
  /** Runs in this transaction: reads see it, fill nothing; the cache is touched after its commit. */
  readonly tx?: Transaction;
}

/** The cache is touched at once, so it takes no transaction. */
export type InvalidateOptions = Omit<CallOptions, 'tx'>;

export interface InvalidateAllOptions extends InvalidateOptions {
  /** The most entries that are invalidated each second, so that the store is not asked for all of them at once. @defaultValue 10_000 */
  readonly maxPerSecond?: number;
  /** Called with the number of entries invalidated so far, after each part of them. Must not throw. */
  readonly onProgress?: (invalidated: number) => void;
}

export interface ReadOptions extends CallOptions {
  /** Ask the store's primary, and put what it says into the cache. @defaultValue false */
  readonly fresh?: boolean;
  /** The time to live, in ms, of what this call puts into the cache. @defaultValue the collection's `ttlMs` */
  readonly ttlMs?: number;
}

export interface ReadOneOptions extends ReadOptions {
  /**
   * The row as of this version, which a write has returned to whoever passes it on, or newer: what is cached below it
   * is not served, but loaded from the store's primary and put in place. A row that is not there (any more) is
   * `undefined`, as always. Rejects with `VersionNotFoundError` when the primary's row is below it. 0, which stores
   * without versions return: none. Not inside a transaction. @defaultValue none
   */
  readonly minVersion?: Version;
}

export interface WriteOptions extends CallOptions {
  /** The time to live of the entry, in ms. @defaultValue the collection's `ttlMs` */
  readonly ttlMs?: number;
}

/** There is no row yet whose version could be a condition. */
export type CreateOptions = WriteOptions;

export interface PutOptions extends WriteOptions {
  /** Only if the row is at this version; `null`: only if there is none. Rejects with `ConflictError` otherwise. */
  readonly ifVersion?: Version | null;
}

export interface PatchOptions extends WriteOptions {
  /** Only if the row is at this version. Rejects with `ConflictError` otherwise. */
  readonly ifVersion?: Version;
}

export interface DeleteOptions extends WriteOptions {
  /** Only if the row is at this version. */
  readonly ifVersion?: Version;
}

export interface IncrementOptions extends WriteOptions {
  /** Refuse what would leave the field below this: `StoreRefusedError`. @defaultValue none */
  readonly min?: Amount;
  /** Refuse what would leave the field above this: `StoreRefusedError`. @defaultValue none */
  readonly max?: Amount;
}

export interface UpdateOptions extends WriteOptions {
  /** How often a lost compare-and-set is tried again. @defaultValue 10 */
  readonly retries?: number;
  /** Start from the cached value: one read fewer, one more conflict where it is old. @defaultValue true */
  readonly fromCache?: boolean;
}

/** The options of a collection: what it is, and the bounds of everything that it does. */
export interface CollectionOptions<
  Value,
  Id = string,
  Tx = unknown,
  Unique extends UniqueSets<Value> = UniqueSets<Value>,
> {
  /** Unique in this Lockstep; a part of every cache key. */
  readonly name: string;
  /** The store of the rows: `pg.table(…)`, `mongo.collection(…)`, `memoryStore(…)`, `callbackStore(…)`. */
  readonly store: StoreAdapter<Value, Id, Tx>;
  /**
   * Unique indexes of the table (a property, or a list of them) by which `getBy` finds rows. The store has to tell their
   * values with each change (Postgres: `pg.attach(table, { unique })`). They compare byte by byte, and are neither partial
   * nor of expressions. Excludes a buffer. @defaultValue none
   */
  readonly unique?: Unique;
  /**
   * The table has another cache, too (another prefix), which is meant. Without it a second one is refused when it opens,
   * and so is a collection whose keys in the cache hold rows of another store. @defaultValue false
   */
  readonly additional?: boolean;
  /**
   * Validates what is written (rejects), and what comes out of the cache (a mismatch is a counted miss). Whoever reads
   * gets the row as the schema gives it back, wherever it came from; a row of the store's that it does not take is
   * given as it is. It must leave its own output as it is: one that, for instance, doubles a price is refused with
   * `InvalidOptionError` at the first write.
   */
  readonly schema?: StandardSchemaV1<unknown, Value>;
  /** How long an entry lives, in ms; 0 is refused. @defaultValue 3_600_000 (an hour) */
  readonly ttlMs?: number;
  /** Each TTL is drawn from `ttlMs * (1 ± ttlJitter)`. @defaultValue 0.1 */
  readonly ttlJitter?: number;
  /** How long a row is known to be absent, in ms; 0: not remembered. @defaultValue 30_000 */
  readonly negativeTtlMs?: number;
  /**
   * With `consistency: 'available'`: an entry older than `ttlMs` is served this much longer, in ms, while
   * it is loaded again in the background. Never after an invalidation. 0: off. @defaultValue 0
   */
  readonly staleWhileRevalidateMs?: number;
  /**
   * With `consistency: 'available'`: while the store can't be reached (unavailable, overloaded, timed out), an entry
   * that merely expired is served this much longer, in ms, after `ttlMs` and `staleWhileRevalidateMs`, and
   * `getVersioned` says `from: 'stale'`. Never after an invalidation. Where no read was answered since the store was
   * away nobody waits: it is asked behind each. 0: off. @defaultValue 0
   */
  readonly staleIfErrorMs?: number;
  /**
   * Tags that views may name with `where`, and `invalidateTag` ends: properties, and lists of properties. The store must tell
   * their values with each change (`attach` with `tags`). Reads ask for one more key in the same round trip. An empty
   * list: views may depend on single rows, and on all, and reads cost nothing. @defaultValue no view may depend on rows
   */
  readonly tags?: UniqueSets<Value>;
  /** The way that writes take. @defaultValue 'write-through' */
  readonly strategy?: Strategy;
  /** Freshness against availability. @defaultValue 'available' */
  readonly consistency?: Consistency;
  /**
   * `jsonSerializer()`, `msgpackSerializer()` from `@lockstep/core/msgpack`, or your own.
   *
   * @defaultValue the store's, or JSON
   */
  readonly serializer?: Serializer;
  /**
   * A larger payload, in bytes, is not cached: its key gets a floor. Counted before it is compressed.
   *
   * @defaultValue 1_048_576
   */
  readonly maxPayloadBytes?: number;
  /** Compresses larger payloads. @defaultValue what `createLockstep` says; off */
  readonly compression?: CompressionOptions;
  /** The bound of a store call, and of the first call's wait for the store to open, in ms. @defaultValue 10_000 */
  readonly storeTimeoutMs?: number;
  /** How long a reader's lease on a missing key stands, in ms. @defaultValue 3_000 */
  readonly leaseMs?: number;
  /** How long a reader waits for another's load before it loads without filling, in ms. @defaultValue 2_000 */
  readonly leaseWaitMs?: number;
  /** How long a hole keeps its floor, in ms. @defaultValue 60_000 */
  readonly holeTtlMs?: number;
  /** Store reads at once from this process; more wait. @defaultValue 64 */
  readonly maxConcurrentLoads?: number;
  /** Store reads that may wait; more reject with `StoreOverloadedError`. @defaultValue 10_000 */
  readonly maxQueuedLoads?: number;
  /** Group commit. */
  readonly batch?: BatchOptions;
  /** Lets the cache acknowledge writes before the store has them, while the store can't keep up. @defaultValue off */
  readonly burst?: BurstOptions;
  /**
   * Keeps entries in this process, too, which may be served for a while after others have changed them. Excludes
   * `consistency: 'strict'`. @defaultValue off
   */
  readonly near?: NearOptions;
}

/**
 * The buffer: when writes go there, and its bounds. A buffered write is as durable as the cache's server; it
 * needs one that evicts only what has an expiry (`noeviction` or a `volatile-*` policy).
 */
export interface BurstOptions {
  /** Buffer once statements take longer than this, in ms. @defaultValue 100 */
  readonly storeLatencyMs?: number;
  /** Buffer once this many writes wait for the store. @defaultValue 1_000 */
  readonly waitingWrites?: number;
  /** Buffer the writes of a key that is written more often than this, per second. @defaultValue 200 */
  readonly keyRatePerSecond?: number;
  /** How long the pressure must be gone before writes try the store again, in ms. @defaultValue 1_000 */
  readonly quietMs?: number;
  /**
   * How long a write waits for the buffer before it goes to the store, in ms.
   *
   * @defaultValue 100 ms; 2 s with `durability: 'disk'`
   */
  readonly ackTimeoutMs?: number;
  /** Keys that may be unflushed at once, in all processes; more writes go to the store. @defaultValue 100_000 */
  readonly maxUnflushed?: number;
  /** How far the clocks of the cache's and the store's servers may be apart, in ms. @defaultValue 250 */
  readonly maxClockSkewMs?: number;
  /**
   * `disk`: acknowledge once the cache's server has the write in its append-only file (`WAITAOF`, server 7.2 or
   * later; not with Cluster). `memory`: at once; what a crash of that server loses is up to its own settings.
   * @defaultValue 'memory'
   */
  readonly durability?: 'memory' | 'disk';
}

/** Bounds of group commit: writes that arrive while a batch is under way travel together in the next. */
export interface BatchOptions {
  /** The most rows in a statement. @defaultValue 128 */
  readonly maxRows?: number;
  /** The most payload bytes in a statement, about; one larger row travels alone. @defaultValue 4_194_304 */
  readonly maxBytes?: number;
  /** Batches under way at once. @defaultValue 2; 32 where the store takes one command a call */
  readonly maxInFlight?: number;
  /** Writes that may wait; more wait outside, up to `queueTimeoutMs`. @defaultValue 10_000 */
  readonly maxWaiting?: number;
  /** How long a write may wait for a place, in ms; `StoreOverloadedError` then. @defaultValue 5_000 */
  readonly queueTimeoutMs?: number;
  /** Blind puts on one key that wait in one batch become the last of them. @defaultValue true */
  readonly coalesce?: boolean;
}

/** When to stop asking a cache that does not answer. */
export interface BreakerOptions {
  /** Cache calls that fail in a row before the cache is left alone. @defaultValue 5 */
  readonly threshold?: number;
  /** For how long, in ms, before one call tries again. @defaultValue 500 */
  readonly cooldownMs?: number;
}

/**
 * Compresses what is cached. A process that reads needs no option of its own: the payload says how it is compressed. The
 * bound of a value, `maxPayloadBytes`, is that of its length before. Of text (JSON) the compressed bytes travel in base64;
 * MessagePack stores them as they are.
 */
export interface CompressionOptions {
  /** `zstd` needs Node.js 22.15 or later (of 23: 23.8) in every process. `none`: where the default is another. */
  readonly algorithm: 'zstd' | 'brotli' | 'none';
  /** Payloads of fewer bytes stay as they are. @defaultValue 4_096 */
  readonly thresholdBytes?: number;
}

export interface LockstepOptions {
  /** A cache adapter: `redisCache`, `memoryCache`. */
  readonly cache: CacheAdapter;
  /** Takes the invalidations that the cache does not: `bullmqQueue`, `memoryQueue`. */
  readonly queue?: QueueAdapter;
  /** The start of every cache key. @defaultValue 'wtc' */
  readonly prefix?: string;
  /** The bound of a cache call, once it is sent, in ms. @defaultValue 250 */
  readonly cacheTimeoutMs?: number;
  /** The bound of handing a job to the queue, in ms. @defaultValue 500 */
  readonly queueTimeoutMs?: number;
  /** When to leave a cache alone that does not answer. */
  readonly breaker?: BreakerOptions;
  /** Compresses larger payloads of collections that don't say otherwise. @defaultValue off */
  readonly compression?: CompressionOptions;
  /** Believe only entries and jobs that were made with one of these keys. @defaultValue off: all are believed */
  readonly integrity?: IntegrityOptions;
  /** Tells operators that this process is alive, and how it fares. */
  readonly announce?: AnnounceOptions;
  /** Injected by tests. @defaultValue the system's */
  readonly clock?: Clock;
  /** Injected by tests: 0 <= n < 1. @defaultValue Math.random */
  readonly random?: () => number;
}

/** @typeParam Tx the driver's handle, which the body gets as `client`: that of `on` */
export interface TransactionOptions<Tx = unknown> extends TransactionMode {
  /** A store of the database, where collections live in several. @defaultValue the only one */
  readonly on?: { readonly transactions?: TransactionHost<Tx> | undefined };
  /** Resolve with `{ returned, outcomes }`: what became of each row that it changed, once it was committed. @defaultValue false */
  readonly outcomes?: boolean;
  /** The bound of the transaction, in ms. @defaultValue 10_000 */
  readonly timeoutMs?: number;
  /** Rolls it back. */
  readonly signal?: AbortSignal;
}

/** One record that no declared collection holds, and the caller's own functions for it. */
export interface ThroughOptions<Value> {
  /** Plays the collection's part in the key. */
  readonly namespace: string;
  /** The record's id. */
  readonly id: string;
  /** Reads the record from wherever it lives; `undefined`: there is none. Required by `read`. */
  readonly reader?: (id: string, context: CallbackContext) => Promise<Value | undefined>;
  /** Writes the record; a throw fails the write and leaves the cache to the next reader. Required by `write`. */
  readonly writer?: (id: string, value: Value, context: CallbackContext) => Promise<unknown>;
  /** How long its entry lives, in ms. @defaultValue 3_600_000 */
  readonly ttlMs?: number;
  /** One serializer per namespace. @defaultValue JSON */
  readonly serialize?: Serializer;
}

/** The context of a call of the caller's own function. */
export interface CallbackContext {
  /** Aborts when the engine gives up waiting: stop then, or a late write may reach the record unseen. */
  readonly signal: AbortSignal;
}

/** Options of `open`. */
export interface OpenOptions {
  /** How long each collection, the cache and the queue may take, in ms. @defaultValue 10_000 */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}
