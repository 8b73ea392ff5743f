import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { PayloadEncoding } from './cache-commands.js';
import type { NearBounds } from './near.js';
import type { CallOptions, CompressionOptions, InvalidateOptions, Transaction } from './options.js';
import type { CacheOutcome } from './outcome.js';
import type { Serializer } from './serializer.js';

/** Rows that a view depends on: made by `any`, `id` and `where` of a collection, and by `of` of another view. */
export interface Dependency {
  /** For messages, e.g. `products.where(category)`. */
  readonly description: string;
}

/** The context of a view's load. */
export interface ViewContext<Client = unknown> {
  /**
   * The database's own handle, where writes go (knex; a transaction's handle inside one). `undefined` where the store
   * has none outside of transactions (MongoDB: pass it as `session`).
   */
  readonly client: Client;
  /** The transaction that the view is read in; absent outside of one. */
  readonly tx?: Transaction;
  /** The beginning of the page that `page` asks for; absent: the first row. */
  readonly cursor?: unknown;
  /** Aborts when the engine gives up waiting. */
  readonly signal: AbortSignal;
}

/** The options of a view: what it is, and the bounds of everything that it does. */
export interface ViewOptions<Params, Value, Client = unknown> {
  /** Unique among the views and collections of this Lockstep; a part of every cache key. */
  readonly name: string;
  /**
   * Makes the value, by any query of the caller's own on the primary: not from a replica, nor from what a cache holds, which
   * may be older than the tags (`fresh: true` reads a collection past its entries). Whatever it reads must be named by
   * `dependsOn`. It may run again, and at the same time for others.
   */
  readonly load: (params: Params, context: ViewContext<Client>) => Promise<Value> | Value;
  /**
   * Names the rows that the value depends on. Asked again with what the load found, it may name more: it is loaded anew
   * then, three times at the most. Must be quick, and give the same for the same arguments.
   */
  readonly dependsOn: (params: Params, found?: Value) => Dependency | readonly Dependency[];
  /** Checks params, synchronously; a call with others rejects with `InvalidOptionError`. @defaultValue no check */
  readonly params?: StandardSchemaV1<unknown, Params>;
  /** Validates what comes out of the cache (a mismatch is a miss). Must leave its own output as it is. */
  readonly schema?: StandardSchemaV1<unknown, Value>;
  /**
   * Before each load outside of a transaction, what is buffered of the collections that it depends on is flushed to the
   * store: so the view sees buffered writes that were acknowledged before. @defaultValue false
   */
  readonly flushFirst?: boolean;
  /**
   * Keeps entries in this process, too, which may be served for a while after others have changed their rows. Excludes
   * `strict` collections. @defaultValue off
   */
  readonly near?: NearBounds;
  /** How long an entry lives, in ms. @defaultValue 3_600_000 (an hour) */
  readonly ttlMs?: number;
  /** Each TTL is drawn from `ttlMs * (1 ± ttlJitter)`. @defaultValue 0.1 */
  readonly ttlJitter?: number;
  /** Turns values into payloads and back. @defaultValue that of the store of the rows that are named first, or JSON */
  readonly serializer?: Serializer;
  /** A larger payload, in bytes, is not cached. @defaultValue 1_048_576 */
  readonly maxPayloadBytes?: number;
  /** Compresses large payloads. @defaultValue the Lockstep's */
  readonly compression?: CompressionOptions;
  /** The bound of a load, in ms. @defaultValue 10_000 */
  readonly storeTimeoutMs?: number;
  /** How long a reader's lease on a missing entry stands, in ms. @defaultValue 3_000 */
  readonly leaseMs?: number;
  /** How long a reader waits for another's load before it loads without filling, in ms. @defaultValue 2_000 */
  readonly leaseWaitMs?: number;
  /** Loads at once from this process; more wait. @defaultValue 64 */
  readonly maxConcurrentLoads?: number;
  /** Loads that may wait; more reject with `StoreOverloadedError`. @defaultValue 10_000 */
  readonly maxQueuedLoads?: number;
}

/** The result of `verify`. */
export interface ViewComparison<Value> {
  /**
   * `same`: the entry is what a load gives. `different`: it is not, although nothing was changed that the view depends on:
   * `dependsOn` lacks something. `absent`: there is no entry that a reader would take. `changing`: changes came between.
   */
  readonly outcome: 'same' | 'different' | 'absent' | 'changing';
  /** The value that readers get. Only with `different`. */
  readonly cached?: Value;
  /** The value of a load beside the cache. Only with `different`. */
  readonly loaded?: Value;
}

export interface VerifyOptions extends InvalidateOptions {
  /** How long a change may take from its commit to the tags, in ms, before a difference counts. @defaultValue 2_000 */
  readonly settleMs?: number;
}

/** A cached result of a query, kept right by what it depends on. */
export interface View<Params, Value> {
  readonly name: string;
  /**
   * The value that `load` makes of the params, never older than a write that was acknowledged before the call (with `near`: than one of
   * another process that was acknowledged `maxStaleMs` before it). The value is the
   * caller's own. Params are strings, numbers, bigints, booleans, `null`, arrays and plain objects of these; equal ones
   * are one entry. Inside a transaction it loads there, and fills nothing. Rejects as `load` does.
   */
  get(params: Params, options?: CallOptions): Promise<Value>;
  /** Position by position, in parts, one after the other. */
  getMany(params: readonly Params[], options?: CallOptions): Promise<Value[]>;
  /**
   * As `get`, from a cursor on, which `load` is given in its context: what it makes of that is an entry of its own, with
   * the dependencies of the whole view. A cursor is of the same kinds as params; best the sort keys of the last row
   * before it, so that a row which comes or goes moves no page (keyset pagination). Without one: as `get`.
   */
  page(params: Params, cursor?: unknown, options?: CallOptions): Promise<Value>;
  /** Loads, and puts it into the cache, whatever the cache holds. */
  refresh(params: Params, options?: InvalidateOptions): Promise<Value>;
  /** Makes what the cache holds unreadable, all pages included: for what changed and `dependsOn` cannot name. */
  invalidate(params: Params, options?: InvalidateOptions): Promise<CacheOutcome>;
  /** Loads beside the cache and compares: finds a query that depends on what `dependsOn` does not name. */
  verify(params: Params, options?: VerifyOptions): Promise<ViewComparison<Value>>;
  /** This view's dependencies, as one of another view. */
  of(params: Params): Dependency;
}

/** A declared view, as tools see it. */
export interface ViewInfo {
  readonly name: string;
  readonly calls: View<unknown, unknown>;
  /** The start of its cache keys; what `paramsOf` takes follows. */
  readonly keyPrefix: string;
  readonly encoding: PayloadEncoding;
  /** The params of an entry's key; `undefined` where it does not tell them: long ones, pages, those with a bigint. */
  readonly paramsOf: (key: string) => { readonly params: unknown } | undefined;
}
