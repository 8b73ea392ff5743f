import { createHash } from 'node:crypto';
import { type DeclaredSets, InvalidOptionError } from '@lockstep/core';
import { assertSeen, type Run, type TableInfo, tableKeySql } from '../sql/catalog.js';
import { stampedAs, textsSql } from '../sql/declared.js';
import { objectName } from '../sql/names.js';
import { dollarQuoted, identifier, literal } from '../sql/quote.js';
import { microsSql, nextForeignSql, SAFE_PATH, SCHEMA } from '../sql/stamp.js';
import { GUARD, keyGuard, lookupGuard, strangersIn } from './guard.js';
import { BASE, OF_OTHERS, POLICIES } from './schema.js';
import { guarded } from './triggers/guarded.js';
import { ROWS, type TriggerSql, writerFunction } from './triggers/pieces.js';
import {
  FORMER_NAMES,
  MARK_SEPARATOR,
  MARKS,
  otherTriggersOf,
  triggersOf,
  truncateTriggerOf,
} from './triggers/triggers.js';

/** One migration of the schema at a time. */
const LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('lockstep:attach', 0))";

/** The path that the transaction had: a migration may go on with statements of the user's. */
const RESTORE_PATH =
  "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('lockstep.search_path'), true)";

function begin({ lockTimeoutMs }: Pick<AttachSqlOptions, 'lockTimeoutMs'>): string[] {
  return [
    `SET LOCAL lock_timeout = ${lockTimeoutMs}`,
    "SELECT pg_catalog.set_config('lockstep.search_path', pg_catalog.current_setting('search_path'), true)",
    `SET LOCAL search_path = ${SAFE_PATH}`,
    LOCK,
  ];
}

export interface AttachSqlOptions {
  /** How long a statement may wait for the table's lock, holding up those behind it, in ms. */
  readonly lockTimeoutMs: number;
  /** Roles that run Lockstep without owning its schema. */
  readonly grantTo: readonly string[];
}

function functionName(info: TableInfo, trigger: TriggerSql): string {
  return objectName(info, trigger.name.replace(/^[~!]?lockstep_/, ''));
}

/**
 * Makes the function that marks who runs Lockstep on the table. Releases before it gave rights on the outbox alone:
 * where one of them had attached the table, the roles that have those are the ones.
 */
function createWriter(info: TableInfo): string {
  const name = literal(`${writerFunction(info)}()`);
  return `DO ${dollarQuoted(`
DECLARE
  role pg_catalog.name;
  earlier pg_catalog.bool := pg_catalog.to_regprocedure(${name}) IS NULL AND EXISTS (SELECT FROM ${SCHEMA}.attached WHERE source = ${literal(info.source)});
BEGIN
  CREATE OR REPLACE FUNCTION ${writerFunction(info)}() RETURNS pg_catalog.void LANGUAGE sql AS '';
  REVOKE ALL ON FUNCTION ${writerFunction(info)}() FROM PUBLIC;
  FOR role IN SELECT DISTINCT r.rolname FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
              WHERE earlier AND c.oid = '${SCHEMA}.outbox'::pg_catalog.regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %I', ${name}::pg_catalog.regprocedure, role);
  END LOOP;
END
`)}`;
}

/**
 * Those that record write Lockstep's tables, with their owner's rights: a foreign writer needs none of its own. So none
 * may look at anything that a writer can make: each name in them is a schema's, and the path is the catalogue's.
 */
function createFunction(info: TableInfo, trigger: TriggerSql): string {
  // Rows that a policy hides from the owner would go unrecorded: the server refuses instead.
  const readsRows = trigger.event.endsWith('TRUNCATE') ? ' SET row_security = off' : '';
  // A session keeps its plans: one that was made beside few tombstones must not scan a million for each row.
  const looksUp = trigger.looksUp === true ? ' SET enable_seqscan = off' : '';
  return `CREATE OR REPLACE FUNCTION ${functionName(info, trigger)}() RETURNS pg_catalog.trigger LANGUAGE plpgsql ${trigger.asWriter === true ? 'SECURITY INVOKER' : `SECURITY DEFINER SET search_path = ${SAFE_PATH}${readsRows}${looksUp}`} AS ${dollarQuoted(`${trigger.asWriter === true ? trigger.body : guarded(info, trigger)}
`)}`;
}

