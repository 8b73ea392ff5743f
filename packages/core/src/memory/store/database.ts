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
import { HOUR_MS, type OptionsOf, option, withDefaults } from '../../kit/options.js';
import type { Deadline } from '../../kit/wait.js';
import { checkTransactionMode } from '../../write/transaction-mode.js';
import { callDeadline } from './calls.js';
import type { ValidateRow } from './commands.js';
import { type MemoryFeed, memoryFeed } from './feed.js';
import { DeadlockError, RowLocks } from './locks.js';
import { MemoryTable } from './table.js';
import { type ChangedRow, changeOf, MemoryTransaction, type MemoryTx } from './transaction.js';

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
  readonly transactions: TransactionHost<MemoryTx>;
  readonly feed: ChangeFeed;
}

/** How often a transaction that lost a deadlock is run in all. */
const TRANSACTION_ATTEMPTS = 5;

/** How long a flush waits for a row that others hold, in ms. */
const FLUSH_LOCK_MS = 200;

const MOST = 2 ** 32;

export const DATABASE = {
  name: option.is<string, string>('a string', (name) => typeof name === 'string', 'memory'),
  clock: option.clock(),
  maxRows: option.integer(1_000_000, 1, MOST),
  maxTombstones: option.integer(100_000, 1, MOST),
  maxPendingChanges: option.integer(1_000_000, 1, MOST),
  feedGraceMs: option.integer(100, 0, HOUR_MS),
} satisfies OptionsOf<MemoryDatabaseOptions>;

/** Makes an empty database in this process's memory, to be shared by stores. Throws `InvalidOptionError`. */
export function memoryDatabase(options: MemoryDatabaseOptions = {}): MemoryDatabase {
  return new Database(options);
}

export function databaseOf(database: MemoryDatabase): Database {
  if (database instanceof Database) return database;
  throw new InvalidOptionError('memoryStore.database', 'must come from memoryDatabase()');
}

/** A database, and what stores see of it. */
export class Database implements MemoryDatabase {
  readonly name: string;
  readonly clock: Clock;
  readonly feed: MemoryFeed;
  readonly transactions: TransactionHost<MemoryTx>;
  readonly #settings: ReturnType<typeof settingsOf>;
  readonly #tables = new Map<string, MemoryTable>();
  readonly #validators = new Map<string, ValidateRow>();
  readonly #locks = new RowLocks();
  readonly #begun = new WeakSet<StoreTransaction>();
  #commits = 0;

