import { InvalidOptionError, type StoreTransaction } from '@lockstep/core';
import type { Knex } from 'knex';
import type { Call, Described, Row } from '../wire/pipeline.js';

/** A read that travels with the commit. */
export interface LastRead {
  readonly call: Call;
  readonly described: Described;
  /** Told why the transaction could not be committed. Must not reject. */
  readonly failed: (error: unknown) => Promise<void>;
}

/** A store transaction of this store's. */
export interface PostgresTransaction extends StoreTransaction {
  readonly client: Knex.Transaction;
  /** Asked in one message with the commit. Returns what gives the answer after it. */
  readonly readWithCommit: (read: LastRead) => () => readonly Row[];
}

/** `undefined`: others have wrapped it, and it takes no such read. */
export function lastReadsOf(tx: StoreTransaction): PostgresTransaction['readWithCommit'] | undefined {
  return (tx as Partial<PostgresTransaction>).readWithCommit;
}

/** The knex transaction inside a store transaction. Throws `InvalidOptionError` for any other client. */
export function transactionOf(tx: StoreTransaction): Knex.Transaction {
  const { client } = tx;
  if (typeof client === 'function' && 'isTransaction' in client && client.isTransaction === true) {
    return client as Knex.Transaction;
  }
  throw new InvalidOptionError('tx', 'must be a transaction of knex, begun by this store');
}
