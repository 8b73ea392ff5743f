import type { Run, TableInfo } from '../sql/catalog.js';
import { dollarQuoted, literal } from '../sql/quote.js';
import { SAFE_PATH, SCHEMA } from '../sql/stamp.js';
import { arrayText } from '../wire/arrays.js';

/** The SQLSTATE with which attach refuses a schema that others could act through. */
const OWNER_STATE = 'LSOWN';

/** Relations of the schema that hold something, and how a statement names their kind. */
const RELATIONS = `SELECT c.oid, c.relname, c.relowner, c.relacl, c.relkind,
  CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = '${SCHEMA}' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')`;

/** A role that could not become the attaching role by itself; `0` is PUBLIC. */
const stranger = (role: string): string =>
  `CASE WHEN ${role} = 0 THEN true ELSE NOT pg_catalog.pg_has_role(${role}, current_user, 'MEMBER') END`;

const nameOf = (role: string): string =>
  `CASE WHEN ${role} = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(${role})) END`;

/**
 * Attach writes into the schema, and its functions go on doing so with the attaching role's rights: whoever owns
 * a part of it, or may put a trigger there, would act as that role. Runs before anything of the schema is
 * touched; says who it is, and the statement that mends it.
 */
export const GUARD = `DO $lockstep$
DECLARE
  problem pg_catalog.text;
BEGIN
  WITH relations AS (${RELATIONS}), problems AS (
    SELECT 1 AS rank, pg_catalog.format('schema ${SCHEMA} belongs to %s: ALTER SCHEMA ${SCHEMA} OWNER TO %I', ${nameOf('nspowner')}, current_user) AS text
    FROM pg_catalog.pg_namespace WHERE nspname = '${SCHEMA}' AND ${stranger('nspowner')}
    UNION ALL
    SELECT 2, pg_catalog.format('%s may create in schema ${SCHEMA}: REVOKE CREATE ON SCHEMA ${SCHEMA} FROM %1$s', ${nameOf('a.grantee')})
    FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
    WHERE n.nspname = '${SCHEMA}' AND a.privilege_type = 'CREATE' AND ${stranger('a.grantee')}
    UNION ALL
    SELECT 3, pg_catalog.format('${SCHEMA}.%I belongs to %s: ALTER %s ${SCHEMA}.%1$I OWNER TO %4$I', relname, ${nameOf('relowner')}, kind, current_user)
    FROM relations WHERE ${stranger('relowner')}
    UNION ALL
    SELECT 3, pg_catalog.format('function %s belongs to %s: ALTER FUNCTION %1$s OWNER TO %3$I', p.oid::pg_catalog.regprocedure, ${nameOf('p.proowner')}, current_user)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = '${SCHEMA}' AND ${stranger('p.proowner')}
    UNION ALL
    SELECT 4, pg_catalog.format('%s may %s ${SCHEMA}.%I: REVOKE %2$s ON ${SCHEMA}.%3$I FROM %1$s', ${nameOf('a.grantee')}, a.privilege_type, r.relname)
    FROM relations r, pg_catalog.aclexplode(r.relacl) a
    WHERE r.relkind <> 'S' AND ${stranger('a.grantee')}
      AND (a.privilege_type IN ('TRIGGER', 'TRUNCATE', 'REFERENCES')
        OR (a.privilege_type <> 'SELECT' AND (a.grantee = 0 OR r.relname = 'attached')))
    UNION ALL
    SELECT 5, pg_catalog.format('a trigger, rule, default or constraint in schema ${SCHEMA} calls %s, which belongs to %s: DROP SCHEMA ${SCHEMA} CASCADE',
      p.oid::pg_catalog.regprocedure, ${nameOf('p.proowner')})
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND ${stranger('p.proowner')} AND (
      EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid)
      OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w JOIN relations r ON r.oid = w.ev_class WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid)
      OR EXISTS (SELECT FROM pg_catalog.pg_attrdef e JOIN relations r ON r.oid = e.adrelid WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND e.oid = d.objid)
      OR EXISTS (SELECT FROM pg_catalog.pg_constraint c JOIN relations r ON r.oid = c.conrelid WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.oid = d.objid)
      OR EXISTS (SELECT FROM pg_catalog.pg_policy y JOIN relations r ON r.oid = y.polrelid WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND y.oid = d.objid)
      OR EXISTS (SELECT FROM pg_catalog.pg_index i JOIN relations r ON r.oid = i.indrelid WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid))
    UNION ALL
    SELECT 6, pg_catalog.format('${SCHEMA}.%I is a %s: DROP SCHEMA ${SCHEMA} CASCADE', relname, pg_catalog.lower(kind))
    FROM relations WHERE kind NOT IN ('TABLE', 'SEQUENCE')
  )
  SELECT p.text INTO problem FROM problems p ORDER BY p.rank LIMIT 1;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION '%, and attach again: through it one could act as %', problem, current_user USING ERRCODE = '${OWNER_STATE}';
  END IF;
END
$lockstep$`;

/** The SQLSTATE with which attach refuses another key than the one that is recorded. */
export const KEY_STATE = 'LSKEY';

/**
 * Refuses to attach a table by another key, or with another version column, while the recorded ones stand: running
 * applications know its rows by them, and would miss each write. A table that was made anew has neither. Under
 * attach's lock.
 */