/** The most pairs of roles that a trigger's condition names: each statement reads it anew. */
export const MAX_MARKS = 16;

/**
 * A statement with the marks in it of the roles that may run Lockstep on the table now: of each by itself, and of each
 * that can become another.
 */
function withMarks(info: TableInfo, sql: string): string {
  const source = literal(stampedAs(info));
  const body = `
BEGIN
  EXECUTE pg_catalog.replace(${literal(sql)}, ${literal(MARKS)}, (
    WITH writer AS (
      SELECT oid, rolname, rolcanlogin FROM pg_catalog.pg_roles
      WHERE pg_catalog.has_function_privilege(oid, ${literal(`${writerFunction(info)}()`)}::pg_catalog.regprocedure, 'EXECUTE')
        AND pg_catalog.strpos(pg_catalog.concat(rolname, ${source}), ${MARK_SEPARATOR}) = 0
    )
    SELECT pg_catalog.quote_literal(coalesce(pg_catalog.array_agg(m.mark), '{}')::pg_catalog.text) FROM (
      SELECT pg_catalog.concat_ws(${MARK_SEPARATOR}, s.rolname, c.rolname, 0, ${source}) AS mark FROM writer s, writer c
      WHERE s.oid = c.oid OR (s.rolcanlogin AND pg_catalog.pg_has_role(s.oid, c.oid, 'MEMBER'))
      ORDER BY s.oid <> c.oid, s.rolname <> current_user, NOT s.rolcanlogin, s.rolname, c.rolname LIMIT ${MAX_MARKS}) m));
END
`;
  return `DO ${dollarQuoted(body, 'lockstep_marks')}`;
}

function createTrigger(info: TableInfo, trigger: TriggerSql, relation: string): string {
  const sql = `CREATE OR REPLACE TRIGGER ${identifier(trigger.name)} ${trigger.event} ON ${relation}${trigger.rows === undefined ? '' : ` REFERENCING ${trigger.rows} TABLE AS ${ROWS}`} FOR EACH ${trigger.level}${trigger.when === undefined ? '' : ` WHEN (${trigger.when})`} EXECUTE FUNCTION ${functionName(info, trigger)}()`;
  return sql.includes(MARKS) ? withMarks(info, sql) : sql;
}

/**
 * Fires whatever `session_replication_role` says: in a subscription's apply worker, too, whose changes are like
 * those of any other writer.
 */
function enableTrigger(trigger: TriggerSql, relation: string): string {
  return `ALTER TABLE ${relation} ENABLE ALWAYS TRIGGER ${identifier(trigger.name)}`;
}

/**
 * The statements that attach a table, to be run in one transaction. The column's default is a constant
 * (the server's clock at that moment), which existing rows show without being rewritten. Throws
 * `InvalidOptionError` for a table that triggers can't keep in step.
 */
export function attachStatements(info: TableInfo, options: AttachSqlOptions): string[] {
  assertSeen(info);
  const column = identifier(info.spec.versionColumn);
  const table = triggersOf(info);
  const truncate = truncateTriggerOf(info);
  const leaves = info.partitioned ? info.leaves : [info.relation];
  const functions = [...table, truncate].flatMap((trigger) => [
    createFunction(info, trigger),
    `REVOKE ALL ON FUNCTION ${functionName(info, trigger)}() FROM PUBLIC`,
  ]);
  const triggers = [
    ...table.flatMap((trigger) => [
      createTrigger(info, trigger, info.relation),
      enableTrigger(trigger, info.relation),
    ]),
    ...leaves.flatMap((leaf) => [createTrigger(info, truncate, leaf), enableTrigger(truncate, leaf)]),
  ];
  const addColumn = `DO ${dollarQuoted(`
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = ${literal(info.relation)}::pg_catalog.regclass
                 AND attname = ${literal(info.spec.versionColumn)} AND NOT attisdropped) THEN
    EXECUTE pg_catalog.format(${literal(`ALTER TABLE ${info.relation.replaceAll('%', '%%')} ADD COLUMN ${column.replaceAll('%', '%%')} pg_catalog.int8 NOT NULL DEFAULT %s`)},
      ${nextForeignSql(microsSql())});
  END IF;
