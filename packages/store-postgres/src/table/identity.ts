import { stateOf, storeError } from '../errors.js';
import type { Run } from '../sql/catalog.js';

const IDENTITY = `SELECT system_identifier::pg_catalog.text AS id, pg_catalog.current_database()::pg_catalog.text AS db
FROM pg_catalog.pg_control_system()`;

/** Whose table it is: of which server, by the system identifier that its replicas share, and of which database. */
export async function identityOf(run: Run, source: string, what: string): Promise<string | undefined> {
  try {
    const [row] = await run(IDENTITY);
    return `postgres:${String(row?.['db'])}:${source} of server ${String(row?.['id'])}`;
  } catch (error) {
    // Insufficient privilege, or a service that has no such function.
    if (stateOf(error) === '42501' || stateOf(error) === '42883') return undefined;
    throw storeError(error, `${what}: open`, false);
  }
}
