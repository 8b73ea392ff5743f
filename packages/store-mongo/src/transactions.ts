import type { Change, StoreCallOptions, StoreTransaction, TransactionHost } from '@lockstep/core';
import { StoreRefusedError } from '@lockstep/core';
import type { ClientSession, MongoClient, TransactionOptions } from 'mongodb';
import { CallBound } from './bound.js';
import { isTransient, isUnknownCommit, toStoreError } from './errors.js';
import { TransactionLog } from './transaction-log.js';
import { noteOwnStatements } from './transaction-reads.js';

/** The pause before a transaction that met another one runs again, in ms; it doubles up to the other. */
const FIRST_BACKOFF_MS = 2;
const MAX_BACKOFF_MS = 100;

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

  constructor(session: ClientSession, bound: CallBound) {
    super(session);
    this.bound = bound;
    BY_SESSION.set(session, this);
  }

  get client(): ClientSession {
    this.handedOut = true;
    return this.session;
  }

  /** One call after the other: the server takes one statement of a transaction at a time. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.then(nothing, nothing);
    return await turn;
  }

  /** Notes a statement's failure; the server has ended the transaction. */
  failed(error: unknown): void {
    if (isTransient(error)) this.transient = true;
  }

  async changes(): Promise<readonly Change[]> {
    if (this.handedOut && !this.transient) await noteOwnStatements(this, this.bound);
    return this.recorded();
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
 * throw of the body's rolls back and propagates as it is.
 */
export async function runTransaction<T>(
  client: MongoClient,
  bound: CallBound,
  body: (tx: MongoTransaction) => Promise<T>,
): Promise<T> {
  let backoffMs = FIRST_BACKOFF_MS;
  for (;;) {
    bound.check();
    const session = client.startSession({ causalConsistency: false });
    const tx = new MongoTransaction(session, bound);
    try {
      session.startTransaction({ ...TRANSACTION, maxCommitTimeMS: bound.maxTimeMS });
      const result = await bound.during(body(tx));
      if (tx.transient) throw lost(bound);
      await commit(session, bound);
      return result;
    } catch (error) {
      await abort(session, bound);
      const again = (tx.transient || isTransient(error)) && !isUnknownCommit(error);
      if (!again) throw error;
      if (bound.remainingMs <= backoffMs) throw toStoreError(error, bound.what);
    } finally {
      await session.endSession().catch(() => {});
    }
    // Two that met must not meet again in step.
    await new Promise((resolve) => setTimeout(resolve, backoffMs * (0.5 + Math.random())));
    backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
  }
}

function lost(bound: CallBound): StoreRefusedError {
  return new StoreRefusedError(`${bound.what}: a statement failed and took the transaction with it`);
}

async function commit(session: ClientSession, bound: CallBound): Promise<void> {
  // A process that was stopped finds its timers late: nothing is sent after the deadline.
  bound.check();
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
    try {
      await bound.during(session.commitTransaction());
      return;
    } catch (error) {
      if (!isUnknownCommit(error) || bound.remainingMs <= backoffMs) throw toStoreError(error, bound.what);
    }
    await new Promise((resolve) => setTimeout(resolve, backoffMs));
  }
}

async function abort(session: ClientSession, bound: CallBound): Promise<void> {
  if (!session.inTransaction()) return;
  // Not waited for without bound: the server rolls back by itself what nobody commits.
  const aborted = session.abortTransaction().catch(() => {});
  await Promise.race([
    aborted,
    new Promise((resolve) => setTimeout(resolve, Math.min(bound.timeoutMs, 1000)).unref()),
  ]);
}

/** The transactions of one client; one for all collections of a database, compared by identity. */
export function transactionHost(client: MongoClient, name: string): TransactionHost {
  return {
    async transaction<T>(body: (tx: StoreTransaction) => Promise<T>, options: StoreCallOptions): Promise<T> {
      return await runTransaction(client, new CallBound(`${name}: transaction`, options), body);
    },
  };
}
