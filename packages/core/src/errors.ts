import type { QueueJob } from './contracts/queue.js';

/** Codes are stable: programs may compare them. */
export type LockstepErrorCode =
  | 'LOCKSTEP_INVALID_OPTION'
  | 'LOCKSTEP_INVALID_ID'
  | 'LOCKSTEP_DUPLICATE_COLLECTION'
  | 'LOCKSTEP_VALIDATION'
  | 'LOCKSTEP_SERIALIZATION'
  | 'LOCKSTEP_STORE_CONTRACT'
  | 'LOCKSTEP_STORE_REFUSED'
  | 'LOCKSTEP_STORE_UNAVAILABLE'
  | 'LOCKSTEP_STORE_TIMEOUT'
  | 'LOCKSTEP_STORE_OVERLOADED'
  | 'LOCKSTEP_STORE_INSECURE'
  | 'LOCKSTEP_STORE_SETUP'
  | 'LOCKSTEP_STORE_BUSY'
  | 'LOCKSTEP_TRANSACTION_OVER'
  | 'LOCKSTEP_CACHE_UNAVAILABLE'
  | 'LOCKSTEP_QUEUE_UNAVAILABLE'
  | 'LOCKSTEP_JOB_REFUSED'
  | 'LOCKSTEP_CONFLICT'
  | 'LOCKSTEP_VERSION_NOT_FOUND'
  | 'LOCKSTEP_PARTIAL_WRITE'
  | 'LOCKSTEP_UNSUPPORTED'
  | 'LOCKSTEP_NOT_READY'
  | 'LOCKSTEP_CLOSED';

export interface LockstepErrorOptions {
  readonly cause?: unknown;
  /** The key that it concerns. */
  readonly key?: string | undefined;
  /** The collection that it concerns. */
  readonly collection?: string | undefined;
}

/** The class that every error of Lockstep extends. */
export abstract class LockstepError extends Error {
  abstract readonly code: LockstepErrorCode;
  readonly key: string | undefined;
  readonly collection: string | undefined;

  constructor(message: string, options: LockstepErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.key = options.key;
    this.collection = options.collection;
  }
}

/** Thrown when an option is missing, unknown, of the wrong type, out of range, or excluded by another. */
export class InvalidOptionError extends LockstepError {
  readonly code = 'LOCKSTEP_INVALID_OPTION';
  /** The option's path, e.g. `collection.ttlMs`. */
  readonly option: string;
  constructor(option: string, problem: string, options?: LockstepErrorOptions) {
    super(`${option}: ${problem}`, options);
    this.option = option;
  }
}

/** Thrown when an id is empty, too long, of the wrong type, or not in the store's canonical form. */
export class InvalidIdError extends LockstepError {
  readonly code = 'LOCKSTEP_INVALID_ID';
}

/** Thrown when a second collection asks for a name that is taken. */
export class DuplicateCollectionError extends LockstepError {
  readonly code = 'LOCKSTEP_DUPLICATE_COLLECTION';
}

/** Thrown when the schema rejects a value that is to be written; the store has not been touched. */
export class ValidationError extends LockstepError {
  readonly code = 'LOCKSTEP_VALIDATION';
  /** The schema's own findings. */
  readonly issues: readonly { readonly message: string; readonly path: string }[];
  constructor(
    message: string,
    issues: readonly { readonly message: string; readonly path: string }[],
    options?: LockstepErrorOptions,
  ) {
    super(message, options);
    this.issues = issues;
  }
}

/** Thrown when a value can't be serialised for the cache; the store has not been touched. */
export class SerializationError extends LockstepError {
  readonly code = 'LOCKSTEP_SERIALIZATION';
}

/** Thrown when a store breaks its contract: a row without its key or version, an answer of the wrong length. */
export class StoreContractError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_CONTRACT';
}

export interface StoreRefusedOptions extends LockstepErrorOptions {
  readonly mayDependOnOthers?: boolean;
  readonly noRow?: boolean;
}

/** Thrown when the store refused a write (a constraint, a type): it is not committed, and trying again is pointless. */
export class StoreRefusedError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_REFUSED';
  /**
   * True when a write of another row may lift the refusal: a reference to a row that is not there yet, a unique
   * value that another row still has. A buffered write is then tried again behind the other unflushed ones.
   */
  readonly mayDependOnOthers: boolean;
  /** True when there is no row to change: of `patch` and `increment`. */
  readonly noRow: boolean;
  constructor(message: string, options: StoreRefusedOptions = {}) {
    super(message, options);
    this.noRow = options.noRow ?? false;
    this.mayDependOnOthers = options.mayDependOnOthers ?? false;
  }
}

/** Thrown when the store can't be reached, or the connection broke. */
export class StoreUnavailableError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_UNAVAILABLE';
  /** `unknown`: the write may have been committed; the change feed will tell the cache if it was. */
  readonly outcome: 'not-committed' | 'unknown';
  constructor(message: string, outcome: 'not-committed' | 'unknown', options?: LockstepErrorOptions) {
    super(message, options);
    this.outcome = outcome;
  }
}

/** Thrown when the store did not answer within its time-out; a write may have been committed. */
export class StoreTimeoutError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_TIMEOUT';
}

