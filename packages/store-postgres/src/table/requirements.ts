import { InvalidOptionError } from '@lockstep/core';
import { writerFunction } from '../attach/triggers/pieces.js';
import type { Run, TableInfo } from '../sql/catalog.js';
import { identifier } from '../sql/quote.js';
import { SCHEMA } from '../sql/stamp.js';
import { textWarnings } from './text-settings.js';

/**
 * The rights that the session lacks, on the table and on Lockstep's own. An earlier release gave roles no right to remove
 * records of the registry, which only \`forget\` needs. A right on each column is one on the table. Looks
 * tables up in the catalogue alone: a name in a schema that one may not use is an error.
 */
const RIGHTS = `
WITH needed AS (
  SELECT c.oid, c.relnamespace AS nsp, n.nspname, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, p.privilege,
    CASE n.nspname WHEN '${SCHEMA}' THEN c.relname <> 'consumer' OR p.privilege <> 'DELETE' ELSE p.privilege = 'SELECT' END AS required
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) p(privilege)
  WHERE (n.nspname = $1 AND c.relname = $2)
  OR (n.nspname = '${SCHEMA}' AND c.relname IN ('outbox', 'tombstone', 'consumer') AND c.relkind = 'r')
  OR (n.nspname = '${SCHEMA}' AND c.relname = 'attached' AND c.relkind = 'r' AND p.privilege = 'SELECT')
), lacked AS (
  SELECT name, required, string_agg(privilege, ', ' ORDER BY privilege) AS privileges FROM needed
  WHERE NOT pg_catalog.has_table_privilege(oid, privilege) AND (privilege = 'DELETE' OR EXISTS (
    SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = needed.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND NOT pg_catalog.has_column_privilege(needed.oid, a.attnum, CASE privilege WHEN 'DELETE' THEN 'UPDATE' ELSE privilege END)))
  GROUP BY name, required
)
SELECT quote_ident(current_user) AS role, true AS required, format('may not use schema %s', quote_ident(nspname)) AS problem,
  format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user) AS mend
FROM needed WHERE NOT pg_catalog.has_schema_privilege(nsp, 'USAGE') GROUP BY nspname
UNION ALL
SELECT quote_ident(current_user), required, format('may not %s %s', privileges, name), format('GRANT %s ON %s TO %I', privileges, name, current_user) FROM lacked`;

/** What attach needs of the session: the table is its role's, and the schema may be made, where it is not there yet. */
const OWNER = `
SELECT quote_ident(current_user) AS role, true AS required,
  format('does not own %I.%I, which belongs to %s', n.nspname, c.relname, quote_ident(pg_catalog.pg_get_userbyid(c.relowner))) AS problem,
  format('GRANT %I TO %I, or attach as %1$I', pg_catalog.pg_get_userbyid(c.relowner), current_user) AS mend
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND NOT pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')
UNION ALL
SELECT quote_ident(current_user), true, format('may not create schema ${SCHEMA} in database %I', pg_catalog.current_database()),
  format('GRANT CREATE ON DATABASE %I TO %I', pg_catalog.current_database(), current_user)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '${SCHEMA}')
AND NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')`;

interface Lack {
  readonly role: string;
  readonly required: boolean;
  readonly problem: string;
  readonly mend: string;
}

async function lacks(run: Run, sql: string, { source, spec }: TableInfo, required: boolean): Promise<string> {
  const rows = (await run(sql, [spec.schema, spec.table])) as unknown as readonly Lack[];
  const found = rows.filter((each) => each.required === required);
  if (found.length === 0) return '';
  const problems = found.map(({ problem }) => problem).join(', ');
  const ours = found.some(({ problem }) => problem.includes(SCHEMA));
  const advice = ours && sql === RIGHTS ? ' (or name it in pg.attach(table, { grantTo: […] }))' : '';
  return `${source}: role ${found[0]?.role} ${problems}${advice}: ${found.map(({ mend }) => mend).join('; ')}`;
}

/** Throws `InvalidOptionError` where the session can't run Lockstep on the table at all. */
export async function assertRights(run: Run, info: TableInfo): Promise<void> {
  const lacking = await lacks(run, RIGHTS, info, true);
  if (lacking !== '') throw new InvalidOptionError('table', lacking);
}

/** Throws `InvalidOptionError` where the session can't attach the table. */
export async function assertMayAttach(run: Run, info: TableInfo): Promise<void> {
  const lacking = await lacks(run, OWNER, info, true);
  if (lacking !== '') throw new InvalidOptionError('table', lacking);
}

const enable = ({ relation, trigger }: TableInfo['weakTriggers'][number]): string =>
  `ALTER TABLE ${relation} ENABLE ALWAYS TRIGGER ${identifier(trigger)}`;

/** Throws `InvalidOptionError` where triggers don't fire for this session, or for ordinary ones. */
export function assertTriggersFire({ isReplica, source, weakTriggers }: TableInfo): void {
  const silent = weakTriggers.filter(({ enabled }) => enabled !== 'O' || isReplica);
  if (silent.length === 0) return;
  const names = silent.map(({ relation, trigger }) => `${trigger} of ${relation}`).join(', ');
  throw new InvalidOptionError(
    'table',
    `${source}: the triggers ${names} are disabled, or don't fire in this session: ${silent.map(enable).join('; ')}`,
  );
}

/** What works, and should be mended all the same; each with the statement that does. */
export async function warningsOf(run: Run, info: TableInfo): Promise<string[]> {
  const { isReplica, source, weakTriggers } = info;
  const warnings = [await lacks(run, RIGHTS, info, false), ...(await textWarnings(run, info))];
  const ordinary = isReplica ? [] : weakTriggers.filter(({ enabled }) => enabled === 'O');
  if (ordinary.length > 0) {
    const names = ordinary.map(({ relation, trigger }) => `${trigger} of ${relation}`).join(', ');
    warnings.push(
      `${source}: the triggers ${names} don't fire where session_replication_role is replica (a subscription, a restore), so that such changes go unseen: ${ordinary.map(enable).join('; ')}`,
    );
  }
  if (isReplica) {
    warnings.push(
      `${source}: session_replication_role of this session is replica, so that no other trigger and no foreign key of the table is checked: ALTER ROLE CURRENT_USER RESET session_replication_role, and in the connection's own settings`,
    );
  }
  return warnings.filter((warning) => warning !== '');
}

/** The statements that let roles run Lockstep on the table, as attach gives them. */
export function grantsSql(info: TableInfo, roles: string): string {
  return [
    `GRANT USAGE ON SCHEMA ${SCHEMA} TO ${roles}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ${SCHEMA}.outbox, ${SCHEMA}.tombstone, ${SCHEMA}.consumer TO ${roles}`,
    `GRANT SELECT ON ${SCHEMA}.attached TO ${roles}`,
    `GRANT EXECUTE ON FUNCTION ${writerFunction(info)}() TO ${roles}`,
  ].join('; ');
}
