import { stateOf } from '../errors.js';
import type { Session } from '../wire/session.js';

/**
 * The marks that tell one history of a database from another: a restored copy may have another system identifier, and
 * one that was promoted, or restored to an earlier time, has another timeline.
 */
const SERVER = `(SELECT system_identifier::text FROM pg_catalog.pg_control_system())
|| '.' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) || '.'`;

const historyOf = (server: string): string =>
  `SELECT a.source, ${server} || a.incarnation::text AS incarnation FROM lockstep.attached a`;

/** Which history of a source's changes a position belongs to: of this server, and since it was attached. */
export class History {
  readonly #session: Session;
  readonly #timeoutMs: number;
  #sql: string | undefined;

  constructor(session: Session, timeoutMs: number) {
    this.#session = session;
    this.#timeoutMs = timeoutMs;
  }

  /** A query of `source` and `incarnation`. Where the role may not ask the server, of the attachment alone. */
  async sql(): Promise<string> {
    if (this.#sql !== undefined) return this.#sql;
    try {
      await this.#session.rows(`SELECT ${SERVER} AS server`, [], this.#timeoutMs, 'feed: history');
      this.#sql = historyOf(SERVER);
    } catch (error) {
      // Insufficient privilege, or a service that has no such function.
      if (stateOf(error) !== '42501' && stateOf(error) !== '42883') throw error;
      this.#sql = historyOf("''");
    }
    return this.#sql;
  }
}
