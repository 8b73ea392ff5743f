import type { StoreDeclarations } from './declared.js';
import type { Change, ChangeFeed } from './feed.js';
import type { NewRows, RowCarrier, StoreShape } from './rows.js';
import type { Serializer } from './serializer.js';
import type { StoreCapabilities } from './store-capabilities.js';
import type { RowPatch, StoreCommand, StoreOutcome } from './store-commands.js';
import type { StoreOpenOptions } from './store-open.js';
import type { StoreFinding, StoreRepair } from './tools.js';
import type { TransactionMode } from './transaction-mode.js';
import type { Version } from './version.js';

export type * from './store-commands.js';

/** A row as the store holds it. */
export interface StoreRow<Value> {
  /** The row's own key in canonical form, as `keyOf` gives it. */
  readonly key: string;
  readonly value: Value;
  /** `0` when the store has no versions. */
  readonly version: Version;
}

/** The bound of a call, and the transaction that it belongs to. */
export interface StoreCallOptions {
  /**
   * The bound of the call in ms. The adapter holds it: the call settles within it, with `StoreTimeoutError` at the
   * latest, whatever the server does (`Deadline` of `@lockstep/core/kit`). The store must make sure that a write can't
   * commit later, either (a server-side statement time-out). The engine gives up its callers' wait a moment later.
   */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The transaction to run in; `undefined`: on its own. */
  readonly tx?: StoreTransaction | undefined;
}

export interface StoreWriteOptions extends StoreCallOptions {
  /**
   * Refuse the write once the store's clock is past this, in ms since the epoch: judged under the lock of each
   * row that it writes (`StoreTimeoutError` then). {@link StoreFence.settle} waits for it from before that
   * judgement to its commit. Only where the adapter has a `fence`, and not inside a transaction.
   */
  readonly notAfterMs?: number | undefined;
}

export interface StoreReadOptions extends StoreCallOptions {
  /** Read where writes go, never from a replica. */
  readonly primary: boolean;
  /**
   * Buffered writes of the keys have just been flushed, by anybody. A transaction whose snapshot is older runs again
   * rather than miss it: at most once for each row, so that later flushes never keep it from ending.
   * @defaultValue false
   */
  readonly flushed?: boolean;
  /**
   * Lock the row until the transaction ends: whoever writes it waits for that, or meets it and tries again. The row is as
   * it stands under the lock. Of one key, with `tx`, and with the capability `locks` only. @defaultValue false
   */
  readonly lock?: boolean;
}

/** The parts that a store needs in its database (a version column, triggers, a change feed), for tools that install them. */
export interface StoreInstallation {
  /** Puts it there; does nothing where all is in place. Throws as the store's own `attach`, whose options it takes. */
  install(options?: Readonly<Record<string, unknown>>): Promise<void>;
  /** Takes it out. */
  uninstall(): Promise<void>;
  /** The statements of either, as a script. Absent: the store has no language for that. */
  script?(direction: 'install' | 'uninstall'): Promise<string>;
  /** Looks at the server, its version, the connection's rights and the way to it; changes nothing. Bounded. */
  examine?(): Promise<readonly StoreFinding[]>;
  /** Brings down versions that nobody believes, in rows, tombstones and the feed, which then tells of the keys. */
  repair?(): Promise<StoreRepair>;
}

/**
 * How a store takes part in the deadlines of writers whose intents in the cache run out. Whoever writes under an
 * intent either is refused, since it came to the row after its deadline, or has made itself known before, so
 * that a reader can wait for it: a commit may come late, never unseen.
 */
export interface StoreFence {
  /**
   * The store's clock, in ms since the epoch: never ahead of it, and normally less than a round trip behind.
   * A promise where the store has to be asked.
   */
  nowMs(): number | Promise<number>;
  /**
   * Makes a transaction known as a writer of the keys, until its end. The statements in it that change rows are
   * refused from `timeoutMs` after its body was called, the caller's own included.
   */
  enter(
    keys: readonly string[],
    options: StoreCallOptions & { readonly tx: StoreTransaction },
  ): Promise<void>;
  /**
   * Waits for the writers of the key that are known now. True: all have ended, and a read that begins from now
   * on sees what they committed. False: that was not to be had within `timeoutMs`.
   */
  settle(key: string, options: StoreCallOptions): Promise<boolean>;
}

/** The options of a transaction. */
export interface StoreTransactionOptions extends StoreCallOptions, TransactionMode {}

/**
 * An open transaction. Once it is over, for whatever reason, it takes no statement more: calls with it, and on
 * `client`, reject with `TransactionOverError` or the driver's own error, and nothing of them reaches the store.
 */
export interface StoreTransaction {
  /** The driver's own handle (a knex transaction, a MongoDB session), for the user's own statements. */
  readonly client: unknown;
  /**
   * Every tracked row that the transaction changed so far, by whatever statement, newest version per
   * key. Asked just before the commit; rejects when there is nothing to commit.
   */
  changes(): Promise<readonly Change[]>;
  /**
   * As `changes`, asked in one message with the commit, which saves a round trip. Called last, in place of it. Returns
   * what gives them once `transaction` has resolved; `undefined`: they can't be had so, `changes` is to be asked.
   */
  changesWithCommit?(): (() => readonly Change[]) | undefined;
  /**
   * The body has returned: from now on the transaction takes no statement but `changes`. What was sent before goes
   * on. Without it a body's late statements may be committed unseen.
   */
  seal?(): void;
}

