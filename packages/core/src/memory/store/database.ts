import type { Clock } from '../../contracts/clock.js';
import type { Change, ChangeFeed } from '../../contracts/feed.js';
import type {
  StoreCommand,
  StoreOutcome,
  StoreTransaction,
  StoreTransactionOptions,
  TransactionHost,
} from '../../contracts/store.js';
import {
  InvalidOptionError,
  StoreBusyError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../../errors.js';
import { type OptionsOf, option, withDefaults } from '../../kit/options.js';
import type { Deadline } from '../../kit/wait.js';
import { checkTransactionMode } from '../../write/transaction-mode.js';
import { callDeadline } from './calls.js';
import { applyStoreCommand, type ValidateRow } from './commands.js';
import { memoryFeed } from './feed.js';
import { DeadlockError, lockOwner, rowLocks } from './locks.js';
import { type MemoryTable, memoryTable, type RowState } from './table.js';
import { changeOf, MemoryTransaction, rowName } from './transaction.js';

export interface MemoryDatabaseOptions {
  /** For messages and metrics. @defaultValue 'memory' */
  readonly name?: string;
  /** Stamps versions and bounds waits. @defaultValue the system's */
  readonly clock?: Clock;
  /** Rows of a table; a write that would add another is refused. @defaultValue 1_000_000 */
  readonly maxRows?: number;
  /** Deleted rows of a table whose versions are remembered one by one. @defaultValue 100_000 */
  readonly maxTombstones?: number;
  /** Changes that nobody has taken; writes are refused while there are more. @defaultValue 1_000_000 */
  readonly maxPendingChanges?: number;
  /** How long a change made through the adapter is left to its writer's acknowledgement, in ms. @defaultValue 100 */
  readonly feedGraceMs?: number;
}

/** Tables of one process, their transactions and their change feed. */
export interface MemoryDatabase {
  readonly name: string;
  readonly transactions: TransactionHost;
  readonly feed: ChangeFeed;
}

/** What stores see of their database. */
export interface DatabaseInternals {
  readonly clock: Clock;
  tableOf(name: string): MemoryTable;
  /** Sets the constraint of a table; the last binding's stands. */
  constrain(table: string, validate: ValidateRow): void;
  transactionOf(handle: StoreTransaction): MemoryTransaction;
  /** Runs one command on its own; its change is `own` when a writer may acknowledge it. */
  execute(
    table: string,
    command: StoreCommand<unknown>,
    deadline: Deadline,
    own: boolean,
    /** Not after this, by the clock, once the row is locked. */
    notAfterMs?: number,
  ): Promise<StoreOutcome<unknown>>;
  /** Waits for whoever holds the row now; rejects at the call's end. */
  settle(table: string, key: string, deadline: Deadline): Promise<void>;
}

/** How often a transaction that lost a deadlock is run in all. */
const TRANSACTION_ATTEMPTS = 5;

/** How long a flush waits for a row that others hold, in ms. */
const FLUSH_LOCK_MS = 200;

const internals = new WeakMap<MemoryDatabase, DatabaseInternals>();

export function internalsOf(database: MemoryDatabase): DatabaseInternals {
  const known = internals.get(database);
  if (known === undefined) {
    throw new InvalidOptionError('memoryStore.database', 'must come from memoryDatabase()');
  }
  return known;
}

const MOST = 2 ** 32;

export const DATABASE = {
  name: option.is<string, string>('a string', (name) => typeof name === 'string', 'memory'),
  clock: option.clock(),
  maxRows: option.integer(1_000_000, 1, MOST),
  maxTombstones: option.integer(100_000, 1, MOST),
  maxPendingChanges: option.integer(1_000_000, 1, MOST),
  feedGraceMs: option.integer(100, 0, 3_600_000),
} satisfies OptionsOf<MemoryDatabaseOptions>;

/** Makes an empty database in this process's memory, to be shared by stores. Throws `InvalidOptionError`. */
export function memoryDatabase(options: MemoryDatabaseOptions = {}): MemoryDatabase {
  const settings = withDefaults(options, DATABASE, 'memoryDatabase');
  const { clock, feedGraceMs: graceMs, maxRows, maxTombstones, name } = settings;
  const tables = new Map<string, MemoryTable>();
  const validators = new Map<string, ValidateRow>();
  const locks = rowLocks();
  const open = new WeakMap<StoreTransaction, MemoryTransaction>();
  let commits = 0;
  const feed = memoryFeed({ name, clock, graceMs, changedSince, commits: () => commits });

  function tableOf(table: string): MemoryTable {
    let known = tables.get(table);
    if (known === undefined) {
      known = memoryTable(maxTombstones);
      tables.set(table, known);
    }
    return known;
  }

  function validatorOf(table: string): ValidateRow {
    return validators.get(table) ?? (() => {});
  }

  /** From a commit on; `undefined` where deletes since then were forgotten. */
  function changedSince(source: string, commit: number): Change[] | undefined {
    const table = tableOf(source);
    if (table.forgotten >= commit) return undefined;
    return [...table.entries()]
      .filter(([, state]) => (state.commit ?? 0) >= commit)
      .map(([key, state]) => changeOf(source, key, state));
  }

  /** Throws `StoreRefusedError` when there is no room for what is about to be committed. */
  function checkRoom(
    rows: Iterable<{ readonly table: string; readonly key: string; readonly state: RowState }>,
  ): void {
    const added = new Map<string, number>();
    let changes = 0;
    for (const { table, key, state } of rows) {
      changes += 1;
      if (state.value === undefined || tableOf(table).get(key)?.value !== undefined) continue;
      added.set(table, (added.get(table) ?? 0) + 1);
    }
    for (const [table, count] of added) {
      if (tableOf(table).size + count > maxRows) {
        throw new StoreRefusedError(`${name}:${table} is full: it holds maxRows = ${maxRows} rows`);
      }
    }
    if (feed.size + changes > settings.maxPendingChanges) {
      throw new StoreRefusedError(
        `${name}: maxPendingChanges = ${settings.maxPendingChanges} changes wait for somebody to take them`,
      );
    }
  }

  function apply(table: string, key: string, state: RowState, own: boolean): void {
    const commit = ++commits;
    tableOf(table).set(key, { ...state, commit });
    feed.append(changeOf(table, key, state), own, commit);
  }

  function executeLocked(table: string, command: StoreCommand<unknown>, own: boolean): StoreOutcome<unknown> {
    const { key } = command;
    const { outcome, next } = applyStoreCommand(
      tableOf(table).get(key),
      command,
      clock.now(),
      validatorOf(table),
    );
    if (next === undefined) return outcome;
    try {
      checkRoom([{ table, key, state: next }]);
    } catch (error) {
      if (error instanceof StoreRefusedError) return { kind: 'failed', error };
      throw error;
    }
    apply(table, key, next, own);
    return outcome;
  }

  async function locked<T>(table: string, key: string, deadline: Deadline, work: () => T): Promise<T> {
    deadline.throwIfOver();
    const row = rowName(table, key);
    const owner = lockOwner();
    const acquired = locks.acquire(row, owner, deadline);
    if (acquired !== true) await acquired;
    try {
      return work();
    } finally {
      locks.release(row, owner);
    }
  }

  async function runOnce<T>(body: (tx: StoreTransaction) => Promise<T>, deadline: Deadline): Promise<T> {
    deadline.throwIfOver();
    const tx = new MemoryTransaction({
      locks,
      deadline,
      now: () => clock.now(),
      committed: (table, key) => tableOf(table).get(key),
      validatorOf,
    });
    open.set(tx, tx);
    try {
      const result = await deadline.bound(body(tx));
      tx.seal();
      tx.checkCommit();
      checkRoom(tx.changedRows());
      for (const { table, key, state } of tx.changedRows()) apply(table, key, state, true);
      return result;
    } catch (error) {
      tx.end(error);
      throw tx.deadlock ?? error;
    } finally {
      tx.end();
    }
  }

  const transactions: TransactionHost = {
    async transaction<T>(
      body: (tx: StoreTransaction) => Promise<T>,
      call: StoreTransactionOptions,
    ): Promise<T> {
      checkTransactionMode(call, ['read committed'], name);
      const deadline = callDeadline(call, clock, `${name}: transaction`);
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await runOnce(body, deadline);
        } catch (error) {
          if (!(error instanceof DeadlockError)) throw error;
          if (attempt < TRANSACTION_ATTEMPTS) continue;
          throw new StoreUnavailableError(`${name}: deadlock, ${attempt} times in a row`, 'not-committed', {
            cause: error,
          });
        }
      }
    },
  };

  const database: MemoryDatabase = { name, transactions, feed };
  internals.set(database, {
    clock,
    tableOf,
    constrain: (table, validate) => validators.set(table, validate),
    transactionOf(handle) {
      const tx = open.get(handle);
      if (tx === undefined) throw new StoreRefusedError(`${name}: not a transaction of this database`);
      return tx;
    },
    async execute(table, command, deadline, own, notAfterMs) {
      const { key } = command;
      const writing = (within: Deadline): Promise<StoreOutcome<unknown>> =>
        locked(table, key, within, () => {
          if (notAfterMs !== undefined && clock.now() > notAfterMs) {
            throw new StoreTimeoutError(`${name}: the write of "${key}" came after its deadline`, { key });
          }
          return executeLocked(table, command, own);
        });
      if (command.kind !== 'flush') return await writing(deadline);
      try {
        return await writing(deadline.narrowed(FLUSH_LOCK_MS));
      } catch (cause) {
        deadline.throwIfOver();
        if (!(cause instanceof StoreTimeoutError)) throw cause;
        throw new StoreBusyError(`${name}: others hold the row "${key}"`, { key, cause });
      }
    },
    settle: (table, key, deadline) => locked(table, key, deadline, () => undefined),
  });
  return database;
}
