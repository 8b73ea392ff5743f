import type { Amount } from '../kit/decimal.js';
import type { CacheAdapter } from './cache.js';
import type { CacheHit } from './cache-commands.js';
import type { LockstepEvents } from './events.js';
import type { Fleet } from './fleet.js';
import type { LookupValue, UniqueSets } from './lookups.js';
import type { NumericField } from './numeric.js';
import type {
  CollectionOptions,
  CreateOptions,
  DeleteOptions,
  IncrementOptions,
  InvalidateAllOptions,
  InvalidateOptions,
  OpenOptions,
  PatchOptions,
  PutOptions,
  ReadOneOptions,
  ReadOptions,
  ThroughOptions,
  Transaction,
  TransactionOptions,
  UpdateOptions,
  WriteOptions,
} from './options.js';
import type { CacheOutcome } from './outcome.js';
import type { QueueAdapter, QueueJob } from './queue.js';
import type { Relay, RelayOptions } from './relay.js';
import type { Serializer } from './serializer.js';
import type { LockstepStatus } from './status.js';
import type { RowPatch, StoreAdapter } from './store.js';
import type { TransactionMode } from './transaction-mode.js';
import type { Version } from './version.js';
import type { Dependency, View, ViewInfo, ViewOptions } from './views.js';

export type { CacheOutcome };

/** The result of a write. */
export interface WriteResult<Value> {
  /** The row as the store holds it, defaults and triggers included; `null` after a delete. */
  readonly value: Value | null;
  /** `0` when the store has no versions, or when a delete found no row. */
  readonly version: Version;
  /** `pending`: inside a transaction, which touches the cache after its commit; an event `write` then says how. */
  readonly cache: CacheOutcome | 'pending';
  /**
   * `buffered`: acknowledged by the cache, and on its way to the store; only where `burst` or the strategy
   * `write-behind` allow it. `pending`: inside a transaction that is not committed yet. `missing`: there is no row, and
   * the function of `update` has made none.
   */
  readonly store: 'committed' | 'buffered' | 'pending' | 'missing';
  /**
   * True when a later write of the same batch took this one's place; `value` and `version` are that one's. Of an
   * increment or an update `value` is its own all the same, which nobody finds in the row, and `version` one that the row
   * never has, or 0: as `ifVersion` it does not match.
   */
  readonly coalesced: boolean;
}

/** The outcome of a row that a transaction has changed, by whatever statement. */
export interface RowOutcome {
  /** The collection whose entry it is: one for each that shows the row. */
  readonly collection: string;
  readonly key: string;
  readonly version: Version;
  readonly cache: CacheOutcome;
}

/** The result of a committed transaction that was asked for its rows' outcomes. */
export interface TransactionResult<T> {
  readonly returned: T;
  readonly outcomes: readonly RowOutcome[];
}

/** A value with its version and where it came from. */
export interface Versioned<Value> {
  readonly value: Value | null;
  readonly version: Version;
  /**
   * `near`: an entry in this process (`near`). `stale`: an expired entry, since the store can't be reached
   * (`staleIfErrorMs`).
   */
  readonly from: 'near' | 'cache' | 'store' | 'stale' | 'transaction';
}

/**
 * A named set of entities of one type.
 *
 * @typeParam Value the entity
 * @typeParam Id what callers name an entity by
 * @typeParam Tx the driver's transaction handle
 * @typeParam Unique the unique indexes that it was declared with
 */
export interface Collection<
  Value,
  Id = string,
  Tx = unknown,
  Unique extends UniqueSets<Value> = UniqueSets<Value>,
