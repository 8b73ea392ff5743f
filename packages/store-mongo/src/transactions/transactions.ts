import type { Change, StoreTransaction, StoreTransactionOptions, TransactionHost } from '@lockstep/core';
import {
  checkTransactionMode,
  type LockstepError,
  StoreBusyError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
  TransactionOverError,
} from '@lockstep/core';
import { Backoff, rolledBackBy, withTimeout } from '@lockstep/core/kit';
import type { ClientSession, MongoClient, TransactionOptions } from 'mongodb';
import { CallBound } from '../wire/bound.js';
import {
  isEndedBefore,
  isTransient,
  isUnknownCommit,
  isWriteConflict,
  toStoreError,
} from '../wire/errors.js';
import { guardedSession } from './guarded-session.js';
import { TransactionLog } from './log.js';
import { noteOwnStatements } from './reads.js';
import { withTexts } from './texts.js';

/** Two transactions that met must not meet again in step. */
const BETWEEN_TRIES = { firstMs: 3, lastMs: 150, jitter: 2 / 3 };
const ABORT_MS = 1_000;

/**
 * Runs in a row whose transaction the server had ended before they went on. An election, or a transaction that lived
 * for too long, ends one; a failed statement whose error the body swallows ends each, and the driver tells neither
 * from the other.
 */
const ENDED_TRIES = 5;

const BY_SESSION = new WeakMap<ClientSession, MongoTransaction>();

/** The transaction that a session belongs to, if this package began it. */
export function transactionOfSession(session: ClientSession): MongoTransaction | undefined {
  return BY_SESSION.get(session);
}

/** An open transaction: the driver's session, and what this package knows to have been changed in it. */
export class MongoTransaction extends TransactionLog implements StoreTransaction {
  readonly bound: CallBound;
  #last: Promise<unknown> = Promise.resolve();
  /** A statement met another transaction, whatever became of its error on the way. */
  transient = false;
  /** The first statement of the collections' that failed: the server has ended the transaction. */
  failure: unknown;
  #over: TransactionOverError | undefined;
  #ended = false;
  readonly #client: ClientSession;
  /** For the collections' calls: one that has begun goes on when the body has returned. */
  readonly calls: ClientSession;