/** Runs transactions; shared by all bindings of one database, and compared by identity. */
export interface TransactionHost<Tx = unknown> {
  /** Carries the type of `client` only; never set. */
  readonly clientType?: Tx;
  /**
   * The driver's own handle for statements outside of transactions, where writes go: what the loads of views are given.
   * Absent: there is none that statements in and outside of transactions share.
   */
  readonly client?: unknown;
  /**
   * Runs `body` and commits. A throw rolls back and propagates. Transient failures (deadlock,
   * serialization) run the body again, on a new transaction. Rejects with `StoreUnavailableError`
   * (`outcome: 'unknown'` when the commit's reply was lost), with `UnsupportedError` for a mode that the store lacks. When
   * a statement failed and the body went on as if it had not, with what `rolledBackBy` of `@lockstep/core/kit` makes of
   * the failure: a `StoreRefusedError` for a refusal, else `not-committed`; the failure is its cause.
   * Statements that change rows of an adapter with a `fence` are refused once `timeoutMs` have passed, by the store's
   * clock, since `body` was called.
   */
  transaction<T>(body: (tx: StoreTransaction) => Promise<T>, options: StoreTransactionOptions): Promise<T>;
}

/**
 * A binding of one collection to a store: rows by key.
 *
 * Contract: answers come position by position. Keys are canonical text: two ids of one row have the
 * same key, two rows never share one, and the adapter finds the row from the key alone.
 *
 * @typeParam Value the entity
 * @typeParam Id what callers name an entity by
 * @typeParam Tx the driver's transaction handle
 */
export interface StoreAdapter<Value, Id = string, Tx = unknown> {
  /** Names table and database for messages, e.g. `postgres:public.products`. */
  readonly name: string;
  /** The name that the change feed uses, e.g. `public.products`. */
  readonly source: string;
  readonly capabilities: StoreCapabilities;
  readonly transactions?: TransactionHost<Tx> | undefined;
  readonly feed?: ChangeFeed | undefined;
  /** Absent: the store needs nothing in its database. */
  readonly installation?: StoreInstallation | undefined;
  /** Absent: strict consistency rests on writes that end before their intents do. */
  readonly fence?: StoreFence | undefined;
  /** The payload serializer that suits the store's types; JSON when absent. */
  readonly serializer?: Serializer | undefined;
  /** Absent: all processes know the same of the rows. */
  readonly shape?: StoreShape | undefined;
  /** Absent: the serializer gets rows as they are. Used after `open`. */
  readonly carrier?: RowCarrier<Value> | undefined;
  /** Absent: rows can be found by their keys only. */
  readonly declared?: StoreDeclarations<StoreCallOptions> | undefined;
  /** Carries the handle's type only; never set. */
  readonly txType?: Tx;
  /**
   * Connects and checks the binding. Called before first use, once at a time, again after it has failed, and after `close`,
   * which it undoes: the next Lockstep uses the adapter. Bounded.
   */
  open?(options?: StoreOpenOptions): Promise<void>;
  /**
   * Whose rows these are, as text that every process gives alike, and no other table of any database does; of an open
   * store. It stays the same through failovers. `undefined`: the store can't tell. Bounded.
   */
  identity?(options: StoreCallOptions): Promise<string | undefined>;
  /** The canonical key of an id. Synchronous, after `open`. Throws `InvalidIdError`. */
  keyOf(id: Id): string;
  /**
   * Throws `StoreRefusedError` for a row that a put of it would be refused for, as far as that can be told without
   * asking the store. Synchronous, after `open`. Asked before a write is acknowledged that the store does not have
   * yet. Absent: nothing can be told.
   */
  check?(key: string, value: Value): void;
  /**
   * True when a patch that sets these properties of a row leaves it deeply equal to what it was with them: no trigger,
   * generated column, default, rounding or shortening type, or other form of the driver's makes anything else of it.
   * Synchronous, after `open`; must not throw. Only then do functions of `update` that wait for one row run on what
   * the one before has made, and travel as one statement. Absent: one by one.
   */
  returnsAsSent?(set: RowPatch<Value>): boolean;
  /** Rows by key; `undefined` where there is none. Rejects as a whole, with a `StoreError`. */
  read(keys: readonly string[], options: StoreReadOptions): Promise<readonly (StoreRow<Value> | undefined)[]>;
  /**
   * Has the row at a key read in one message with a transaction's commit, before it and behind all else that the
   * transaction does, which saves a round trip. Returns what gives the row once `transaction` has resolved; it may throw.
   * `undefined`, or absent: it can't be had so, `read` is to be asked.
   */
  readWithCommit?(
    key: string,
    options: StoreCallOptions & { readonly tx: StoreTransaction },
  ): (() => StoreRow<Value> | undefined) | undefined;
  /**
   * Writes many commands, each on its own key at most once per call, in one round trip where the store
   * can. One that is refused fails alone. A rejection means that nothing can be said of any of them.
   */
  write(
    commands: readonly StoreCommand<Value>[],
    options: StoreWriteOptions,
  ): Promise<readonly StoreOutcome<Value>[]>;
  /**
   * Keys for rows that are to be created: what of its key a value does not have, the store makes as for an insert
   * without it (a sequence, a default). Position by position; an error where a value gets none. Nothing is written, and
   * what is not used is left out for good. Synchronous where nobody has to be asked.
   */
  newRows?(values: readonly Value[], options: StoreCallOptions): NewRows<Value> | Promise<NewRows<Value>>;
  /**
   * Instead of `newRows`, where only the insert tells the key: inserts the value and gives the row as stored. Rejects as
   * `write` does, with `StoreRefusedError` where nothing was inserted.
   */
  insert?(value: Value, options: StoreCallOptions): Promise<StoreRow<Value>>;
  /** Ends what the adapter opened; leaves alone a client that was handed in. Calls reject until `open` is called again. */
  close(): Promise<void>;
}
