import type { Knex } from 'knex';
import type { WireClient } from './pipeline.js';

/** A pooled connection. */
export type PooledClient = WireClient & { __knexTxId?: unknown };

/** The part of knex's client that lends connections: the pool's, or a transaction's own. */
export interface Lender {
  /** True of a transaction's own. */
  readonly transacting?: boolean;
  acquireConnection(): Promise<PooledClient>;
  releaseConnection(connection: PooledClient): Promise<void>;
}

export function lenderOf(knex: Knex): Lender {
  return knex.client as Lender;
}