  constructor(session: ClientSession, bound: CallBound, outdated: Set<string>) {
    super(session, outdated);
    this.bound = bound;
    this.#client = guardedSession(session, () => this.#over !== undefined);
    this.calls = guardedSession(session, () => this.#ended);
    BY_SESSION.set(this.#client, this);
  }

  get client(): ClientSession {
    this.handedOut = true;
    return this.#client;
  }

  seal(): void {
    this.#over ??= new TransactionOverError('the transaction is over: its body has returned');
  }

  /** Nothing of it is committed, and nothing more of it is sent. */
  end(cause: unknown): void {
    this.#over ??= new TransactionOverError('the transaction is over: it was rolled back', { cause });
    this.#ended = true;
  }

  /** Resolves once no call is under way. */
  async idle(): Promise<void> {
    await this.#last;
  }

  /** Why there is nothing to commit, though the body has returned. */
  get problem(): LockstepError | undefined {
    return this.failure === undefined || this.transient ? undefined : rolledBackBy(this.failure);
  }

  /** The error of a body that went on after a transient failure; the transaction runs again. */
  get lost(): StoreUnavailableError {
    const message = `${this.bound.what}: a statement failed and took the transaction with it`;
    return new StoreUnavailableError(message, 'not-committed', { cause: this.failure });
  }

  #check(): void {
    if (this.#over !== undefined) throw this.#over;
    if (this.failure === undefined) return;
    const message = 'a statement of the transaction failed, so it can only be rolled back';
    throw new TransactionOverError(message, { cause: this.failure });
  }

  /**
   * One call after the other: the server takes one statement of a transaction at a time. A call that is refused
   * since the transaction is over sent nothing, so it does not fail the transaction.
   */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#check();
    const noted = (error: unknown): never => {
      this.failed(error);
      throw error;
    };
    const turn = this.#last.then(() => {
      this.#check();
      return work()
        .catch(noted)
        .finally(() => {
          this.begun = true;
        });
    });
    this.#last = turn.then(nothing, nothing);
    try {
      const result = await turn;
      if (!this.#ended) return result;
    } catch (error) {
      if (!this.#ended) throw error;
    }
    throw this.#over;
  }

  /** Notes a statement's failure; the server has ended the transaction. */
  failed(error: unknown): void {
    if (isTransient(error)) this.transient = true;
    this.failure ??= error;
  }

  async changes(): Promise<readonly Change[]> {
    if (this.problem !== undefined) throw this.problem;
    if (this.handedOut && !this.transient) await noteOwnStatements(this, this.bound);
    return await withTexts(this, this.bound);
  }
}

function nothing(): void {}

/** The transaction of a call's options, if it has one. Throws `StoreRefusedError` for another store's. */
export function mongoTransaction(tx: StoreTransaction | undefined): MongoTransaction | undefined {
  if (tx === undefined || tx instanceof MongoTransaction) return tx;
  throw new StoreRefusedError('the transaction is not one of this store’s');
}

const TRANSACTION: TransactionOptions = {
  readPreference: 'primary',
  readConcern: { level: 'snapshot' },
  writeConcern: { w: 'majority' },
};

/**
 * Runs `body` in transactions until one commits, as the driver's labels ask: what is transient runs
 * anew, a commit of unknown fate is sent again, and both only as long as the caller's bound stands. A
 * throw of the body's rolls back and propagates as it is. What meets others for longer than `patienceMs` rejects
 * with `StoreBusyError`.
 */
export async function runTransaction<T>(
  client: MongoClient,
  deadline: CallBound,
  body: (tx: MongoTransaction) => Promise<T>,
  patienceMs = Number.POSITIVE_INFINITY,
): Promise<T> {
  const { clock, what } = deadline;
  const startedMs = clock.monotonic();
  const outdated = new Set<string>();
  let ended = 0;
  const backoff = new Backoff(BETWEEN_TRIES);
  for (;;) {
    deadline.check();
    const session = client.startSession({ causalConsistency: false });
    const tx = new MongoTransaction(session, deadline, outdated);
    try {
      session.startTransaction({ ...TRANSACTION, maxCommitTimeMS: deadline.serverMs });
      const result = await deadline.bound(body(tx));
      tx.seal();
      await deadline.bound(tx.idle());
      if (tx.problem !== undefined) throw tx.problem;
      if (tx.transient) throw tx.lost;
      await commit(session, deadline);
      return result;
    } catch (error) {
      tx.end(error);
      await abort(session, deadline);
      const again = (tx.transient || isTransient(error)) && !isUnknownCommit(error);
      if (!again) throw error;
      ended = tx.handedOut && (isEndedBefore(error) || isEndedBefore(tx.failure)) ? ended + 1 : 0;
      if (ended === ENDED_TRIES) throw goneOn(deadline, error);
      if (clock.monotonic() - startedMs >= patienceMs && isWriteConflict(error)) {
        throw new StoreBusyError(`${what}: others hold a document`, { cause: error });
      }
      if (!(await backoff.waitWithin(deadline))) throw toStoreError(error, what);
    } finally {
      await session.endSession().catch(() => {});
    }
  }
}

function goneOn({ what }: CallBound, cause: unknown): StoreUnavailableError {
  const message = `${what}: a statement of the transaction failed and its body went on, so it was rolled back`;
  return new StoreUnavailableError(message, 'not-committed', { cause });
}

async function commit(session: ClientSession, deadline: CallBound): Promise<void> {
  const backoff = new Backoff(BETWEEN_TRIES);
  // A process that was stopped finds its timers late: nothing is sent after the deadline.
  deadline.check();
  for (;;) {
    try {
      await deadline.bound(session.commitTransaction());
      return;
    } catch (error) {
      if (!isUnknownCommit(error) || !(await backoff.waitWithin(deadline))) {
        throw toStoreError(error, deadline.what);
      }
    }
  }
}

/** The server rolls back by itself what nobody commits, so its answer is not waited for without a bound. */
async function abort(session: ClientSession, { clock, timeoutMs, what }: CallBound): Promise<void> {
  if (!session.inTransaction()) return;
  const late = (): Error => new StoreTimeoutError(`${what}: no answer to the rollback`);
  await withTimeout(clock, session.abortTransaction(), Math.min(timeoutMs, ABORT_MS), late).catch(() => {});
}

/** The transactions of one client; one for all collections of a database, compared by identity. */
export function transactionHost(client: MongoClient, name: string): TransactionHost<ClientSession> {
  return {
    async transaction<T>(
      body: (tx: StoreTransaction) => Promise<T>,
      options: StoreTransactionOptions,
    ): Promise<T> {
      checkTransactionMode(options, ['repeatable read'], name);
      return await runTransaction(client, new CallBound(`${name}: transaction`, options), body);
    },
  };
}
