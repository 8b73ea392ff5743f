import type { Clock } from '@lockstep/core';
import type { Deadline } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { isFatal, isReadOnlyServer, stateOf } from '../errors.js';
import { storeDeadline } from './deadline.js';
import { TransactionGate } from './gate.js';
import { type Lender, lenderOf, type PooledClient } from './lender.js';
import { isReadOnly, isUnfit, outlive } from './outlived.js';
import type { Call } from './pipeline.js';

const ROLLBACK_MS = 2_000;

/** The COMMIT of a transaction that had failed. */
export class SilentRollback extends Error {}

/**
 * A transaction of knex on a connection that is lent for it here, so that the connection can be ended where the
 * server does not answer: it would be missing from the pool for as long as nobody says that it is gone.
 * Over with `commit` or `rollBack`, whichever comes first; its gate then refuses what still holds on to it.
 */
export class BoundedTransaction {
  readonly trx: Knex.Transaction;
  readonly gate: TransactionGate;
  readonly #lender: Lender;
  readonly #client: PooledClient;
  readonly #clock: Clock;
  #over = false;

  private constructor(
    trx: Knex.Transaction,
    gate: TransactionGate,
    lender: Lender,
    client: PooledClient,
    clock: Clock,
  ) {
    this.trx = trx;
    this.gate = gate;
    this.#lender = lender;
    this.#client = client;
    this.#clock = clock;
  }

  /**
   * Rejects at the deadline, or as knex does.
   *
   * @param opening what travels with the BEGIN, asked once there is a connection; where the server refuses it, the
   * transaction is begun and its gate says so
   */
  static async begin(
    knex: Knex,
    deadline: Deadline,
    opening: () => readonly Call[] = () => [],
    isolationLevel?: Knex.IsolationLevels,
  ): Promise<BoundedTransaction> {
    const lender = lenderOf(knex);
    const lending = borrow(lender);
    let client: PooledClient;
    try {
      client = await deadline.bound(lending);
    } catch (error) {
      lending.then((late) => lender.releaseConnection(late)).catch(() => undefined);
      throw error;
    }
    const gate = new TransactionGate(client, opening());
    try {
      const beginning = knex.transaction(undefined, {
        connection: gate.client,
        doNotRejectOnRollback: true,
        ...(isolationLevel === undefined ? {} : { isolationLevel }),
      });
      const trx = await deadline.bound(beginning);
      gate.guard(trx);
      return new BoundedTransaction(trx, gate, lender, client, deadline.clock);
    } catch (error) {
      gate.release();
      end(client, error);
      giveBack(lender, client);
      throw error;
    }
  }

  /**
   * Commits for certain: knex's own promise resolves whatever the server said, and the server answers the
   * COMMIT of a failed transaction with a rollback, not an error. What was sent can't be aborted.
   */
  async commit(timeoutMs: number, message: string): Promise<void> {
    this.gate.end('it is being committed');
    try {
      await storeDeadline(this.#clock, timeoutMs, message).bound(commit(this.trx, this.gate));
      this.#finish();
    } catch (error) {
      const answered = error instanceof SilentRollback || (stateOf(error) !== undefined && !isFatal(error));
      if (answered) await this.#leave();
      else this.#destroy(error);
      throw error;
    }
  }

  /**
   * Rolls back what is not over. Never rejects: where the server does not answer, the connection is ended.
   *
   * @param reason what the transaction failed with
   */
  async rollBack(reason?: unknown): Promise<void> {
    if (this.#over) return;
    const within = storeDeadline(this.#clock, ROLLBACK_MS, 'no answer to the rollback');
    this.gate.end('it is being rolled back');
    try {
      const answer = this.gate.finish(() => Promise.resolve(this.trx.rollback()));
      await within.bound(answer);
      if (isReadOnlyServer(reason)) await within.bound(this.#outlive(reason));
      this.#finish();
    } catch (error) {
      this.#destroy(error);
    }
  }

  /** Gives the connection back, with no transaction on it. */
  async #leave(): Promise<void> {
    const within = storeDeadline(this.#clock, ROLLBACK_MS, 'no answer to the rollback');
    try {
      await within.bound(this.gate.rollBackUnclosed());
      this.#finish();
    } catch (error) {
      this.#destroy(error);
    }
  }

  /** Asks the server first: the transaction alone may have been read-only. */
  async #outlive(reason: unknown): Promise<void> {
    if (await isReadOnly(this.#client)) outlive(this.#lender, this.#client, reason);
  }

  /** Ends the connection, and with it the transaction. */
  #destroy(reason: unknown): void {
    end(this.#client, reason);
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.gate.release();
    giveBack(this.#lender, this.#client);
  }
}

async function borrow(lender: Lender): Promise<PooledClient> {
  for (;;) {
    const client = await lender.acquireConnection();
    if (!isUnfit(lender, client)) return client;
    await lender.releaseConnection(client);
  }
}

async function commit(trx: Knex.Transaction, gate: TransactionGate): Promise<void> {
  const answer: unknown = await gate.finish(() => trx.commit());
  await trx.executionPromise;
  const { response } = (answer ?? {}) as { readonly response?: { readonly command?: unknown } };
  if (response?.command === 'ROLLBACK') throw new SilentRollback('COMMIT was answered with ROLLBACK');
}

/** knex does not lend it again. */
function end(client: PooledClient, reason: unknown): void {
  client.__knex__disposed = reason;
  client.connection.stream.destroy();
}

function giveBack(lender: Lender, client: PooledClient): void {
  // knex's note of whose statements they are: it stays on a connection that knex has not lent itself.
  delete client.__knexTxId;
  void lender.releaseConnection(client);
}
