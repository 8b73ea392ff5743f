import type { Collection, Versioned, WriteResult } from '../contracts/api.js';
import type { Version } from '../contracts/version.js';
import { ConflictError } from '../errors.js';
import { backoffMs } from '../kit/backoff.js';
import { callerSleep } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';
import { copyOf } from '../values/copy.js';

/** Writers that lost against each other at the same time would meet again without jitter. */
const BETWEEN_TRIES = { firstMs: 2, lastMs: 64, jitter: 1 };

/** The function that `update` applies to a row. */
export type RowChange<Value> = Parameters<Collection<Value>['update']>[1];

/** The same, told the version of what it gets. */
export type RowStep<Value> = (current: Value | undefined, version: Version) => ReturnType<RowChange<Value>>;

/** The row that is updated. Writes reject with `ConflictError` where the row is at another version. */
export interface UpdatedRow<Value> {
  /** `fresh`: from the store's primary. */
  read(fresh: boolean): Promise<Versioned<Value>>;
  create(value: Value): Promise<WriteResult<Value>>;
  /** Writes what differs; `undefined`: nothing does, and nothing was sent. */
  change(before: Value, after: Value, ifVersion: Version): Promise<WriteResult<Value> | undefined>;
  delete(ifVersion: Version): Promise<WriteResult<Value>>;
  /** Someone else has changed it. */
  conflict(expected: Version, found: Version): ConflictError;
}

export interface UpdateTries extends Pick<EngineContext, 'clock' | 'random'> {
  readonly retries: number;
  /** The first try starts from the cached value. */
  readonly fromCache: boolean;
  /** Aborts once nobody waits for it. */
  readonly givenUp: AbortSignal;
}

/** Reads, changes and writes by compare-and-set until no other writer came between. */
export async function updateRow<Value>(
  row: UpdatedRow<Value>,
  change: RowStep<Value>,
  { clock, fromCache, givenUp, random, retries }: UpdateTries,
): Promise<WriteResult<Value>> {
  for (let attempt = 0; ; attempt++) {
    const found = await row.read(attempt > 0 || !fromCache);
    // `change` may write into what it gets.
    const before = copyOf(found.value);
    const made = change(found.value ?? undefined, found.version);
    const next = copyOf(isThenable(made) ? await made : made);
    givenUp.throwIfAborted();
    if (next === undefined || (next === null && before === null))
      return unwritten({ ...found, value: before });
    try {
      return await write(row, { ...found, value: before }, next);
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt >= retries) throw error;
    }
    if (attempt > 0) await callerSleep(clock, backoffMs(attempt, { ...BETWEEN_TRIES, random }));
    givenUp.throwIfAborted();
  }
}

async function write<Value>(
  row: UpdatedRow<Value>,
  { from, value, version }: Versioned<Value>,
  next: Value | null,
): Promise<WriteResult<Value>> {
  if (next === null) return await row.delete(version);
  if (value === null) return await row.create(next);
  const written = await row.change(value, next, version);
  if (written !== undefined) return written;
  if (from === 'store' || from === 'transaction') return unwritten({ from, value, version });
  // The cache may be behind: that nothing is to be changed is true of the store's row only.
  const current = await row.read(true);
  if (current.version !== version) throw row.conflict(version, current.version);
  return unwritten(current);
}

function unwritten<Value>({ value, version }: Versioned<Value>): WriteResult<Value> {
  return { value, version, cache: 'updated', store: 'committed', coalesced: false };
}

function isThenable<T>(made: T | Promise<T>): made is Promise<T> {
  return typeof (made as { readonly then?: unknown } | null | undefined)?.then === 'function';
}