> {
  readonly name: string;
  /**
   * The entity, or `undefined` when the store has none. The value is the caller's own: to change it changes nobody
   * else's, nor what is cached.
   */
  get(id: Id, options?: ReadOneOptions): Promise<Value | undefined>;
  /** Reads as `get` does; adds version and origin. */
  getVersioned(id: Id, options?: ReadOneOptions): Promise<Versioned<Value>>;
  /**
   * Position by position. The cache is asked with one call for each 512 keys (for fewer, where values are large), and
   * the store for what the cache lacks, with one for each 512 rows. Of more than 1,024 ids (or half of
   * `maxQueuedLoads`) one such part is read after the other, so that others' reads come in between.
   */
  getMany(ids: readonly Id[], options?: ReadOptions): Promise<(Value | undefined)[]>;
  /**
   * The entity that has a value in one of the collection's `unique` indexes; of several properties the value is an object of
   * them. What leads from the value to the row is cached, and that there is none (not under `strict`); the row is
   * read as `get` reads it, and has the value, or is not returned. After an acknowledged write of it a row is found by
   * what it has since then. Rejects with `InvalidIdError` for what no row can have, `null` and absence included.
   */
  getBy<const Index extends Unique[number]>(
    index: Index,
    value: LookupValue<Value, Index>,
    options?: ReadOptions,
  ): Promise<Value | undefined>;
  /** Position by position, as `getMany` reads. */
  getManyBy<const Index extends Unique[number]>(
    index: Index,
    values: readonly LookupValue<Value, Index>[],
    options?: ReadOptions,
  ): Promise<(Value | undefined)[]>;
  /**
   * Inserts an entity whose key the store makes (a sequence, a default, an `ObjectId`), as far as `value` does not give
   * it, and resolves with the row as stored. What else it leaves out gets its default; a schema is shown the value with
   * its key. Rejects with `ConflictError` when there is a row of that key, and with `UnsupportedError` where the store
   * makes no keys. A key that was drawn for what was refused is not used again.
   */
  create(value: Partial<Value>, options?: CreateOptions): Promise<WriteResult<Value>>;
  /** Stores the entity, whole, as it is when `put` is called. */
  put(id: Id, value: Value, options?: PutOptions): Promise<WriteResult<Value>>;
  /**
   * Stores many, in as few statements as the store can. Each is on its own: when some are refused the
   * others are committed, and it rejects with `PartialWriteError`.
   */
  putMany(entries: Iterable<readonly [Id, Value]>, options?: WriteOptions): Promise<WriteResult<Value>[]>;
  /**
   * Sets some properties of an existing row and leaves the others alone, without reading it first; patches of one row
   * that wait merge. Where the collection has a schema (which knows whole rows only), or the store no patches, the
   * row is read and written by compare-and-set. Rejects with `StoreRefusedError` (`noRow`) when there is no row.
   */
  patch(id: Id, partial: RowPatch<Value>, options?: PatchOptions): Promise<WriteResult<Value>>;
  /**
   * Reads, changes and stores by compare-and-set the properties that `change` has changed, and no others; when it
   * has changed none, what it saw is what the store has. `change` runs again when another writer came between,
   * so it must have no effects of its own; the second time the row is locked where the store can. Returning
   * `undefined` leaves the row alone, `null` deletes it; where there is no row, and none comes of it, the result says
   * `store: 'missing'`.
   * Calls of this process for one row stand in line: each function gets what the one before it made, and together they
   * are one statement where the store gives rows back as they were sent. Rejects with `ConflictError` after `retries`, or
   * when `change` takes too long while others wait; with `InvalidOptionError` when `change` writes its own row.
   */
  update(
    id: Id,
    change: (current: Value | undefined) => Value | null | undefined | Promise<Value | null | undefined>,
    options?: UpdateOptions,
  ): Promise<WriteResult<Value>>;
  /**
   * Adds to a numeric field of an existing row, exactly: a number counts as what its shortest text says, `0.1` as a
   * tenth, and `bigint` and decimal text (`'0.10'`) as they are. Increments of one row that wait may travel as one sum;
   * each caller is given, or refused, what it would have been alone, so that numbers drawn at the same time are 1, 2, 3.
   * Rejects with `StoreRefusedError` (`noRow`) when there is no row.
   * With `min` or `max` the row is read and written as `update` does, and what would pass a bound is refused alone.
   */
  increment(
    id: Id,
    field: NumericField<Value>,
    by: Amount,
    options?: IncrementOptions,
  ): Promise<WriteResult<Value>>;
  /** Deleting what is not there succeeds. */
  delete(id: Id, options?: DeleteOptions): Promise<WriteResult<Value>>;
  deleteMany(ids: Iterable<Id>, options?: WriteOptions): Promise<WriteResult<Value>[]>;
  /**
   * Runs the caller's own statements in a transaction of the store's, then puts the row at `id` into the cache. The
   * result is that row's; `outcomes` tells of each row that they changed. Bodies of one id run one after the other, in
   * this process, in line with the functions of `update`.
   */
  write<T>(
    id: Id,
    body: (tx: Tx) => Promise<T>,
    options?: WriteOptions & TransactionMode,
  ): Promise<WriteResult<Value> & TransactionResult<T>>;
  /** Makes what the cache holds unreadable: for rows that something without a change feed has changed. */
  invalidate(id: Id, options?: InvalidateOptions): Promise<CacheOutcome>;
  /**
   * A list of which each is an id is taken as ids; any other is one composite id.
   *
   * @deprecated Use `invalidateMany`.
   */
  invalidate(ids: readonly Id[], options?: InvalidateOptions): Promise<CacheOutcome>;
  /** Invalidates many. Resolves with the outcome of the one that fared worst. */
  invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<CacheOutcome>;
  /**
   * Invalidates every entry of the collection, in all processes: after a restore, or a bulk load past the triggers. In
   * parts, so that memory is bounded; what is buffered is flushed first, and stays where it can't be. What is loaded or
   * written meanwhile may stay. Rejects with `CacheUnavailableError` when the cache can't be walked to its end, and with
   * the signal's reason; what was reported is invalidated then, and the call can be made again.
   */
  invalidateAll(options?: InvalidateAllOptions): Promise<InvalidatedAll>;
  /** Brings what is buffered into the store, whoever wrote it. Resolves with how many writes that were. */
  flush(): Promise<number>;
  /** Loads from the store and puts it into the cache, whatever the cache holds. */
  refresh(id: Id, options?: ReadOneOptions): Promise<Value | undefined>;
  /** A view's dependency on every row. Throws `InvalidOptionError` where the collection has no `tags`. */
  any(): Dependency;
  /** A view's dependency on the row at an id, be it there or not. As `any`. */
  id(id: Id): Dependency;
  /**
   * A view's dependency on the rows that have these values; so also on each row that gets them, or has them no more.
   * Throws `InvalidOptionError` unless exactly these properties are among the collection's `tags`.
   */
  where(values: Partial<Value>): Dependency;
  /**
   * Makes what is cached of the rows with these values unreadable, in one step, however many there are, and every view that
   * depends on them: for what changed them unseen. It goes by the values that the cache has; what is cached of a row that is
   * not there, and what is buffered, stays. As `where`.
   */
  invalidateTag(values: Partial<Value>, options?: InvalidateOptions): Promise<CacheOutcome>;
}

