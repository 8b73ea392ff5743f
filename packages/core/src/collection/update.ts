import type { Collection, Versioned, WriteResult } from '../contracts/api.js';
import type { Version } from '../contracts/version.js';
import type { ConflictError } from '../errors.js';

/** The function that `update` applies to a row. */
export type RowChange<Value> = Parameters<Collection<Value>['update']>[1];

/** The same, told the version of what it gets; `0`: it has none, since another function of the line made it. */
export type RowStep<Value> = (current: Value | undefined, version: Version) => ReturnType<RowChange<Value>>;

/** The row that is updated. Writes reject with `ConflictError` where the row is at another version. */
export interface UpdatedRow<Value> {
  readonly key: string;
  /** `fresh`: from the store's primary. */
  read(fresh: boolean): Promise<Versioned<Value>>;
  create(value: Value, ttlMs: number): Promise<WriteResult<Value>>;
  /** Writes what differs; `undefined`: nothing does, and nothing was sent. */
  change(
    before: Value,
    after: Value,
    ifVersion: Version,
    ttlMs: number,
  ): Promise<WriteResult<Value> | undefined>;
  delete(ifVersion: Version, ttlMs: number): Promise<WriteResult<Value>>;
  /** Someone else has changed it. */
  conflict(expected: Version, found: Version): ConflictError;
  /** `locked` may be called. */
  readonly locks: boolean;
  /**
   * Runs a body that reads and writes the row in a transaction of its own, in which nobody else changes it: perhaps more
   * than once. Resolves with what it has written, once that is committed.
   */
  locked(
    body: (row: UpdatedRow<Value>, found: Versioned<Value>) => Promise<WriteResult<Value> | undefined>,
  ): Promise<WriteResult<Value> | undefined>;
  /**
   * The row as the next function of the line would find it, had this change been written; `undefined`: nobody can tell
   * before it is. Throws what the change would be refused for before it is sent.
   */
  foreseen(before: Value | null, after: Value | null): Promise<Value | undefined>;
}
