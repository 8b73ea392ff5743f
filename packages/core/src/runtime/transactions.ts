import type { TransactionResult } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { Transaction, TransactionOptions } from '../contracts/options.js';
import type { StoreTransaction, StoreTransactionOptions, TransactionHost } from '../contracts/store.js';
import { InvalidOptionError, StoreTimeoutError, UnsupportedError } from '../errors.js';
import { checkOptions } from '../kit/options.js';
import { Deadline } from '../kit/wait.js';
import { mayHaveCommitted } from '../read/loader.js';
import { LockstepTransaction, rowOutcomes, type TransactionOutcome } from '../write/transaction.js';
import { modeOf } from '../write/transaction-mode.js';
import type { Activity } from './activity.js';
import type { Collections } from './collections.js';
import { TRANSACTION } from './options.js';

/** Runs transactions and brings the cache in step with what they have committed. */
export class Transactions {
  readonly #collections: Collections;
  readonly #activity: Activity;
  readonly #clock: Clock;

  constructor(collections: Collections, activity: Activity, clock: Clock) {
    this.#collections = collections;
    this.#activity = activity;
    this.#clock = clock;
  }

  /** Checks the options of `lockstep.transaction` and runs the body. */
  async transaction<T>(
    body: (tx: Transaction) => Promise<T>,
    options: TransactionOptions,
  ): Promise<TransactionResult<T>> {
    checkOptions(options, TRANSACTION, 'transaction');
    if (typeof body !== 'function') throw new InvalidOptionError('transaction.body', 'must be a function');
    const { on, signal, timeoutMs = TRANSACTION.timeoutMs.fallback } = options;
    const host = on === undefined ? this.#collections.onlyHost() : on.transactions;
    if (host === undefined) throw new UnsupportedError('transaction.on: this store has no transactions');
    const { value, outcome } = await this.run(host, body, { ...modeOf(options), timeoutMs, signal });
    return { returned: value, outcomes: options.outcomes === true ? rowOutcomes(outcome) : [] };
  }

  async run<T>(
    host: TransactionHost,
    body: (tx: LockstepTransaction) => Promise<T>,
    options: StoreTransactionOptions,
  ): Promise<{ readonly value: T; readonly outcome: TransactionOutcome }> {
    return await this.#activity.track(this.#run(host, body, options));
  }

  async #run<T>(
    host: TransactionHost,
    body: (tx: LockstepTransaction) => Promise<T>,
    options: StoreTransactionOptions,
  ): Promise<{ readonly value: T; readonly outcome: TransactionOutcome }> {
    // Opened before: inside the transaction they would need a second connection, and transactions may hold all there are.
    const opening = this.#collections.open(host);
    if (opening !== undefined) {
      const { signal, timeoutMs } = options;
      const late = (): Error => new StoreTimeoutError('transaction: its collections were not open in time');
      await new Deadline({ clock: this.#clock, timeoutMs, signal, late }).bound(opening);
    }
    let current: LockstepTransaction | undefined;
    const attempt = async (storeTx: StoreTransaction) => {
      // A body that runs again is a new transaction: the earlier one was rolled back.
      current?.end('its body is run again');
      current?.abandon();
      const tx = new LockstepTransaction(host, storeTx, this.#clock.monotonic() + options.timeoutMs);
      current = tx;
      let value: T;
      try {
        value = await body(tx);
        tx.end('its body has returned');
      } catch (error) {
        tx.end('its body has thrown', error);
        throw error;
      }
      // Calls that the body began and did not wait for are part of the transaction, or were refused.
      await tx.idle();
      return { value, tx, changes: await tx.changes(this.#collections.participants(host)) };
    };
    const startedAt = this.#clock.monotonic();
    try {
      const { value, tx, changes } = await host.transaction(attempt, options);
      const storeMs = this.#clock.monotonic() - startedAt;
      return { value, outcome: await tx.publish(changes(), this.#collections.participants(host), storeMs) };
    } catch (error) {
      current?.end('it was rolled back', error);
      if (!mayHaveCommitted(error)) current?.abandon();
      throw error;
    }
  }
}