export function keyGuard({ keyColumns, relation, source, spec: { versionColumn } }: TableInfo): string {
  const key = `ARRAY[${keyColumns.map(({ column }) => literal(column)).join(', ')}]::pg_catalog.text[]`;
  const column = literal(versionColumn);
  return `DO ${dollarQuoted(`
DECLARE
  recorded ${SCHEMA}.attached;
BEGIN
  SELECT * INTO recorded FROM ${SCHEMA}.attached a WHERE a.source = ${literal(source)}
  AND (a.key_columns <> ${key} OR a.version_column <> ${column})
  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(a.key_columns || a.version_column) n(name) WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute t WHERE t.attrelid = ${literal(relation)}::pg_catalog.regclass AND t.attname = n.name AND NOT t.attisdropped));
  IF FOUND THEN
    RAISE EXCEPTION '% is attached with key (%) and version column "%", not (%) and "%": running applications know its rows by those. Detach it first (pg.detach(table), or what pg.detachSql(table) prints), then attach it again',
      ${literal(source)}, pg_catalog.array_to_string(recorded.key_columns, ', '), recorded.version_column, pg_catalog.array_to_string(${key}, ', '), ${column} USING ERRCODE = '${KEY_STATE}';
  END IF;
END
`)}`;
}

/** The SQLSTATE with which attach refuses to leave out a unique index that rows are looked up by. */
export const LOOKUP_STATE = 'LSUNQ';

/**
 * Refuses to declare no more what a recorded collection looks rows up by: processes that use it would go on believing
 * pointers that nobody removes. Columns that were dropped are no reason, nor are caches that were closed in order.
 */
export function lookupGuard({ declared, relation, source }: TableInfo): string {
  const sets = `${literal(JSON.stringify(declared.unique))}::pg_catalog.jsonb`;
  return `DO ${dollarQuoted(`
DECLARE
  recorded pg_catalog.record;
BEGIN
  SELECT c.consumer, e.key AS name, e.value -> 'lookup' AS columns INTO recorded
  FROM ${SCHEMA}.consumer c, pg_catalog.jsonb_each(c.collections) e
  WHERE c.source = ${literal(source)} AND NOT c.ended AND pg_catalog.jsonb_typeof(e.value -> 'lookup') = 'array'
  AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(${sets}) s(columns) WHERE s.columns @> (e.value -> 'lookup') AND s.columns <@ (e.value -> 'lookup'))
  AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_array_elements_text(e.value -> 'lookup') n(name) WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute t WHERE t.attrelid = ${literal(relation)}::pg_catalog.regclass AND t.attname = n.name AND NOT t.attisdropped))
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '%', pg_catalog.format('%s: the cache of prefix %s looks rows up by %s, which is left out: add it; or, once no process uses it any more, remove its record: UPDATE ${SCHEMA}.consumer SET collections = collections - %L, revision = revision + 1, changed_at = pg_catalog.clock_timestamp() WHERE consumer = %L AND source = %L',
      ${literal(source)}, pg_catalog.to_json(recorded.consumer), recorded.columns, recorded.name, recorded.consumer, ${literal(source)}) USING ERRCODE = '${LOOKUP_STATE}';
  END IF;
END
`)}`;
}

/**
 * Tells who owns what the schema's records are read from, where that is nobody to be believed: not a superuser,
 * the database's owner, the table's, or a role that could become the current one. A view of theirs would run
 * their functions as whoever reads it.
 */
const STRANGERS = `SELECT pg_catalog.string_agg(pg_catalog.format('%s belongs to %I', o.what, pg_catalog.pg_get_userbyid(o.owner)), ', ') AS strangers
FROM (
  SELECT 'schema ${SCHEMA}' AS what, nspowner AS owner FROM pg_catalog.pg_namespace WHERE nspname = '${SCHEMA}'
  UNION ALL SELECT '${SCHEMA}.' || relname, relowner FROM (${RELATIONS}) r
) o
WHERE NOT pg_catalog.pg_has_role(o.owner, current_user, 'MEMBER')
AND o.owner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2 AND pg_catalog.pg_has_role(o.owner, c.relowner, 'MEMBER'))`;

/** Names strangers that own parts of the schema; `undefined` when there are none. */
export async function strangersIn(run: Run, schema: string, table: string): Promise<string | undefined> {
  const [row] = await run(STRANGERS, [schema, table]);
  return typeof row?.['strangers'] === 'string' ? row['strangers'] : undefined;
}

/**
 * Attached tables whose functions were installed by a release that left a way in: they look for types among
 * the writer's own first.
 */
const OUTDATED = `SELECT coalesce(pg_catalog.array_to_json(pg_catalog.array_agg(DISTINCT n.nspname || '.' || c.relname)), '[]')::pg_catalog.text AS outdated
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
JOIN pg_catalog.pg_trigger g ON g.tgfoid = p.oid AND g.tgparentid = 0
JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE s.nspname = '${SCHEMA}' AND p.prosecdef AND NOT EXISTS (
  SELECT FROM pg_catalog.unnest(p.proconfig) o(setting) WHERE pg_catalog.replace(o.setting, '"', '') = 'search_path=${SAFE_PATH}')
AND n.nspname || '.' || c.relname = ANY ($1::pg_catalog.text[])`;

/** The warnings about such tables among the sources. */
export async function insecureTables(run: Run, sources: readonly string[]): Promise<string[]> {
  const [row] = await run(OUTDATED, [arrayText(sources)]);
  const outdated = JSON.parse(String(row?.['outdated'])) as string[];
  return outdated.length === 0 ? [] : [outdatedMessage(outdated)];
}

const outdatedMessage = (sources: readonly string[]): string =>
  `what attach installed for ${sources.join(', ')} lets whoever may write the table act as the role that attached it: attach again (pg.attach(table), or the migration that pg.migration() gives)`;
