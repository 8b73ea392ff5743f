import type { Collection, Versioned, WriteResult } from '../contracts/api.js';
import type { Version } from '../contracts/version.js';
import { ConflictError } from '../errors.js';
import { backoffMs } from '../kit/backoff.js';
import { callerSleep } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';

/** Those who lost against each other at once would meet again. */
const BETWEEN_TRIES = { firstMs: 2, lastMs: 64, jitter: 1 };

/** The function that `update` applies to a row. */
export type RowChange<Value> = Parameters<Collection<Value>['update']>[1];

/** The row that is updated. */
export interface UpdatedRow<Value> {
  /** `fresh`: from the store's primary. */
  read(fresh: boolean): Promise<Versioned<Value>>;
  /** Rejects with `ConflictError` where the row is at another version. */
  put(value: Value, ifVersion: Version | null): Promise<WriteResult<Value>>;
  delete(ifVersion: Version): Promise<WriteResult<Value>>;
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
  change: RowChange<Value>,
  { clock, fromCache, givenUp, random, retries }: UpdateTries,
): Promise<WriteResult<Value>> {
  for (let attempt = 0; ; attempt++) {
    const { value, version } = await row.read(attempt > 0 || !fromCache);
    const next = await change(value ?? undefined);
    givenUp.throwIfAborted();
    if (next === undefined || (next === null && value === null)) {
      return { value, version, cache: 'updated', store: 'committed', coalesced: false };
    }
    try {
      if (next === null) return await row.delete(version);
      return await row.put(next, value === null ? null : version);
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt >= retries) throw error;
    }
    if (attempt > 0) await callerSleep(clock, backoffMs(attempt, { ...BETWEEN_TRIES, random }));
    givenUp.throwIfAborted();
  }
}
