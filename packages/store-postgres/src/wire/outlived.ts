import { equal, isIn } from '../sql/operators.js';
import type { Lender, PooledClient } from './lender.js';

/**
 * True, in SQL, of a server that is no primary: a standby, or one that its administrator has turned read-only. A
 * role or a session that only wants to read (`default_transaction_read_only` of its own) is on a primary still.
 */
export const IS_READ_ONLY = `(pg_catalog.pg_is_in_recovery() OR (${equal("pg_catalog.current_setting('transaction_read_only')", "'on'")}
AND NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE ${equal('s.name', "'default_transaction_read_only'")}
AND ${isIn('s.source', "ARRAY['client', 'user', 'database', 'database user', 'session']")})))`;

/** A transaction is open, or has failed, as the server said behind its last answer. */
const INSIDE = new Set<string | null>(['T', 'E']);

/** Asks the connection, which must be idle. */
export async function isReadOnly(client: PooledClient): Promise<boolean> {
  const asked = client as unknown as {
    query(sql: string): Promise<{ readonly rows: readonly { readonly no: boolean }[] }>;
  };
  const { rows } = await asked.query(`SELECT ${IS_READ_ONLY} AS no`);
  return rows[0]?.no === true;
}

/** Counts for each pool how often one of its connections turned out to be to a server that is no primary any more. */
const turns = new WeakMap<Lender, number>();

/** The pool's count when a connection was first lent. */
const turnOf = new WeakMap<PooledClient, number>();

/**
 * True of a connection that nothing may be sent on. It is older than the last sign of a failover: it leads to where the
 * primary was. Or somebody has given it back inside a transaction: what is sent would be committed, or rolled back, with
 * theirs, whenever that is. knex drops it instead of lending it again.
 */
export function isUnfit(lender: Lender, client: PooledClient): boolean {
  if (lender.transacting !== true && INSIDE.has(client.getTransactionStatus())) {
    client.__knex__disposed = new Error('a connection that was given back to the pool inside a transaction');
    return true;
  }
  const turn = turns.get(lender) ?? 0;
  const own = turnOf.get(client);
  if (own === undefined) turnOf.set(client, turn);
  if (own === undefined || own === turn) return false;
  client.__knex__disposed = new Error('an older connection: the server of another one turned read-only');
  return true;
}

/** Notes that the connection's server is no primary: neither it nor any that is as old is lent again. */
export function outlive(lender: Lender, client: PooledClient, reason: unknown): void {
  client.__knex__disposed = reason;
  turns.set(lender, Math.max(turns.get(lender) ?? 0, (turnOf.get(client) ?? 0) + 1));
}
