import type { LockstepError } from '../errors.js';
import type { Amount } from '../kit/decimal.js';
import type { ChangedTexts } from './declared.js';
import type { Version } from './version.js';

/** Stores a row, whole. Blind without `ifVersion`. */
export interface StorePut<Value> {
  readonly kind: 'put';
  readonly key: string;
  readonly value: Value;
  /**
   * The new version must be above this; `0` for no bound. It comes from the cache: one that is further ahead of the
   * store's own clock than `MAX_VERSION_AHEAD_MS` is not believed, and counts as `0`.
   */
  readonly above: Version;
  /**
   * The new version must be this much ahead of the store's clock, in ms: for a writer that could not learn
   * what version a buffered write may have. @defaultValue 0
   */
  readonly aheadMs?: number;
  /** Only if the row is at this version; `null`: only if there is no row. */
  readonly ifVersion?: Version | null;
  /**
   * The key is one that `newRows` gave, and `ifVersion` is `null`: it is written where only the store makes such keys,
   * too, whatever the value holds of it. @defaultValue false
   */
  readonly drawn?: boolean;
}

/** Removes a row. Blind without `ifVersion`. */
export interface StoreDelete {
  readonly kind: 'delete';
  readonly key: string;
  readonly above: Version;
  /** As a put's. */
  readonly aheadMs?: number;
  readonly ifVersion?: Version;
}

/** Some of a row's properties. An adapter may take paths into documents, too (`'address.city'`). */
export type RowPatch<Value> = Readonly<Partial<Value>> & { readonly [path: `${string}.${string}`]: unknown };

/** Sets some properties of an existing row, and leaves the others as they are. Blind without `ifVersion`. */
export interface StorePatch<Value> {
  readonly kind: 'patch';
  readonly key: string;
  /** None is `undefined`. */
  readonly set: RowPatch<Value>;
  /** Properties that become what a put without them makes them. @defaultValue none; `set` or this names one at least */
  readonly unset?: readonly string[];
  readonly above: Version;
  readonly ifVersion?: Version;
}

/** Adds to a numeric field of an existing row. */
export interface StoreIncrement {
  readonly kind: 'increment';
  readonly key: string;
  readonly field: string;
  /** Numbers mean what their shortest text says. */
  readonly by: Amount;
  /**
   * Several callers' amounts, of which `by` is the sum: none is of another sign than the others. Refused unless every
   * caller gets what it would have got alone, one after the other. The new version is above the old one by 2 at least:
   * callers before the last are given a number between. Only with the capability `sums`. @defaultValue one
   */
  readonly terms?: readonly Amount[];
  readonly above: Version;
}

/** Gives an unchanged row a version above a floor, if it still is at `ifVersion`. */
export interface StoreRestamp {
  readonly kind: 'restamp';
  readonly key: string;
  readonly above: Version;
  readonly ifVersion: Version;
}

/**
 * Writes a buffered value with the version that the buffer gave it, if the row's, and its
 * tombstone's, is lower; otherwise does nothing. Refused where the version is not believed, as with `above`.
 * Outside of a transaction it gives up a row that others hold for more
 * than a fraction of a second where the store can (`StoreBusyError`): it must not keep other flushes waiting, and
 * whoever holds the row may wait for one of them.
 */
export interface StoreFlush<Value> {
  readonly kind: 'flush';
  readonly key: string;
  /** `null`: the buffered write was a delete. */
  readonly value: Value | null;
  readonly version: Version;
  /** Properties that whoever wrote the value did not know: a row that is there keeps them. @defaultValue none */
  readonly keep?: readonly string[];
}

export type StoreCommand<Value> =
  | StorePut<Value>
  | StorePatch<Value>
  | StoreDelete
  | StoreIncrement
  | StoreRestamp
  | StoreFlush<Value>;

/**
 * The outcome of one command.
 *
 * - `written`: committed (or, inside a transaction, done); `value` is the row as stored, `null` after a delete; with a
 *   `key` of its own (a trigger of the store changed it) nothing is cached: both keys get floors; without `tx` it has `texts`
 * - `missing`: delete, increment, restamp or blind patch found no row; nothing was written
 * - `conflict`: `ifVersion` did not match; `version` is the row's, `0` when there is none or it is not known
 * - `superseded`: a flush found a newer row or tombstone at `version`, or its own version, there already; in a
 *   batch a repeated flush may also be `written`
 * - `failed`: this command alone failed; the error's class says whether it may have been committed
 */
export type StoreOutcome<Value> =
  | (ChangedTexts & {
      readonly kind: 'written';
      readonly value: Value | null;
      readonly version: Version;
      /** The row's own key, where the store has given it another than the command's. */
      readonly key?: string | undefined;
      /** The values of an increment's field after each of its `terms` but the last. */
      readonly steps?: readonly unknown[];
    })
  | { readonly kind: 'missing' }
  | { readonly kind: 'conflict'; readonly version: Version }
  | { readonly kind: 'superseded'; readonly version: Version }
  | { readonly kind: 'failed'; readonly error: LockstepError };
