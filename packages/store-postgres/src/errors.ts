import { LockstepError, StoreRefusedError, StoreTimeoutError, StoreUnavailableError } from '@lockstep/core';

import { LATE_STATE, RETRY_STATE } from './sql/stamp.js';
import { leadsNowhereIn } from './write/statements/paths.js';

/** The part of pg's errors that is used. */
interface ServerError {
  readonly message: string;
  readonly code?: string;
  readonly severity?: string;
  readonly constraint?: string;
  readonly detail?: string;
  readonly column?: string;
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** The SQLSTATE of an error that the server sent; `undefined` of any other. */
export function stateOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, severity } = error as Error & ServerError;
  return severity !== undefined && typeof code === 'string' && SQLSTATE.test(code) ? code : undefined;
}

export function detailOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as Error & ServerError).detail : undefined;
}

export function columnOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as Error & ServerError).column : undefined;
}

/** Deadlocks, serialization failures, stamps that came too early: rolled back as a whole, and worth running again. */
export function isTransient(error: unknown): boolean {
  const state = stateOf(error);
  return state === '40001' || state === '40P01' || state === RETRY_STATE;
}

/** Thrown for a server that is no primary: nothing was written, and what was read may be old. */
export class ReadOnlyServerError extends StoreUnavailableError {
  constructor(what: string) {
    super(
      `${what}: the server is read-only, and so no primary: a standby, or default_transaction_read_only is on`,
      'not-committed',
    );
  }
}

/** True of a statement that needs a primary and was sent to a server that is none. */
export function isReadOnlyServer(error: unknown): boolean {
  return error instanceof ReadOnlyServerError || stateOf(error) === '25006';
}

/** A row stamped below a concurrent delete; the error's detail is the version to stay above. */
export function isStampedTooEarly(error: unknown): boolean {
  return stateOf(error) === RETRY_STATE;
}

/** A write that the server refused because it came after its deadline. */
export function isLate(error: unknown): boolean {
  return stateOf(error) === LATE_STATE;
}

/** A table of Lockstep's own that is not there: the last table that is detached takes them along. */
export function isMissingTable(error: unknown): boolean {
  const state = stateOf(error);
  return state === '42P01' || state === '3F000';
}

/** A statement prepared before the table's columns changed. */
export function isStalePlan(error: unknown): boolean {
  const state = stateOf(error);
  return (
    state === '26000' ||
    (state === '0A000' && error instanceof Error && error.message.includes('cached plan'))
  );
}

/** True when the server refused the statement itself, not for want of resources or time. */
export function isRefusal(error: unknown): boolean {
  const state = stateOf(error);
  if (state === undefined || isFatal(error) || isTransient(error) || isLate(error)) return false;
  return !/^(?:08|25006|53|55|57|58|XX|28|3D)/.test(state);
}

/** True when others held a row, or a key, for longer than `lock_timeout`. */
export function isLocked(error: unknown): boolean {
  return stateOf(error) === '55P03';
}

/** True when the connection broke or the server ended it. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof LockstepError) return false;
  return stateOf(error) === undefined || isFatal(error);
}

/** True when the server ended the connection with it. */
export function isFatal(error: unknown): boolean {
  const severity = error instanceof Error ? (error as Error & ServerError).severity : undefined;
  return severity === 'FATAL' || severity === 'PANIC';
}

/**
 * The store's error for what pg threw. `sent`: the statement was on its way, so that a broken
 * connection leaves open whether it was committed.
 */
export function storeError(error: unknown, what: string, sent: boolean): LockstepError {
  if (error instanceof LockstepError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const state = stateOf(error);
  if (state === '57014') {
    return new StoreTimeoutError(`${what}: the server cancelled the statement: ${message}`, { cause: error });
  }
  if (isLate(error)) return new StoreTimeoutError(`${what}: ${message}`, { cause: error });
  if (isRefusal(error)) {
    // A reference, a unique value, an exclusion: another row's write may lift it.
    const mayDependOnOthers = state === '23503' || state === '23505' || state === '23P01';
    const said = leadsNowhereIn(message) ?? `${message} (SQLSTATE ${state})`;
    return new StoreRefusedError(`${what}: ${said}`, {
      cause: error,
      mayDependOnOthers,
    });
  }
  const outcome = sent && (state === undefined || isFatal(error)) ? 'unknown' : 'not-committed';
  return new StoreUnavailableError(`${what}: ${message}${state ? ` (SQLSTATE ${state})` : ''}`, outcome, {
    cause: error,
  });
}
