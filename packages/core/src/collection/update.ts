import type { Collection, Versioned, WriteResult } from '../contracts/api.js';
import type { Version } from '../contracts/version.js';
import type { ConflictError } from '../errors.js';
import type { InLine } from './lines.js';

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
  /**
   * The row as the next function of the line would find it, had this change been written; `undefined`: nobody can tell
   * before it is. Throws what the change would be refused for before it is sent.
   */
  foreseen(before: Value | null, after: Value | null): Promise<Value | undefined>;
}

/** How a call of `update` goes. */
interface HowToUpdate {
  readonly fromCache: boolean;
  readonly retries: number;
  readonly ttlMs: number;
  readonly sinceMs: number;
}

/** One call of `update`, or of `patch` where that reads the row first. */
export class UpdateCall<Value> implements InLine<UpdateCall<Value>> {
  readonly row: UpdatedRow<Value>;
  readonly change: RowStep<Value>;
  readonly fromCache: boolean;
  readonly retries: number;
  readonly ttlMs: number;
  readonly sinceMs: number;
  readonly answer: Promise<WriteResult<Value>>;
  readonly resolve: (result: WriteResult<Value>) => void;
  readonly reject: (error: unknown) => void;
  place = 0;
  over = false;
  /** How often another writer came between. */
  lost = 0;
  /** It was refused together with others: it goes by itself. */
  alone = false;
  /** Told that its caller does not wait any more, while its function runs. */
  gaveUp: (() => void) | undefined;
  previous: UpdateCall<Value> | undefined;
  next: UpdateCall<Value> | undefined;

  constructor(
    row: UpdatedRow<Value>,
    change: RowStep<Value>,
    { fromCache, retries, sinceMs, ttlMs }: HowToUpdate,
  ) {
    this.row = row;
    this.change = change;
    this.fromCache = fromCache;
    this.retries = retries;
    this.ttlMs = ttlMs;
    this.sinceMs = sinceMs;
    const { promise, resolve, reject } = Promise.withResolvers<WriteResult<Value>>();
    this.answer = promise;
    this.resolve = resolve;
    this.reject = reject;
  }

  end(): void {
    this.over = true;
    this.gaveUp?.();
  }
}
