import {
  LockstepError,
  type LockstepErrorOptions,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '@lockstep/core';
import {
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoError,
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoNotConnectedError,
  MongoOperationTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoTopologyClosedError,
  MongoWriteConcernError,
} from 'mongodb';

import { TOO_LATE } from '../rows/stamp.js';

/** MongoDB's error codes that this adapter acts on. */
export const CODE = {
  duplicateKey: 11000,
  maxTimeExpired: 50,
  conversionFailure: 241,
  writeConflict: 112,
  changeStreamHistoryLost: 286,
  changeStreamFatal: 280,
  invalidResumeToken: 260,
  cappedPositionLost: 136,
  /** Errors of a text that is no resume token. */
  failedToParse: 9,
  emptyToken: 40649,
  malformedToken: 50811,
  namespaceNotFound: 26,
  namespaceExists: 48,
  noSuchTransaction: 251,
  unauthorized: 13,
  indexNotFound: 27,
} as const;

/** The server was not, or ceased to be, the primary before it ran the command; or has no majority to read from yet. */
const NOT_PRIMARY = new Set([10107, 13435, 13436, 10058, 134]);
/** A read was ended between two of its batches: its cursor is gone, or what it ran on. */
const CUT_OFF = new Set([43, 175, 237]);
/** The server was going away while it ran the command: it may have done it. */
const INTERRUPTED = new Set([11600, 11602, 91, 189, 6, 7, 89, 9001, 262, 64, 100, 112, 251, 133]);

/** Errors of the driver's pool, by name since it exports no classes for them: nothing was sent. */
const NEVER_SENT = new Set([
  'MongoPoolClearedError',
  'MongoPoolClosedError',
  'MongoWaitQueueTimeoutError',
  'PoolClearedOnNetworkError',
]);

/** The store error that a driver's error means. Errors of our own pass. */
export function toStoreError(
  error: unknown,
  what: string,
  options: LockstepErrorOptions = {},
): LockstepError {
  if (error instanceof LockstepError) return error;
  const ended = endOfBulk(error);
  if (ended !== undefined) {
    const told = toStoreError(ended, what, options);
    const isNone = told instanceof StoreUnavailableError && told.outcome === 'not-committed';
    return isNone && hasWritten(error) ? new StoreUnavailableError(told.message, 'unknown', told) : told;
  }
  const text = error instanceof Error ? error.message : String(error);
  const message = `${what}: ${text}`;
  const withCause = { ...options, cause: error };
  if (error instanceof MongoOperationTimeoutError) return new StoreTimeoutError(message, withCause);
  if (error instanceof MongoWriteConcernError)
    return new StoreUnavailableError(message, 'unknown', withCause);
  if (error instanceof MongoServerError) return fromServer(error, message, withCause);
  if (error instanceof MongoError && isUnavailable(error)) {
    return new StoreUnavailableError(message, wasSent(error) ? 'unknown' : 'not-committed', withCause);
  }
  // The rest failed in the driver before anything was sent: a value that BSON can't hold, a bad option.
  return new StoreRefusedError(message, withCause);
}

/** The driver's own error that ended a bulk write: it comes as one of the server's, without a code. */
function endOfBulk(error: unknown): Error | undefined {
  if (!(error instanceof MongoBulkWriteError)) return undefined;
  const response: unknown = error.errorResponse;
  return response instanceof Error ? response : undefined;
}

/** True where a bulk write, which may go in several commands, has written something. */
function hasWritten(error: unknown): boolean {
  if (!(error instanceof MongoBulkWriteError)) return false;
  const { deletedCount, insertedCount, matchedCount, upsertedCount } = error;
  return deletedCount + insertedCount + matchedCount + upsertedCount > 0;
}

function fromServer(error: MongoServerError, message: string, options: LockstepErrorOptions): LockstepError {
  const code = typeof error.code === 'number' ? error.code : 0;
  if (isTooLate(error) || code === CODE.maxTimeExpired) return new StoreTimeoutError(message, options);
  if (NOT_PRIMARY.has(code)) return new StoreUnavailableError(message, 'not-committed', options);
  if (INTERRUPTED.has(code) || isTransient(error) || error.hasErrorLabel('RetryableWriteError')) {
    const aborted = isTransient(error) && !error.hasErrorLabel('UnknownTransactionCommitResult');
    return new StoreUnavailableError(message, aborted ? 'not-committed' : 'unknown', options);
  }
  // Another document's write may give the value up.
  return new StoreRefusedError(message, { ...options, mayDependOnOthers: code === CODE.duplicateKey });
}

function isUnavailable(error: MongoError): boolean {
  return (
    error instanceof MongoNetworkError ||
    error instanceof MongoServerSelectionError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoTopologyClosedError ||
    error instanceof MongoClientClosedError ||
    NEVER_SENT.has(error.name)
  );
}

/** True where the servers are there and could not answer for now: a step-down, a lost connection. */
export function isPassing(error: unknown): boolean {
  if (error instanceof MongoServerSelectionError || error instanceof MongoClientClosedError) return false;
  if (error instanceof MongoNotConnectedError || error instanceof MongoTopologyClosedError) return false;
  if (error instanceof MongoServerError && CUT_OFF.has(Number(error.code))) return true;
  return toStoreError(error, '').code === 'LOCKSTEP_STORE_UNAVAILABLE';
}

function wasSent(error: MongoError): boolean {
  return error instanceof MongoNetworkTimeoutError || error.constructor.name === 'MongoNetworkError';
}

/** True where a transaction that failed with this may be run again: labelled so here or in a cause. */
export function isTransient(error: unknown): boolean {
  return hasLabel(error, 'TransientTransactionError');
}

/** True where nobody knows whether the commit has happened: it may be sent again. */
export function isUnknownCommit(error: unknown): boolean {
  return hasLabel(error, 'UnknownTransactionCommitResult');
}

/** True where a transaction met a row that another had changed, or holds: the server says so at once. */
export function isWriteConflict(error: unknown): boolean {
  return isAny(error, (at) => at.code === CODE.writeConflict);
}

/** The server's error for a write of a row that was changed since the transaction's snapshot: run it again. */
export function writeConflict(message: string): MongoServerError {
  const error = new MongoServerError({ message, errmsg: message, code: CODE.writeConflict });
  error.addErrorLabel('TransientTransactionError');
  return error;
}

/** True where the server had ended the transaction before: in a statement that failed, or on its own. */
export function isEndedBefore(error: unknown): boolean {
  return isAny(error, (at) => at.code === CODE.noSuchTransaction);
}

/** True where the server refused to begin what came after its deadline. */
export function isTooLate(error: unknown): boolean {
  if (!(error instanceof MongoServerError)) return false;
  return error.code === CODE.conversionFailure && error.message.includes(TOO_LATE);
}

/** True where its `maxTimeMS` was over, in a statement or in the wait for its write concern. */
export function isCutShort(error: unknown): boolean {
  if (!(error instanceof MongoServerError)) return false;
  const waiting = error instanceof MongoBulkWriteError ? error.result.getWriteConcernError() : undefined;
  return error.code === CODE.maxTimeExpired || waiting?.code === CODE.maxTimeExpired;
}

function hasLabel(error: unknown, label: string): boolean {
  return isAny(error, (at) => at.hasErrorLabel(label));
}

/** True where it, or a cause of it, is a driver's error that `isSo`. */
function isAny(error: unknown, isSo: (at: MongoError) => boolean): boolean {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    if (at instanceof MongoError && isSo(at)) return true;
  }
  return false;
}

/** True where the unique index on `field` alone refused it. */
export function isDuplicateOf(error: unknown, field: string): boolean {
  if (!(error instanceof MongoServerError) || error.code !== CODE.duplicateKey) return false;
  const pattern: unknown = error['keyPattern'];
  if (typeof pattern === 'object' && pattern !== null) {
    const names = Object.keys(pattern);
    return names.length === 1 && names[0] === field;
  }
  return error.message.includes(`dup key: { ${field}:`);
}
