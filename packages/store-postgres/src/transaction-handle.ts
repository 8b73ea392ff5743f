import { InvalidOptionError, type StoreTransaction } from '@lockstep/core';
import type { Knex } from 'knex';

/** The knex transaction inside a store transaction. Throws `InvalidOptionError` for any other client. */
export function transactionOf(tx: StoreTransaction): Knex.Transaction {
  const { client } = tx;
  if (typeof client === 'function' && 'isTransaction' in client && client.isTransaction === true) {
    return client as Knex.Transaction;
  }
  throw new InvalidOptionError('tx', 'must be a transaction of knex, begun by this store');
}

const transientFailures = new WeakMap<Knex.Transaction, unknown>();

/**
 * Notes a deadlock or serialization failure inside a transaction: its body is run again, whatever error
 * the body makes of it.
 */
export function noteTransient(trx: Knex.Transaction, error: unknown): void {
  transientFailures.set(trx, error);
}

/** The failure that was noted; `undefined` when there was none. */
export function notedTransient(trx: Knex.Transaction): unknown {
  return transientFailures.get(trx);
}
