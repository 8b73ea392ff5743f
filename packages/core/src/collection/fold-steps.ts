import type { Versioned, WriteResult } from '../contracts/api.js';
import { NO_VERSION } from '../contracts/version.js';
import { copyOf } from '../values/copy.js';
import type { UpdateCall } from './line-calls.js';
import type { RowToUpdate } from './row-to-update.js';

/** A row as the functions of a round find it. */
export interface Found<Value> extends Pick<Versioned<Value>, 'value' | 'version'> {
  /** From the store's primary. */
  readonly fresh: boolean;
  /** True in a transaction that is not committed yet. */
  readonly pending: boolean;
  /** The calls that had joined lines when it was asked for: to them it is current, as it is to whoever reads. */
  readonly joined: number;
  /** True under the row's lock: no other writer changes the row, and others may wait for it. */
  readonly locked: boolean;
}

/** The end of one function. */
export interface Step<Value> {
  readonly call: UpdateCall<Value>;
  readonly kind: 'made' | 'skipped' | 'failed';
  /** The row after it. */
  readonly row: Value | null;
  readonly error?: unknown;
}

/** Sends the change of a row that some functions have made together, if it still is as they found it. */
export async function write<Value>(
  row: RowToUpdate<Value>,
  { value, version }: Found<Value>,
  { call: { ttlMs }, row: next }: Step<Value>,
): Promise<WriteResult<Value> | undefined> {
  if (next === null) return value === null ? undefined : await row.delete(version, ttlMs);
  if (value === null) return await row.create(next, ttlMs);
  return await row.change(value, next, version, ttlMs);
}

/** True when the row is known to have been the store's while each of the calls waited. */
export function isCurrent<Value>({ fresh, joined }: Found<Value>, steps: readonly Step<Value>[]): boolean {
  return fresh && steps.every(({ call }) => call.place <= joined);
}

/**
 * Answers each caller: with the row as it left it. Those whose row the next function changed again have a version that
 * no row of this key ever has: a condition on it does not hold, since nobody finds their row in the store.
 */
export function answerCallers<Value>(
  steps: readonly Step<Value>[],
  found: Found<Value>,
  written: WriteResult<Value> | undefined,
): void {
  const first = steps.findIndex(({ kind }) => kind === 'made');
  const last = steps.findLastIndex(({ kind }) => kind === 'made');
  const result = written ?? unwritten(found);
  const between = result.version - 1;
  const passed = { ...result, version: between > found.version ? between : NO_VERSION, coalesced: true };
  for (const [place, { call, error, kind, row }] of steps.entries()) {
    if (kind === 'failed') call.reject(error);
    else if (first < 0 || place < first) call.resolve(unwritten(found));
    else if (place < last) call.resolve({ ...passed, value: copyOf(row) });
    else call.resolve(place === last ? result : { ...result, value: copyOf(result.value) });
  }
}

type Unwritten<Value> = Pick<Found<Value>, 'pending' | 'value' | 'version'>;

export function unwritten<Value>({ pending, value, version }: Unwritten<Value>): WriteResult<Value> {
  const cache = pending ? 'pending' : 'updated';
  const store = value === null ? 'missing' : pending ? 'pending' : 'committed';
  return { value: copyOf(value), version, cache, store, coalesced: false };
}
