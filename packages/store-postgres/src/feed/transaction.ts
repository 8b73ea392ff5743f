import type { Clock } from '@lockstep/core';
import type { Knex } from 'knex';
import { ReadOnlyServerError } from '../errors.js';
import { SET_SAFE_PATH } from '../sql/stamp.js';
import { IS_READ_ONLY } from '../wire/outlived.js';
import { BoundedTransaction } from '../wire/transaction.js';
import type { FeedParts } from './parts.js';
import { feedDeadline, tooLong } from './too-long.js';

/** At least once: a crash right after the commit may hand a batch over again. */
const SETTINGS = `SELECT ${IS_READ_ONLY} AS "readOnly", pg_catalog.set_config('statement_timeout', ?, true), pg_catalog.set_config('idle_in_transaction_session_timeout', ?, true), pg_catalog.set_config('synchronous_commit', 'off', true)`;

/**
 * A claim goes along the primary key, and what is taken is found by its place, whatever the planner thinks: its statistics
 * are of when the outbox was empty, or much longer, and a scan, or a sort, of all of a backlog for each batch would be
 * paid for with the square of its length. What can't be had otherwise counts as costly then, and would be compiled (`jit`).
 */
const NO_SCANS = ['enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'jit']
  .map((name) => `pg_catalog.set_config('${name}', 'off', true)`)
  .join(', ');

export interface FeedTransactionOptions {
  readonly statementTimeoutMs?: number;
  /** The transaction's statements reject with the signal's reason once that aborts. */
  readonly signal?: AbortSignal;
  /** True: it reads the user's tables, whose policies' functions may count on the session's `search_path`. */
  readonly readsTables?: boolean;
}

/** The server ends a statement a little before we end its connection. */
const SLACK_MS = 1_000;

/** A transaction of the feed's own. Each of its statements is bounded; `end` ends it, whatever has happened. */
export class FeedTransaction {
  readonly #transaction: BoundedTransaction;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #statementTimeoutMs: number;

  private constructor(
    transaction: BoundedTransaction,
    clock: Clock,
    signal: AbortSignal | undefined,
    statementTimeoutMs: number,
  ) {
    this.#transaction = transaction;
    this.#clock = clock;
    this.#signal = signal;
    this.#statementTimeoutMs = statementTimeoutMs;
  }

  static async begin(
    { knex, clock, options }: FeedParts,
    {
      statementTimeoutMs = options.statementTimeoutMs,
      signal,
      readsTables = false,
    }: FeedTransactionOptions = {},
  ): Promise<FeedTransaction> {
    const deadline = feedDeadline(clock, 'begin', options.statementTimeoutMs, signal);
    // Whatever the session's default is: what is checked at the end of a claim is to be read then.
    const transaction = await BoundedTransaction.begin(knex, deadline, undefined, 'read committed');
    try {
      const idleMs = options.handlerTimeoutMs + options.statementTimeoutMs;
      const settings = transaction.trx.raw<{ rows: { readOnly: boolean }[] }>(
        readsTables ? SETTINGS : `${SETTINGS}, ${SET_SAFE_PATH}, ${NO_SCANS}`,
        [String(statementTimeoutMs), String(idleMs)],
      );
      const { rows } = await deadline.bound(settings);
      if (rows[0]?.readOnly === true) throw new ReadOnlyServerError('feed');
    } catch (error) {
      await transaction.rollBack(error);
      throw error;
    }
    return new FeedTransaction(transaction, clock, signal, statementTimeoutMs);
  }

  /** `what` names the statement in errors. */
  async rows<Row>(what: string, sql: string, bindings: readonly Knex.RawBinding[] = []): Promise<Row[]> {
    const query = this.#transaction.trx.raw<{ rows: Row[] }>(sql, bindings);
    const timeoutMs = this.#statementTimeoutMs + SLACK_MS;
    const { rows } = await feedDeadline(this.#clock, what, timeoutMs, this.#signal).bound(query);
    return rows;
  }

  async commit(): Promise<void> {
    await this.#transaction.commit(this.#statementTimeoutMs, tooLong('commit', this.#statementTimeoutMs));
  }

  /** Rolls back what was not committed. Never rejects. */
  end(): Promise<void> {
    return this.#transaction.rollBack();
  }
}
