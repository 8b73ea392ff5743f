import { StoreTimeoutError, systemClock } from '@lockstep/core';
import { withTimeout } from '@lockstep/core/kit';

/** The longest time, in ms, for a server's own answer that its time is over to arrive. */
const ON_ITS_WAY_MS = 1_000;

/** The bounds of a statement that belongs to no call, at the server. */
export interface StatementBound {
  readonly maxTimeMS: number;
}

/**
 * A statement's answer, or a `StoreTimeoutError`. `maxTimeMS` bounds a statement that a server runs; whoever sends one
 * that no server gets, or answers, waits for the driver to give the connection up, which it may never do.
 */
export function answered<T>(
  what: string,
  statement: PromiseLike<T>,
  { maxTimeMS }: StatementBound,
): Promise<T> {
  const bound = maxTimeMS + ON_ITS_WAY_MS;
  const late = (): Error => new StoreTimeoutError(`${what}: no answer in ${bound} ms`);
  return withTimeout(systemClock, statement, bound, late);
}
