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
