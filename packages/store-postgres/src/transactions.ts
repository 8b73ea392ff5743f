import {
  type Change,
  type Clock,
  type StoreCallOptions,
  type StoreTransaction,
  StoreUnavailableError,
  type TransactionHost,
} from '@lockstep/core';
import type { Knex } from 'knex';
import { isFatal, isLate, isReadOnlyServer, isTransient, stateOf, storeError } from './errors.js';
import { atLeast, equal, minus, plus, times } from './sql/operators.js';
import { microsSql, SETTING_DEADLINE, SETTING_TX } from './sql/stamp.js';
import { notedTransient, noteTransient } from './transaction-handle.js';
import { BoundedTransaction, SilentRollback } from './wire/transaction.js';

const MAX_TRIES = 4;
const IDLE_SLACK_MS = 5000;

const BEGIN_SETTINGS = `SELECT pg_catalog.set_config('statement_timeout', ?, true),
pg_catalog.set_config('idle_in_transaction_session_timeout', ?, true),
pg_catalog.set_config('${SETTING_DEADLINE}', ${plus(microsSql(), '?::pg_catalog.int8')}::pg_catalog.text, true),
pg_catalog.set_config('${SETTING_TX}', 'own', true)`;

/**
 * Newest change per key. A version is never below the clock of the transaction's start, which bounds
 * the search in the outbox's primary key; a second of slack covers a clock that steps back.
 */
const CHANGES = `SELECT DISTINCT ON (source, key) source, key, version::pg_catalog.text AS version, op::pg_catalog.text AS op,
${times("pg_catalog.date_part('epoch', changed_at)", '1000')} AS at
FROM lockstep.outbox
WHERE ${atLeast('version', minus(microsSql('pg_catalog.now()'), '1000000'))}
AND ${equal('txid', 'pg_catalog.pg_current_xact_id_if_assigned()')}
ORDER BY source, key, version DESC, id DESC`;

/** A change as a query of the outbox gives it. */
export interface ChangeRecord {
  readonly source: string;
  readonly key: string;
  readonly version: string;
  readonly op: string;
  readonly at: number;
}

/** A change as the contract has it. */
export function toChange(row: ChangeRecord): Change {
  return {
    source: row.source,
    key: row.key,
    version: Number(row.version),
    op: row.op === 'd' ? 'delete' : 'put',
    changedAtMs: Number(row.at),
  };
}

/** Transactions through knex; every statement in them is bounded and counts as Lockstep's own. */
export class PostgresTransactions implements TransactionHost {
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly #name: string;

  constructor(knex: Knex, clock: Clock, name: string) {
    this.#knex = knex;
    this.#clock = clock;
    this.#name = name;
  }

  async transaction<T>(body: (tx: StoreTransaction) => Promise<T>, options: StoreCallOptions): Promise<T> {
    const deadline = this.#clock.monotonic() + options.timeoutMs;
    for (let attempt = 1; ; attempt++) {
      options.signal?.throwIfAborted();
      try {
        return await this.#once(body, options, deadline);
      } catch (error) {
        const cause = causeOf(error, isTransient);
        const waitMs = Math.random() * 10 * 2 ** attempt;
        if (cause === undefined) throw error;
        if (attempt === MAX_TRIES || this.#clock.monotonic() + waitMs >= deadline) {
          throw storeError(cause, `${this.#name}: transaction`, true);
        }
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#clock.schedule(resolve, waitMs);
        await promise;
      }
    }
  }

  async #once<T>(
    body: (tx: StoreTransaction) => Promise<T>,
    options: StoreCallOptions,
    deadline: number,
  ): Promise<T> {
    const message = `${this.#name}: the transaction took more than ${options.timeoutMs} ms`;
    const left = (): number => Math.max(0, deadline - this.#clock.monotonic());
    const transaction = await this.#begin(options, left, message);
    const { trx } = transaction;
    let result: T;
    try {
      result = await transaction.bounded(body(handleOf(trx)), left(), message);
    } catch (error) {
      await transaction.rollBack(causeOf(error, isReadOnlyServer));
      throw (
        notedTransient(trx) ?? (isLate(error) ? storeError(error, `${this.#name}: transaction`, true) : error)
      );
    }
    try {
      await transaction.commit(left(), message);
      return result;
    } catch (error) {
      if (isTransient(error)) throw error;
      if (error instanceof SilentRollback) {
        throw new StoreUnavailableError(
          `${this.#name}: a statement of the transaction failed, so it was rolled back`,
          'not-committed',
        );
      }
      if (stateOf(error) !== undefined && !isFatal(error))
        throw storeError(error, `${this.#name}: commit`, true);
      throw new StoreUnavailableError(
        `${this.#name}: the answer to the commit was lost: ${error instanceof Error ? error.message : String(error)}`,
        'unknown',
        { cause: error },
      );
    }
  }

  async #begin(
    { signal }: StoreCallOptions,
    left: () => number,
    message: string,
  ): Promise<BoundedTransaction> {
    let transaction: BoundedTransaction | undefined;
    try {
      const bound = { clock: this.#clock, signal };
      transaction = await BoundedTransaction.begin(this.#knex, bound, left(), message);
      // The server's bound on idling comes after our own, whose rollback keeps the connection.
      const ms = Math.max(1, Math.ceil(left()));
      const settings = transaction.trx.raw(BEGIN_SETTINGS, [
        String(ms),
        String(ms + IDLE_SLACK_MS),
        String(ms * 1_000),
      ]);
      await transaction.bounded(settings, left(), message);
      return transaction;
    } catch (error) {
      await transaction?.rollBack();
      if (signal?.aborted || isTransient(error)) throw error;
      throw storeError(error, `${this.#name}: begin`, false);
    }
  }
}

/** The failure of a kind behind an error, however the body wrapped it. */
function causeOf(error: unknown, isOfKind: (cause: unknown) => boolean): unknown {
  let cause = error;
  for (let depth = 0; depth < 8 && cause instanceof Error; depth++) {
    if (isOfKind(cause)) return cause;
    cause = cause.cause;
  }
  return undefined;
}

function handleOf(trx: Knex.Transaction): StoreTransaction {
  return {
    client: trx,
    changes: async () => {
      try {
        // Triggers that wait for the commit may change rows, too.
        const answers = await trx.raw<{ rows: ChangeRecord[] }[]>(
          `SET CONSTRAINTS ALL IMMEDIATE; ${CHANGES}`,
        );
        return (answers[1]?.rows ?? []).map(toChange);
      } catch (error) {
        if (isTransient(error)) noteTransient(trx, error);
        throw storeError(error, 'commit', true);
      }
    },
  };
}
