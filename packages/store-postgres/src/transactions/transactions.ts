import {
  type Change,
  type Clock,
  type StoreTransaction,
  type StoreTransactionOptions,
  StoreUnavailableError,
  type TransactionHost,
  type TransactionMode,
} from '@lockstep/core';
import { Backoff, type Deadline } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { beforeOfOthers } from '../attach/schema.js';
import {
  isFatal,
  isLate,
  isMissingTable,
  isReadOnlyServer,
  isTransient,
  stateOf,
  storeError,
} from '../errors.js';
import { atLeast, equal, minus, operator, plus, times } from '../sql/operators.js';
import { microsSql, SCHEMA, SETTING_DEADLINE, SETTING_TX } from '../sql/stamp.js';
import { isAlteredMeanwhile } from '../table/shape.js';
import { textsIn } from '../values/texts.js';
import { storeDeadline } from '../wire/deadline.js';
import { bare, type Call, type Row, type Statement, statement } from '../wire/pipeline.js';
import { BoundedTransaction, SilentRollback } from '../wire/transaction.js';
import type { LastRead, PostgresTransaction } from './handle.js';

const MAX_TRIES = 4;
const BETWEEN_TRIES = { firstMs: 20, lastMs: 80, jitter: 1 };
const IDLE_SLACK_MS = 5000;
/** Between the two clocks that tell for how long a transaction has been open. */
const SLACK_US = 100_000;
/** A commit that was sent is waited for, whatever time is left: nothing but its answer says whether it was one. */
const COMMIT_MS = 2000;

/** $1: the bound of each statement, $2: of idling, in ms; $3: that of the whole, in µs. */
const BEGIN_SETTINGS = `SELECT pg_catalog.set_config('statement_timeout', $1, true),
pg_catalog.set_config('idle_in_transaction_session_timeout', $2, true),
pg_catalog.set_config('${SETTING_DEADLINE}', ${plus(microsSql(), '$3::pg_catalog.int8')}::pg_catalog.text, true),
pg_catalog.set_config('${SETTING_TX}', 'own', true)`;

/**
 * Newest change per key, of those that one record holds together, too. A version is never below the clock of the transaction's
 * start, which bounds the search in the outbox's primary key. A clock that was set back since lies behind that by as much as
 * it lacks of the time that has passed. With the texts come those that others' changes of the row have replaced, while the feed
 * still holds these. $1: for how long the transaction has been open, in µs.
 */
const CHANGES = `SELECT n.source, n.key, n.version, n.op, n.at,
${operator('n.texts', '||', `CASE WHEN n.texts IS NOT NULL THEN ${beforeOfOthers('n.source', 'n.key')} END`)}::pg_catalog.text AS texts
FROM (SELECT DISTINCT ON (o.source, c.key) o.source, c.key, c.version::pg_catalog.text AS version, op::pg_catalog.text AS op,
${times("pg_catalog.date_part('epoch', changed_at)", '1000')} AS at,
pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(before, after)) FILTER (WHERE before IS NOT NULL OR after IS NOT NULL)
  OVER (PARTITION BY o.source, c.key) AS texts
FROM lockstep.outbox o, LATERAL ROWS FROM (pg_catalog.unnest(coalesce(o.keys, ARRAY[o.key])), pg_catalog.unnest(coalesce(o.versions, ARRAY[o.version]))) AS c(key, version)
WHERE ${atLeast('o.version', minus(`least(${microsSql('pg_catalog.now()')}, ${minus(microsSql(), '$1::pg_catalog.int8')})`, String(SLACK_US)))}
AND ${equal('txid', 'pg_catalog.pg_current_xact_id_if_assigned()')}
ORDER BY o.source, c.key, c.version DESC, id DESC) n`;

const OUTBOX = `SELECT pg_catalog.to_regclass('${SCHEMA}.outbox') IS NOT NULL AS there`;

/** A plan that was made beside another outbox must not become a scan of this one, nor be compiled for one. Nothing but the commit comes after it. */
const BY_INDEX = `SELECT pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('jit', 'off', true)`;

/** A change as a query of the outbox gives it. */
export interface ChangeRecord {
  readonly source: string;
  readonly key: string;
  readonly version: string;
  readonly op: string;
  readonly at: number;
  /** As JSON: for each change of the key the texts of the row before and after it, `null` where there was none. */
  readonly texts?: string | null;
}