END
`)}`;
  return [
    ...begin(options),
    GUARD,
    ...BASE,
    ...POLICIES,
    keyGuard(info),
    lookupGuard(info),
    createWriter(info),
    `INSERT INTO ${SCHEMA}.attached (source, relation, version_column, key_columns, key_sql, fingerprint, writer, declared, declared_sql) VALUES (${literal(info.source)}, ${literal(info.relation)}, ${literal(info.spec.versionColumn)}, ARRAY[${info.keyColumns.map((key) => literal(key.column)).join(', ')}], ${literal(tableKeySql(info, 't'))}, ${literal(fingerprintOf(info))}, ${literal(`${writerFunction(info)}()`)}, ${declaredOf(info)})
ON CONFLICT (source) DO UPDATE SET relation = EXCLUDED.relation, version_column = EXCLUDED.version_column, key_columns = EXCLUDED.key_columns, key_sql = EXCLUDED.key_sql, fingerprint = EXCLUDED.fingerprint, writer = EXCLUDED.writer, declared = EXCLUDED.declared, declared_sql = EXCLUDED.declared_sql`,
    // Before the triggers, which name the roles.
    ...options.grantTo.flatMap((role) => [
      `GRANT USAGE ON SCHEMA ${SCHEMA} TO ${identifier(role)}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${SCHEMA}.outbox, ${SCHEMA}.tombstone TO ${identifier(role)}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${SCHEMA}.consumer TO ${identifier(role)}`,
      `GRANT SELECT ON ${SCHEMA}.attached TO ${identifier(role)}`,
      `GRANT EXECUTE ON FUNCTION ${writerFunction(info)}() TO ${identifier(role)}`,
    ]),
    ...functions,
    addColumn,
    ...triggers,
    ...dropFormer(info),
    // Only what is there: each of these statements waits for whoever reads the table.
    ...dropTriggers(
      info,
      otherTriggersOf(info).filter(({ name }) => info.triggers.includes(name)),
    ),
    RESTORE_PATH,
  ];
}

const dropFormer = ({ relation }: TableInfo): string[] =>
  FORMER_NAMES.map((name) => `DROP TRIGGER IF EXISTS ${name} ON ${relation}`);

/** Drops triggers of the table, and their functions. */
const dropTriggers = (info: TableInfo, triggers: readonly TriggerSql[]): string[] => [
  ...triggers.map(({ name }) => `DROP TRIGGER IF EXISTS ${identifier(name)} ON ${info.relation}`),
  ...triggers.map((trigger) => `DROP FUNCTION IF EXISTS ${functionName(info, trigger)}()`),
];

/** The declared sets as they are recorded, and the SQL of a row's texts. */
function declaredOf({ declared }: TableInfo): string {
  const { columns, tags, unique } = declared;
  if (columns.length === 0) return 'NULL, NULL';
  return `${literal(JSON.stringify({ unique, tags }))}, ${literal(textsSql(declared, 't'))}`;
}

/** Tells whether what is installed is what this release would install. */
export function fingerprintOf(info: TableInfo): string {
  const parts = [...triggersOf(info), truncateTriggerOf(info)].flatMap((each) => [
    createFunction(info, each),
    createTrigger(info, each, info.relation),
    enableTrigger(each, info.relation),
  ]);
  return createHash('sha256')
    .update([...BASE, ...POLICIES, createWriter(info), ...parts, ...info.leaves, declaredOf(info)].join('\n'))
    .digest('hex');
}