/** Thrown when too many calls already wait for the store; nothing was sent. */
export class StoreOverloadedError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_OVERLOADED';
}

/** Told, not thrown, when what Lockstep has installed in the store lets others act with rights that are not theirs. */
export class StoreInsecureError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_INSECURE';
}

/** Told, not thrown, when something of the store's setup is to be mended; the message has the statement that does. */
export class StoreSetupError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_SETUP';
}

/** Thrown when others hold a row, or a transaction holds it, for longer than the call was to wait; nothing was written. */
export class StoreBusyError extends LockstepError {
  readonly code = 'LOCKSTEP_STORE_BUSY';
  readonly outcome = 'not-committed';
}

/**
 * Thrown by every call with the `tx` of a transaction that is over, or that can only be rolled back since a statement
 * failed: nothing was sent. The cause is what ended it, or that first failure.
 */
export class TransactionOverError extends LockstepError {
  readonly code = 'LOCKSTEP_TRANSACTION_OVER';
  readonly outcome = 'not-committed';
}

/** Thrown when the cache is needed and can't be reached: by writes to a strict collection, before the store is touched. */
export class CacheUnavailableError extends LockstepError {
  readonly code = 'LOCKSTEP_CACHE_UNAVAILABLE';
  /** True when the server answers, and refuses all writes: a replica, a failed snapshot, too few replicas. */
  readonly refuses: boolean;
  constructor(message: string, options: LockstepErrorOptions & { readonly refuses?: boolean } = {}) {
    super(message, options);
    this.refuses = options.refuses ?? false;
  }
}

/** Thrown when the queue did not take a job within its time-out. */
export class QueueUnavailableError extends LockstepError {
  readonly code = 'LOCKSTEP_QUEUE_UNAVAILABLE';
}

/** Thrown by a job's handler when trying again is pointless: the queue makes `job` a dead letter at once. */
export class JobRefusedError extends LockstepError {
  readonly code = 'LOCKSTEP_JOB_REFUSED';
  readonly job: QueueJob;
  constructor(message: string, job: QueueJob, options?: LockstepErrorOptions) {
    super(message, options);
    this.job = job;
  }
}

/** Thrown when a compare-and-set lost against other writers as often as was allowed; nothing was written. */
export class ConflictError extends LockstepError {
  readonly code = 'LOCKSTEP_CONFLICT';
}

/**
 * Thrown when the store's primary has a row below the `minVersion` that a reader asks for: no write of that version is
 * in the store. Its transaction was rolled back, the store was restored or lost it, it is another store's, or it is
 * still buffered in a cache that can't be reached.
 */
export class VersionNotFoundError extends LockstepError {
  readonly code = 'LOCKSTEP_VERSION_NOT_FOUND';
}

/**
 * Thrown when some of the entities of one call were not written, or may not have been; `results` says which, and why,
 * in the call's order. The message counts those that were not, and those of unknown outcome.
 */
export class PartialWriteError<Result = unknown> extends LockstepError {
  readonly code = 'LOCKSTEP_PARTIAL_WRITE';
  readonly results: readonly PromiseSettledResult<Result>[];
  constructor(
    message: string,
    results: readonly PromiseSettledResult<Result>[],
    options?: LockstepErrorOptions,
  ) {
    super(message, options);
    this.results = results;
  }
}

/** Thrown when a store, cache or queue lacks what a call needs; the message names it. */
export class UnsupportedError extends LockstepError {
  readonly code = 'LOCKSTEP_UNSUPPORTED';
}

/** One thing that keeps a Lockstep from doing its work. */
export interface NotReadyProblem {
  readonly part: 'collection' | 'cache' | 'queue';
  /** The collection's name, or the adapter's. */
  readonly name: string;
  readonly error: unknown;
}

/** Thrown by `open()` when a collection can't be used, or cache or queue don't answer. The message names each. */
export class NotReadyError extends LockstepError {
  readonly code = 'LOCKSTEP_NOT_READY';
  readonly problems: readonly NotReadyProblem[];
  constructor(problems: readonly NotReadyProblem[]) {
    const lines = problems.map(({ error, name, part }) => `${part} ${name}: ${messageOf(error)}`);
    super(`not ready: ${lines.join('; ')}`, { cause: problems[0]?.error });
    this.problems = problems;
  }
}

/** Thrown when something is used after `close()`. */
export class ClosedError extends LockstepError {
  readonly code = 'LOCKSTEP_CLOSED';
}

/** A message for whatever was thrown: JavaScript lets programs throw values that have no text. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown);
  } catch {
    return Object.prototype.toString.call(thrown);
  }
}

/** True of a refusal of what was to be written: the same would be refused again. */
export function isRefusal(error: unknown): error is LockstepError {
  return (
    error instanceof StoreRefusedError ||
    error instanceof SerializationError ||
    error instanceof ValidationError ||
    error instanceof InvalidOptionError ||
    error instanceof InvalidIdError
  );
}

/** Any error that a store's call rejects with. */
export type StoreError =
  | StoreRefusedError
  | StoreUnavailableError
  | StoreTimeoutError
  | StoreOverloadedError
  | StoreBusyError
  | StoreContractError;