/** A change as the contract has it. */
export function toChange(row: ChangeRecord): Change {
  const texts = textsIn(row.texts);
  const change: Change = {
    source: row.source,
    key: row.key,
    version: Number(row.version),
    op: row.op === 'd' ? 'delete' : 'put',
    changedAtMs: Number(row.at),
  };
  return texts === undefined ? change : { ...change, texts };
}

/** The statements around a body's own. */
type TransactionStatements = Readonly<Record<'settings' | 'constraints' | 'byIndex' | 'changes', Statement>>;

/**
 * Transactions through knex; every statement in them is bounded and counts as Lockstep's own. Once one is over, for
 * whatever reason, its gate refuses what its body goes on to send, on the handle or through the tables.
 */
export class PostgresTransactions implements TransactionHost<Knex.Transaction> {
  declare readonly clientType?: Knex.Transaction;
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #outbox = { missing: false };
  readonly #statements: TransactionStatements;

  /** @param prepared false: no statement is sent by name */
  constructor(knex: Knex, clock: Clock, name: string, prepared: boolean) {
    this.#knex = knex;
    this.#clock = clock;
    this.#name = name;
    this.#statements = {
      settings: statement(BEGIN_SETTINGS, prepared),
      constraints: statement('SET CONSTRAINTS ALL IMMEDIATE', false),
      byIndex: statement(BY_INDEX, prepared),
      changes: statement(CHANGES, prepared),
    };
  }

  /** For statements outside of transactions. */
  get client(): Knex {
    return this.#knex;
  }

  async transaction<T>(
    body: (tx: StoreTransaction) => Promise<T>,
    options: StoreTransactionOptions,
  ): Promise<T> {
    const { signal, timeoutMs } = options;
    const message = `${this.#name}: the transaction took more than ${timeoutMs} ms`;
    const deadline = storeDeadline(this.#clock, timeoutMs, message, signal);
    const backoff = new Backoff(BETWEEN_TRIES);
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await this.#once(body, options, deadline, message);
      } catch (error) {
        const cause = causeOf(error, isOver);
        if (cause === undefined) throw error;
        if (attempt === MAX_TRIES || !(await backoff.waitWithin(deadline))) {
          throw storeError(cause, `${this.#name}: transaction`, true);
        }
      }
    }
  }

  async #once<T>(
    body: (tx: StoreTransaction) => Promise<T>,
    options: StoreTransactionOptions,
    deadline: Deadline,
    message: string,
  ): Promise<T> {
    const transaction = await this.#begin(options, deadline);
    const { gate } = transaction;
    const readsFailed: LastRead['failed'][] = [];
    let result: T;
    try {
      result = await deadline.bound(
        body(
          handleOf(transaction, {
            clock: this.#clock,
            outbox: this.#outbox,
            statements: this.#statements,
            readsFailed,
          }),
        ),
      );
      gate.end('its body has returned');
      // What the body did not wait for may have ended the transaction, or failed.
      if (gate.underWay !== undefined) await deadline.bound(gate.underWay);
      if (gate.problem !== undefined) throw gate.problem;
    } catch (error) {
      gate.end('it is being rolled back', error);
      await transaction.rollBack(causeOf(error, isReadOnlyServer));
      const { committed, transient } = gate;
      throw (
        committed ??
        transient ??
        (isLate(error) ? storeError(error, `${this.#name}: transaction`, true) : error)
      );
    }
    try {
      await transaction.commit(Math.max(deadline.remainingMs, COMMIT_MS), message);
      return result;
    } catch (error) {
      if (isTransient(error)) throw error;
      this.#outbox.missing ||= isMissingOutbox(error);
      for (const failed of readsFailed) await failed(error);
      if (error instanceof SilentRollback) throw gate.transient ?? gate.problem ?? error;
      if (stateOf(error) !== undefined && !isFatal(error))
        throw storeError(error, `${this.#name}: commit`, true);
      throw new StoreUnavailableError(
        `${this.#name}: the answer to the commit was lost: ${error instanceof Error ? error.message : String(error)}`,
        'unknown',
        { cause: error },
      );
    }
  }

  async #begin(options: StoreTransactionOptions, deadline: Deadline): Promise<BoundedTransaction> {
    let transaction: BoundedTransaction | undefined;
    try {
      transaction = await BoundedTransaction.begin(this.#knex, deadline, () =>
        this.#opening(options, deadline),
      );
      const { openingError } = transaction.gate;
      if (openingError !== undefined) throw openingError;
      return transaction;
    } catch (error) {
      await transaction?.rollBack();
      if (deadline.signal?.aborted || isTransient(error)) throw error;
      throw storeError(error, `${this.#name}: begin`, false);
    }
  }

  /** What travels with the BEGIN. */
  #opening(options: StoreTransactionOptions, deadline: Deadline): Call[] {
    const mode = modeSql(options);
    // The server's bound on idling comes after our own, whose rollback keeps the connection.
    const ms = Math.max(1, Math.ceil(deadline.remainingMs));
    const values = [String(ms), String(ms + IDLE_SLACK_MS), String(ms * 1_000)];
    const settings = { statement: this.#statements.settings, values };
    return mode === undefined ? [settings] : [bare(mode), settings];
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

/** Whether a next run may not meet it. */
function isOver(error: unknown): boolean {
  return isTransient(error) || isMissingOutbox(error) || isAlteredMeanwhile(error);
}

/** The last table was detached while the transaction ran. Run again, it knows that there is nothing to read. */
function isMissingOutbox(error: unknown): boolean {
  return isMissingTable(error) && error instanceof Error && error.message.includes(SCHEMA);
}

interface Handled {
  /** Takes what is told of a commit that failed. */
  readonly readsFailed: LastRead['failed'][];
  /** Whether it was missing when a transaction looked last. */
  readonly outbox: { missing: boolean };
  readonly statements: TransactionStatements;
  readonly clock: Clock;
}

function handleOf(
  { gate, trx }: BoundedTransaction,
  { clock, outbox, readsFailed, statements }: Handled,
): PostgresTransaction {
  const beganMs = clock.monotonic();
  const failed = (): void => {
    if (gate.problem !== undefined) throw gate.problem;
  };
  /** Triggers that wait for the commit may change rows, too. */
  const constraints: Call = { statement: statements.constraints, values: [] };
  const changed = (): Call[] => {
    const openUs = String(Math.max(0, Math.round((clock.monotonic() - beganMs) * 1_000)));
    return [
      { statement: statements.byIndex, values: [] },
      { statement: statements.changes, values: [openUs] },
    ];
  };
  return {
    client: trx,
    seal: () => gate.end('its body has returned'),
    changes: async () => {
      failed();
      try {
        if (outbox.missing) {
          const [row] = await gate.ask([constraints, { statement: statement(OUTBOX, false), values: [] }]);
          if (row?.value['there'] !== true) return [];
          outbox.missing = false;
        }
        return changesIn(await gate.ask([constraints, ...changed()]));
      } catch (error) {
        outbox.missing ||= isMissingOutbox(error);
        throw gate.transient ?? storeError(error, 'commit', true);
      }
    },
    changesWithCommit: () => {
      failed();
      if (outbox.missing) return undefined;
      const waited = readsFailed.length > 0 ? [] : [constraints];
      const rows = gate.closing.add([...waited, ...changed()]);
      return () => changesIn(rows());
    },
    readWithCommit: ({ call, described, failed: readFailed }) => {
      readsFailed.push(readFailed);
      return gate.closing.add([constraints, call], { described });
    },
  };
}

const changesIn = (rows: readonly Row[]): Change[] =>
  rows.map(({ value }) => toChange(value as unknown as ChangeRecord));

/** The mode as `SET TRANSACTION` takes it, before anything else is asked; `undefined`: the server's default. */
function modeSql({ deferrable, isolation, readOnly }: TransactionMode): string | undefined {
  const modes = [
    ...(isolation === undefined ? [] : [`ISOLATION LEVEL ${isolation.toUpperCase()}`]),
    ...(readOnly === undefined ? [] : [readOnly ? 'READ ONLY' : 'READ WRITE']),
    ...(deferrable === undefined ? [] : [deferrable ? 'DEFERRABLE' : 'NOT DEFERRABLE']),
  ];
  return modes.length === 0 ? undefined : `SET TRANSACTION ${modes.join(', ')}`;
}
