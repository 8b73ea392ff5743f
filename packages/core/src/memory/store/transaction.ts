import type { Change } from '../../contracts/feed.js';
import type { StoreCommand, StoreOutcome, StoreTransaction } from '../../contracts/store.js';
import { TransactionOverError } from '../../errors.js';
import { rolledBackBy } from '../../kit/rolled-back.js';
import type { Deadline } from '../../kit/wait.js';
import { applyStoreCommand, type ValidateRow } from './commands.js';
import { DeadlockError, type LockOwner, type RowLocks } from './locks.js';
import type { MemoryTable, RowState } from './table.js';

/** A transaction's handle for statements of the caller's own, on any table of the database. */
export interface MemoryTx {
  /** The row as this transaction sees it, or `undefined`. */
  get(table: string, key: string): Promise<unknown>;
  /** Stores a row, blind. Rejects with `StoreRefusedError`. */
  set(table: string, key: string, value: unknown): Promise<void>;
  /** True when there was a row. */
  delete(table: string, key: string): Promise<boolean>;
}

/** The part of its database that a transaction needs. */
export interface TransactionContext {
  readonly locks: RowLocks;
  readonly deadline: Deadline;
  now(): number;
  tableOf(name: string): MemoryTable;
  validatorOf(table: string): ValidateRow;
}

/** A row as a transaction leaves it. */
export interface ChangedRow {
  readonly table: string;
  readonly key: string;
  readonly state: RowState;
}

/** Changes that nobody else sees yet, on rows that nobody else can change meanwhile. */
export class MemoryTransaction implements StoreTransaction {
  readonly #context: TransactionContext;
  readonly #owner: LockOwner = { waitingFor: new Set() };
  #client: MemoryTx | undefined;
  readonly #held = new Set<string>();
  readonly #changed = new Map<string, ChangedRow>();
  /** Why it takes no statement any more. */
  #over: string | undefined;
  #cause: unknown;
  /** The failure after which it can only roll back. */
  #failure: Error | undefined;

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  /** Made when it is asked for: a command on its own is a transaction, too. */
  get client(): MemoryTx {
    this.#client ??= {
      get: async (table, key) => structuredClone(this.read(table, key)?.value),
      set: async (table, key, value) => {
        const outcome = await this.execute(table, { kind: 'put', key, value, above: 0 });
        if (outcome.kind === 'failed') throw outcome.error;
      },
      delete: async (table, key) =>
        (await this.execute(table, { kind: 'delete', key, above: 0 })).kind === 'written',
    };
    return this.#client;
  }

  /** The row, tombstone or nothing that this transaction sees. */
  read(table: string, key: string): RowState | undefined {
    this.#check();
    return this.#changed.get(rowName(table, key))?.state ?? this.#context.tableOf(table).get(key);
  }

  async execute(table: string, command: StoreCommand<unknown>): Promise<StoreOutcome<unknown>> {
    await this.hold(table, [command.key]);
    return this.apply(table, command);
  }

  /** On a row that it holds. */
  apply(table: string, command: StoreCommand<unknown>): StoreOutcome<unknown> {
    const { now, tableOf, validatorOf } = this.#context;
    const { key } = command;
    const row = rowName(table, key);
    const state = this.#changed.get(row)?.state ?? tableOf(table).get(key);
    const { outcome, next } = applyStoreCommand(state, command, now(), validatorOf(table));
    if (outcome.kind === 'failed') this.#failure ??= outcome.error;
    if (next !== undefined) this.#changed.set(row, { table, key, state: next });
    return outcome;
  }

  /** Holds rows until its end, present or not. */
  async hold(table: string, keys: readonly string[]): Promise<void> {
    this.#check();
    for (const key of keys) await this.lock(table, key);
    this.#check();
  }

  /** As `hold`, of one row. `undefined`: it is held now; otherwise rejects as the transaction's deadline does. */
  lock(table: string, key: string): Promise<void> | undefined {
    const { deadline, locks } = this.#context;
    const row = rowName(table, key);
    const acquired = locks.acquire(row, this.#owner, deadline);
    if (acquired === undefined) this.#held.add(row);
    return acquired?.then(
      () => {
        if (this.#over !== undefined) locks.release(row, this.#owner);
        else this.#held.add(row);
      },
      (error: unknown) => {
        if (error instanceof DeadlockError) this.#failure = error;
        throw error;
      },
    );
  }

  async changes(): Promise<readonly Change[]> {
    this.checkCommit();
    return [...this.#changed.values()].map(({ table, key, state }) => {
      const rows = this.#context.tableOf(table);
      return changeOf(table, key, state, rows.texts(rows.get(key), state));
    });
  }

  /** The body has returned. */
  seal(): void {
    this.#over ??= 'its body has returned';
  }

  /** The deadlock that it lost: its body is to be run again, whatever the body made of that. */
  get deadlock(): DeadlockError | undefined {
    return this.#failure instanceof DeadlockError ? this.#failure : undefined;
  }

  /** The keys of a table's rows that it has changed. */
  changedKeys(table: string): string[] {
    return [...this.#changed.values()].flatMap((row) => (row.table === table ? row.key : []));
  }

  changedRows(): Iterable<ChangedRow> {
    return this.#changed.values();
  }

  /** Throws when it can't commit any more. */
  checkCommit(): void {
    this.#context.deadline.throwIfOver();
    if (this.#failure !== undefined) throw rolledBackBy(this.#failure);
  }

  /** Ends it: what it did not commit is gone, and its rows are free. */
  end(cause?: unknown): void {
    this.#over ??= cause === undefined ? 'it has ended' : 'it was rolled back';
    this.#cause ??= cause;
    for (const row of this.#held) this.#context.locks.release(row, this.#owner);
    this.#held.clear();
    this.#changed.clear();
  }

  #check(): void {
    if (this.#over !== undefined) {
      throw new TransactionOverError(`the transaction is over: ${this.#over}`, { cause: this.#cause });
    }
    try {
      this.#context.deadline.throwIfOver();
    } catch (cause) {
      throw new TransactionOverError('the transaction is over: its time has passed', { cause });
    }
    if (this.#failure === undefined) return;
    const message = 'a statement of the transaction failed, so it can only be rolled back';
    throw new TransactionOverError(message, { cause: this.#failure });
  }
}

/** A row's name among all tables of a database. */
function rowName(table: string, key: string): string {
  return JSON.stringify([table, key]);
}

/** A row's state as the feed reports it. */
export function changeOf(
  source: string,
  key: string,
  { changedAtMs, value, version }: RowState,
  texts: Change['texts'],
): Change {
  const change = { source, key, version, op: value === undefined ? 'delete' : 'put', changedAtMs } as const;
  return texts === undefined ? change : { ...change, texts };
}
