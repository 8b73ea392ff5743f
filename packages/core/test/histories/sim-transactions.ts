import type { StoreOutcome, StoreTransaction, TransactionHost } from '../../src/contracts/store.js';
import type { Scheduler } from './scheduler.js';

type Note = () => void;

/** Transactions across a network: begin and commit are events, and what they wrote is told once it is committed. */
export class SimTransactions implements TransactionHost {
  readonly #inner: TransactionHost;
  readonly #scheduler: Scheduler;
  readonly #notes = new WeakMap<StoreTransaction, Note[]>();

  constructor(inner: TransactionHost, scheduler: Scheduler) {
    this.#inner = inner;
    this.#scheduler = scheduler;
  }

  async transaction<T>(
    body: (tx: StoreTransaction) => Promise<T>,
    options: Parameters<TransactionHost['transaction']>[1],
  ): Promise<T> {
    let notes: Note[] = [];
    await this.#scheduler.deliver();
    const value = await this.#inner.transaction(async (tx) => {
      notes = [];
      this.#notes.set(tx, notes);
      const made = await body(tx);
      await this.#scheduler.deliver();
      return made;
    }, options);
    for (const note of notes) note();
    await this.#scheduler.deliver();
    return value;
  }

  /** Once the transaction is committed; at once, where there is none. */
  told<Value>(tx: StoreTransaction | undefined, outcome: StoreOutcome<Value> | undefined, note: Note): void {
    if (outcome?.kind !== 'written') return;
    const notes = tx && this.#notes.get(tx);
    if (notes === undefined) note();
    else notes.push(note);
  }
}