  constructor(options: MemoryDatabaseOptions) {
    this.#settings = settingsOf(options);
    const { clock, feedGraceMs: graceMs, name } = this.#settings;
    this.name = name;
    this.clock = clock;
    this.feed = memoryFeed({
      ...{ name, clock, graceMs },
      changedSince: (source, commit) => this.#changedSince(source, commit),
      commits: () => this.#commits,
    });
    this.transactions = { transaction: (body, call) => this.#transaction(body, call) };
  }

  tableOf(name: string): MemoryTable {
    const table = this.#tables.get(name) ?? new MemoryTable(this.#settings.maxTombstones);
    this.#tables.set(name, table);
    return table;
  }

  /** Sets the constraint of a table; the last binding's stands. */
  constrain(table: string, validate: ValidateRow): void {
    this.#validators.set(table, validate);
  }

  transactionOf(handle: StoreTransaction): MemoryTransaction {
    if (handle instanceof MemoryTransaction && this.#begun.has(handle)) return handle;
    throw new StoreRefusedError(`${this.name}: not a transaction of this database`);
  }

  /** Runs one command in a transaction of its own; its change is `own` when a writer may acknowledge it. */
  async execute(
    table: string,
    command: StoreCommand<unknown>,
    deadline: Deadline,
    own: boolean,
    /** Not after this, by the clock, once the row is locked. */
    notAfterMs = Number.POSITIVE_INFINITY,
  ): Promise<StoreOutcome<unknown>> {
    const { key } = command;
    if (command.kind !== 'flush') return await this.#executeAlone(table, command, deadline, own, notAfterMs);
    try {
      const patience = deadline.narrowed(FLUSH_LOCK_MS);
      return await this.#executeAlone(table, command, patience, own, notAfterMs);
    } catch (cause) {
      deadline.throwIfOver();
      if (!(cause instanceof StoreTimeoutError)) throw cause;
      throw new StoreBusyError(`${this.name}: others hold the row "${key}"`, { key, cause });
    }
  }

  async #executeAlone(
    table: string,
    command: StoreCommand<unknown>,
    deadline: Deadline,
    own: boolean,
    notAfterMs: number,
  ): Promise<StoreOutcome<unknown>> {
    const { key } = command;
    const tx = this.#begin(deadline);
    try {
      const locked = tx.lock(table, key);
      // At once where nobody holds it.
      if (locked !== undefined) await locked;
      if (this.clock.now() > notAfterMs) {
        throw new StoreTimeoutError(`${this.name}: the write of "${key}" came after its deadline`, { key });
      }
      const outcome = tx.apply(table, command);
      if (outcome.kind !== 'written') return outcome;
      const rows = this.tableOf(table);
      const texts = rows.texts(rows.get(key), tx.read(table, key));
      this.#commit(tx, own);
      return texts === undefined ? outcome : { ...outcome, texts };
    } catch (error) {
      if (error instanceof StoreRefusedError) return { kind: 'failed', error };
      throw error;
    } finally {
      tx.end();
    }
  }

  /** Waits for whoever holds the row now; rejects at the call's end. */
  async settle(table: string, key: string, deadline: Deadline): Promise<void> {
    const tx = this.#begin(deadline);
    try {
      await tx.lock(table, key);
    } finally {
      tx.end();
    }
  }

  async #transaction<T>(
    body: (tx: StoreTransaction) => Promise<T>,
    call: StoreTransactionOptions,
  ): Promise<T> {
    checkTransactionMode(call, ['read committed'], this.name);
    const deadline = callDeadline(call, this.clock, `${this.name}: transaction`);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#runOnce(body, deadline);
      } catch (cause) {
        if (!(cause instanceof DeadlockError)) throw cause;
        if (attempt < TRANSACTION_ATTEMPTS) continue;
        const message = `${this.name}: deadlock, ${attempt} times in a row`;
        throw new StoreUnavailableError(message, 'not-committed', { cause });
      }
    }
  }

  async #runOnce<T>(body: (tx: StoreTransaction) => Promise<T>, deadline: Deadline): Promise<T> {
    const tx = this.#begin(deadline);
    try {
      const result = await deadline.bound(body(tx));
      tx.seal();
      this.#commit(tx, true);
      return result;
    } catch (error) {
      tx.end(error);
      throw tx.deadlock ?? error;
    } finally {
      tx.end();
    }
  }

  #begin(deadline: Deadline): MemoryTransaction {
    deadline.throwIfOver();
    const tx = new MemoryTransaction({
      deadline,
      locks: this.#locks,
      now: () => this.clock.now(),
      tableOf: (name) => this.tableOf(name),
      validatorOf: (table) => this.#validators.get(table) ?? (() => {}),
    });
    this.#begun.add(tx);
    return tx;
  }

  #commit(tx: MemoryTransaction, own: boolean): void {
    tx.checkCommit();
    const rows = [...tx.changedRows()];
    this.#checkRoom(rows);
    for (const { table, key, state } of rows) {
      const commit = ++this.#commits;
      const of = this.tableOf(table);
      const change = changeOf(table, key, state, of.texts(of.get(key), state));
      of.set(key, { ...state, commit });
      this.feed.append(change, own, commit);
    }
  }

  /** Throws `StoreRefusedError` when there is no room for what is about to be committed. */
  #checkRoom(rows: readonly ChangedRow[]): void {
    const { maxPendingChanges, maxRows } = this.#settings;
    const added = rows.filter(
      ({ table, key, state }) =>
        state.value !== undefined && this.tableOf(table).get(key)?.value === undefined,
    );
    for (const [table, { length }] of Map.groupBy(added, (row) => row.table)) {
      if (this.tableOf(table).size + length <= maxRows) continue;
      throw new StoreRefusedError(`${this.name}:${table} is full: it holds maxRows = ${maxRows} rows`);
    }
    if (this.feed.size + rows.length <= maxPendingChanges) return;
    const many = `maxPendingChanges = ${maxPendingChanges} changes`;
    throw new StoreRefusedError(`${this.name}: ${many} wait for somebody to take them`);
  }

  /** From a commit on; `undefined` where deletes since then were forgotten. */
  #changedSince(source: string, commit: number): Change[] | undefined {
    const table = this.tableOf(source);
    if (table.forgotten >= commit) return undefined;
    const since = [...table.entries()].filter(([, state]) => (state.commit ?? 0) >= commit);
    return since.map(([key, state]) => changeOf(source, key, state, table.texts(state)));
  }
}

function settingsOf(options: MemoryDatabaseOptions) {
  return withDefaults(options, DATABASE, 'memoryDatabase');
}
