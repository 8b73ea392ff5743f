import type { Change, StoreCommand, StoreOutcome, StoreTransaction } from '../contracts/store.js';
import { StoreRefusedError } from '../errors.js';
import type { CallBound } from './store-calls.js';
import { applyStoreCommand, type ValidateRow } from './store-commands.js';
import { DeadlockError, type LockOwner, lockOwner, type RowLocks } from './store-locks.js';
import type { RowState } from './store-table.js';

/** A transaction's handle for statements of the caller's own, on any table of the database. */
export interface MemoryTx {
  /** The row as this transaction sees it, or `undefined`. */
  get(table: string, key: string): Promise<unknown>;
  /** Stores a row, blind. Rejects with `StoreRefusedError`. */
  set(table: string, key: string, value: unknown): Promise<void>;
  /** Whether there was a row. */
  delete(table: string, key: string): Promise<boolean>;
}

/** What a transaction needs of its database. */
export interface TransactionContext {
  readonly locks: RowLocks;
  readonly bound: CallBound;
  now(): number;
  committed(table: string, key: string): RowState | undefined;
  validatorOf(table: string): ValidateRow;
}

interface ChangedRow {
  readonly table: string;
  readonly key: string;
  readonly state: RowState;
}

/** Changes that nobody else sees yet, on rows that nobody else can change meanwhile. */
export class MemoryTransaction implements StoreTransaction {
  readonly client: MemoryTx;
  readonly #context: TransactionContext;
  readonly #owner: LockOwner = lockOwner();
  readonly #held = new Set<string>();
  readonly #changed = new Map<string, ChangedRow>();
  #over = false;
  /** Set when it lost a deadlock: it can only roll back. */
  #doom: DeadlockError | undefined;

  constructor(context: TransactionContext) {
    this.#context = context;
    this.client = {
      get: async (table, key) => structuredClone(this.read(table, key)?.value),
      set: async (table, key, value) => {
        const outcome = await this.execute(table, { kind: 'put', key, value, above: 0 });
        if (outcome.kind === 'failed') throw outcome.error;
      },
      delete: async (table, key) =>
        (await this.execute(table, { kind: 'delete', key, above: 0 })).kind === 'written',
    };
  }

  /** The row, tombstone or nothing that this transaction sees. */
  read(table: string, key: string): RowState | undefined {
    this.#check();
    return this.#changed.get(rowName(table, key))?.state ?? this.#context.committed(table, key);
  }

  async execute(table: string, command: StoreCommand<unknown>): Promise<StoreOutcome<unknown>> {
    this.#check();
    const { key } = command;
    const row = rowName(table, key);
    await this.#lock(row);
    this.#check();
    const { now, validatorOf } = this.#context;
    const { outcome, next } = applyStoreCommand(this.read(table, key), command, now(), validatorOf(table));
    if (next !== undefined) this.#changed.set(row, { table, key, state: next });
    return outcome;
  }

  /** Holds rows until its end, present or not. */
  async hold(table: string, keys: readonly string[]): Promise<void> {
    this.#check();
    for (const key of keys) await this.#lock(rowName(table, key));
    this.#check();
  }

  async #lock(row: string): Promise<void> {
    try {
      const acquired = this.#context.locks.acquire(row, this.#owner, this.#context.bound.ended);
      if (acquired !== true) await acquired;
    } catch (error) {
      if (error instanceof DeadlockError) this.#doom = error;
      throw error;
    }
    if (this.#over) this.#context.locks.release(row, this.#owner);
    else this.#held.add(row);
  }

  async changes(): Promise<readonly Change[]> {
    this.#check();
    return this.changeList();
  }

  changeList(): Change[] {
    return [...this.#changed.values()].map(({ table, key, state }) => changeOf(table, key, state));
  }

  changedRows(): Iterable<ChangedRow> {
    return this.#changed.values();
  }

  /** Throws when it can't commit any more. */
  checkCommit(): void {
    if (this.#doom !== undefined) throw this.#doom;
    this.#check();
  }

  /** Ends it: what it did not commit is gone, and its rows are free. */
  end(): void {
    this.#over = true;
    for (const row of this.#held) this.#context.locks.release(row, this.#owner);
    this.#held.clear();
    this.#changed.clear();
  }

  #check(): void {
    if (this.#doom !== undefined) throw this.#doom;
    this.#context.bound.check();
    if (this.#over) throw new StoreRefusedError('the transaction is over');
  }
}

/** A row's name among all tables of a database. */
export function rowName(table: string, key: string): string {
  return JSON.stringify([table, key]);
}

/** A row's state as the feed reports it. */
export function changeOf(source: string, key: string, state: RowState): Change {
  const { version, changedAtMs } = state;
  return { source, key, version, op: state.value === undefined ? 'delete' : 'put', changedAtMs };
}