/** The result of `invalidateAll`. */
export interface InvalidatedAll {
  /** Entries of the collection that were found in the cache, holes included. */
  readonly invalidated: number;
  /** The outcome of the one that fared worst. */
  readonly outcome: CacheOutcome;
}

/** One-off calls on one record. */
export interface ThroughRecord<Value> {
  /** Reads through the cache. */
  read(): Promise<Value | undefined>;
  /** Writes with `writer` first and the cache second. The writer's own error propagates. */
  write(value: Value): Promise<WriteResult<Value>>;
  invalidate(): Promise<CacheOutcome>;
}

/** A write-through cache over one cache and any number of collections. */
export interface Lockstep extends AsyncDisposable {
  readonly events: LockstepEvents;
  /**
   * This process's own switch. `false`: every read goes to the store, what is unflushed gets there first, and nothing more
   * is buffered; writes leave no values in the cache, and invalidate. `true`: the cache is used again, at once, unless it is
   * switched off for all processes. Begins as `false` where the environment's `LOCKSTEP_DISABLED` is `1` or `true`. Throws
   * `InvalidOptionError` for what is no boolean.
   *
   * @defaultValue true
   */
  enabled: boolean;
  status(): LockstepStatus;
  /** The processes that use this cache and say that they are alive (`announce`). */
  readonly fleet: Fleet;
  /**
   * Switches the cache of this prefix off for all processes, by a note in the store's registry, which each reads once a
   * second: see {@link enabled}. Needs no collection to be open. Resolves, once this process has read it, with the sources
   * (tables) that it is noted for; records that this store's role may not see are left out. Rejects with
   * `InvalidOptionError` where no store has a record of the cache, with `UnsupportedError` where no collection has a change
   * feed, and with a store's error, having told the others.
   */
  switchOff(): Promise<readonly string[]>;
  /** Takes `switchOff` back. A process that is switched off by its own `enabled` stays so. */
  switchOn(): Promise<readonly string[]>;
  /** Throws `InvalidOptionError`, `DuplicateCollectionError`. */
  collection<Value, Id = string, Tx = unknown, const Unique extends UniqueSets<Value> = UniqueSets<Value>>(
    options: CollectionOptions<Value, Id, Tx, Unique>,
  ): Collection<Value, Id, Tx, Unique>;
  /**
   * Runs `body` in one transaction of one database; the collections' calls take part with `{ tx }`. The
   * cache is touched only after the commit: for every tracked row that the transaction changed, by
   * whatever statement, and an event `write` tells of each. A transaction that rejects has changed nothing, unless
   * the error's `outcome` is `unknown`. When a statement fails there is nothing to commit: a body that goes on all
   * the same is rolled back, and rejects with that failure as the cause. Deadlocks and serialization failures run the
   * body again.
   */
  transaction<T, Tx = unknown>(
    body: (tx: Transaction<Tx>) => Promise<T>,
    options: TransactionOptions<Tx> & { readonly outcomes: true },
  ): Promise<TransactionResult<T>>;
  transaction<T, Tx = unknown>(
    body: (tx: Transaction<Tx>) => Promise<T>,
    options?: TransactionOptions<Tx> & { readonly outcomes?: false },
  ): Promise<T>;
  /**
   * Makes a view: the cached result of a query, never older than a write that was acknowledged before the read. Throws
   * `InvalidOptionError`, also for rows that `dependsOn` names and no tag tells of, and `DuplicateCollectionError`.
   */
  view<Params, Value, Client = unknown>(options: ViewOptions<Params, Value, Client>): View<Params, Value>;
  /** One-off calls for code that declares no collection. Throws `InvalidOptionError`. */
  through<Value>(options: ThroughOptions<Value>): ThroughRecord<Value>;
  /**
   * Opens all collections declared so far, now instead of with their first call, and asks cache and queue whether they
   * answer: for the start of an application, which would rather not start. Rejects with `NotReadyError`, which names
   * everything that is wrong: a table that is missing or not attached, another key, a password. May be called again.
   */
  open(options?: OpenOptions): Promise<void>;
  /** Starts a relay for the feeds of all collections declared so far. */
  startRelay(options?: RelayOptions): Relay;
  /** Handles one job of the queue: what a worker's consumer calls. */
  handleJob(job: QueueJob): Promise<void>;
  /** The parts that it composes, for workers and tools. */
  readonly cache: CacheAdapter;
  readonly queue: QueueAdapter | undefined;
  readonly prefix: string;
  readonly collections: readonly CollectionInfo[];
  readonly views: readonly ViewInfo[];
  /** Waits until nothing is under way: writes, background refreshes, hand-overs, acknowledgements. */
  drain(): Promise<void>;
  /**
   * Drains, then closes the cache, the queue, the stores and their feeds, except what another Lockstep of the process
   * uses: the last one closes that. A client that an adapter was given stays open. Calls after it reject with
   * `ClosedError`. Stores and their feeds can be given to another Lockstep; a cache or queue that was closed can't.
   */
  close(): Promise<void>;
}

/** A declared collection, as tools see it. */
export interface CollectionInfo {
  readonly name: string;
  /** The collection itself. Ids are what its store takes. */
  readonly calls: Collection<unknown, unknown>;
  /** As `Lockstep.open` does, this collection alone. Rejects as a call of it would. */
  readonly open: () => Promise<void>;
  readonly store: StoreAdapter<unknown, never>;
  /** The start of its cache keys; a store key follows. */
  readonly keyPrefix: string;
  readonly serializer: Serializer;
  /**
   * The row that an entry holds, as a read of this process would give it; `null`: absent. For whoever compares the cache
   * with the store: payloads are more than what the serializer made. Opens the collection where that is needed. Rejects
   * with `SerializationError` where this process can't read it, e.g. an entry of a later release's columns.
   */
  readonly decode: (entry: Pick<CacheHit, 'payload' | 'version'>, key: string) => Promise<unknown>;
  /** A row that `store.read` gave, as a read of this process would give it: through the schema. */
  readonly seen: (row: unknown) => Promise<unknown>;
  /** Keys whose newest write the store may not have yet; `undefined` where writes are never buffered. */
  readonly unflushed: (() => Promise<number>) | undefined;
}
