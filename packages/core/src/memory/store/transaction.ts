import type { Change } from '../../contracts/feed.js';
import type { StoreCommand, StoreOutcome, StoreTransaction } from '../../contracts/store.js';
import { StoreUnavailableError, TransactionOverError } from '../../errors.js';
import type { Deadline } from '../../kit/wait.js';
import { applyStoreCommand, type ValidateRow } from './commands.js';
import { DeadlockError, type LockOwner, lockOwner, type RowLocks } from './locks.js';
import type { RowState } from './table.js';

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
  readonly deadline: Deadline;
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
  /** Why it takes no statement any more. */
  #over: string | undefined;
  #cause: unknown;
  /** What failed in it: it can only roll back. */
  #failure: Error | undefined;

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
    const { now, validatorOf } = this.#context;
    const { outcome, next } = applyStoreCommand(this.read(table, key), command, now(), validatorOf(table));
    if (outcome.kind === 'failed') this.#failure ??= outcome.error;
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
      const acquired = this.#context.locks.acquire(row, this.#owner, this.#context.deadline);
      if (acquired !== true) await acquired;
    } catch (error) {
      if (error instanceof DeadlockError) this.#failure = error;
      throw error;
    }
    if (this.#over !== undefined) this.#context.locks.release(row, this.#owner);
    else this.#held.add(row);
  }

  async changes(): Promise<readonly Change[]> {
    this.checkCommit();
    return this.changeList();
  }

  /** The body has returned. */
  seal(): void {
    this.#over ??= 'its body has returned';
  }

  /** It lost against another: its body is to be run again, whatever it made of that. */
  get deadlock(): DeadlockError | undefined {
    return this.#failure instanceof DeadlockError ? this.#failure : undefined;
  }

  changeList(): Change[] {
    return [...this.#changed.values()].map(({ table, key, state }) => changeOf(table, key, state));
  }

  changedRows(): Iterable<ChangedRow> {
    return this.#changed.values();
  }

  /** Throws when it can't commit any more. */
  checkCommit(): void {
    this.#context.deadline.throwIfOver();
    if (this.#failure === undefined) return;
    const message = 'a statement of the transaction failed, so it was rolled back';
    throw new StoreUnavailableError(message, 'not-committed', { cause: this.#failure });
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
export function rowName(table: string, key: string): string {
  return JSON.stringify([table, key]);
}

/** A row's state as the feed reports it. */
export function changeOf(source: string, key: string, state: RowState): Change {
  const { version, changedAtMs } = state;
  return { source, key, version, op: state.value === undefined ? 'delete' : 'put', changedAtMs };
}