/** The statements that undo {@link attachStatements}; the last table takes the schema with it. */
export function detachStatements(
  info: TableInfo,
  options: Pick<AttachSqlOptions, 'lockTimeoutMs'>,
): string[] {
  const source = literal(info.source);
  const table = triggersOf(info);
  const truncate = truncateTriggerOf(info);
  const leaves = info.partitioned ? info.leaves : [info.relation];
  return [
    ...begin(options),
    GUARD,
    ...dropFormer(info),
    ...dropTriggers(info, [...table, ...otherTriggersOf(info)]),
    ...leaves.map((leaf) => `DROP TRIGGER IF EXISTS ${identifier(truncate.name)} ON ${leaf}`),
    `DROP FUNCTION IF EXISTS ${functionName(info, truncate)}()`,
    `DROP FUNCTION IF EXISTS ${writerFunction(info)}()`,
    `ALTER TABLE ${info.relation} DROP COLUMN IF EXISTS ${identifier(info.spec.versionColumn)}`,
    `DO ${dollarQuoted(`
BEGIN
  IF pg_catalog.to_regclass('${SCHEMA}.attached') IS NOT NULL THEN
    DELETE FROM ${SCHEMA}.attached WHERE source = ${source};
    DELETE FROM ${SCHEMA}.outbox WHERE source = ${source};
    DELETE FROM ${SCHEMA}.tombstone WHERE source = ${source};
    DELETE FROM ${SCHEMA}.consumer WHERE source = ${source};
    IF NOT EXISTS (SELECT FROM ${SCHEMA}.attached) THEN
      DROP TABLE ${SCHEMA}.outbox, ${SCHEMA}.tombstone, ${SCHEMA}.attached, ${SCHEMA}.consumer;
      DROP SCHEMA ${SCHEMA};
    END IF;
  END IF;
END
`)}`,
    RESTORE_PATH,
  ];
}

export interface Attached {
  readonly relation: string;
  readonly keyColumns: readonly string[];
  readonly keySql: string;
  readonly versionColumn: string;
  readonly fingerprint: string;
  /** Sets of columns whose values each change tells. */
  readonly declared: DeclaredSets;
  /** False where an earlier release attached it, which recorded no caches. */
  readonly hasRegistry: boolean;
  /** False where an earlier release attached it: nobody can find what others did to a row. */
  readonly findsOthers: boolean;
}

/**
 * The record of a table in `lockstep.attached`; `undefined` when it, or the schema, is not there. Throws
 * `InvalidOptionError` when it belongs to somebody who is not to be believed.
 */
export async function readAttached(run: Run, { source, spec }: TableInfo): Promise<Attached | undefined> {
  const strangers = await strangersIn(run, spec.schema, spec.table);
  if (strangers !== undefined) {
    throw new InvalidOptionError(
      'table',
      `${strangers}, not to the owner of ${source}, the database's owner or a superuser: what it says can't be believed; give it to the role that attaches (ALTER SCHEMA ${SCHEMA} OWNER TO …, and the tables in it), or DROP SCHEMA ${SCHEMA} CASCADE, and attach again`,
    );
  }
  const [there] = await run(
    `SELECT pg_catalog.to_regclass('${SCHEMA}.attached') IS NOT NULL AS yes, pg_catalog.to_regclass('${SCHEMA}.consumer') IS NOT NULL AS registry, pg_catalog.to_regclass('${SCHEMA}.${OF_OTHERS}') IS NOT NULL AS others`,
  );
  if (there?.['yes'] !== true) return undefined;
  const [row] = await run(
    `SELECT relation, version_column, pg_catalog.array_to_json(key_columns)::pg_catalog.text AS key_columns, key_sql, fingerprint, pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'declared' AS declared FROM ${SCHEMA}.attached a WHERE source = $1`,
    [source],
  );
  if (row === undefined) return undefined;
  const keyColumns = row['key_columns'];
  return {
    relation: String(row['relation']),
    keyColumns: JSON.parse(String(keyColumns)) as string[],
    keySql: String(row['key_sql']),
    versionColumn: String(row['version_column']),
    fingerprint: String(row['fingerprint']),
    declared: typeof row['declared'] === 'string' ? (JSON.parse(row['declared']) as DeclaredSets) : {},
    hasRegistry: there['registry'] === true,
    findsOthers: there['others'] === true,
  };
}
