import type { RawTrigger } from '../attach/user-triggers.js';

/**
 * The text of a mark, an SQL expression, as a trigger's definition shows it within an array: quoted as an element, and
 * then as a literal. Up to the table's name: what is declared of the table follows it.
 */
export function markText(session: string, current: string, source: string): string {
  const mark = `concat_ws(E'\\n', ${session}, ${current}, 0, ${source})`;
  const element = `'"' || replace(replace(${mark}, E'\\\\', E'\\\\\\\\'), '"', E'\\\\"')`;
  return `replace(replace(${element}, E'\\\\', E'\\\\\\\\'), '''', '''''')`;
}

/** The mark of this session's roles. */
const MARK = markText('session_user', 'current_user', "$1 || '.' || $2");

/** Whether the condition of one of these triggers of the table has the mark of this session's roles. */
const isMarked = (...triggers: readonly string[]): string =>
  `(SELECT bool_or(strpos(pg_catalog.pg_get_triggerdef(g.oid), ${MARK}) > 0)
   FROM tab JOIN pg_catalog.pg_trigger g ON g.tgrelid = tab.oid WHERE g.tgname IN (${triggers.map((name) => `'${name}'`).join(', ')}))`;

/** One look at the catalogue: a table, its columns, indexes and triggers. $1: its schema, $2: its name. */
export const CATALOG = `
WITH RECURSIVE tab AS (
  SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), tree AS (
  SELECT oid, relkind FROM tab
  UNION ALL
  SELECT c.oid, c.relkind FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE t.relkind = 'p'
), base AS (
  SELECT a.attnum, t.oid AS type, a.atttypmod AS modifier, a.attcollation AS collation
  FROM tab JOIN pg_catalog.pg_attribute a ON a.attrelid = tab.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  UNION ALL
  SELECT b.attnum, t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE b.modifier END, b.collation
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
), ix AS (
  SELECT (SELECT string_agg(k.number::text, ' ' ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) WHERE k.place <= i.indnkeyatts) AS columns,
    i.indisunique AS "unique", i.indimmediate AS immediate, i.indisvalid AS valid, i.indpred IS NULL AND i.indexprs IS NULL AS whole,
    quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, i.indisprimary AS "primary",
    (SELECT quote_ident(o.conname) FROM pg_catalog.pg_constraint o WHERE o.conindid = i.indexrelid AND o.conrelid = i.indrelid LIMIT 1) AS "constraint"
  FROM tab JOIN pg_catalog.pg_index i ON i.indrelid = tab.oid
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
)
SELECT
  (SELECT relkind FROM tab)::text AS kind,
  (SELECT oid FROM tab)::text AS oid,
  (SELECT max(x.next - ((x.next - a.xmin::text::int8) & 4294967295))::text FROM tab JOIN pg_catalog.pg_attribute a ON a.attrelid = tab.oid AND a.attnum > 0,
   (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 AS next) x) AS "order",
  (SELECT json_agg(DISTINCT jsonb_build_object('name', g.tgname, 'type', g.tgtype, 'deferrable', g.tgdeferrable))
   FROM tree JOIN pg_catalog.pg_trigger g ON g.tgrelid = tree.oid
   WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgname !~ '^[~!]?lockstep_') AS others,
  (SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM tree
   JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE tree.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
     WHERE g.tgrelid = tree.oid AND g.tgname = 'lockstep_record_truncate' AND g.tgenabled IN ('O', 'A'))) AS "untruncated",
  (SELECT json_agg(DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM tree
   JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND c.relkind <> 'p' AND c.relpersistence <> 'p'
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) AS unlogged,
  (SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM tab
   JOIN pg_catalog.pg_inherits i ON i.inhparent = tab.oid AND tab.relkind = 'r'
   JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) AS children,
  (SELECT EXISTS (SELECT FROM tab JOIN pg_catalog.pg_inherits i ON i.inhrelid = tab.oid)) AS inherits,
  (SELECT json_agg(DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM tree
   JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND c.relforcerowsecurity
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE (r.rolsuper OR r.rolbypassrls) AND r.oid = coalesce(
     (SELECT p.proowner FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
      WHERE g.tgrelid = (SELECT oid FROM tab) AND g.tgname IN ('!lockstep_record_delete', 'lockstep_record_delete')),
     (SELECT u.oid FROM pg_catalog.pg_roles u WHERE u.rolname = current_user)))) AS forced,
  (SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname) ORDER BY c.oid)
   FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE tree.relkind = 'r') AS leaves,
  (SELECT json_agg(json_build_object(
      'number', a.attnum, 'name', a.attname, 'notNull', a.attnotnull, 'generated', a.attgenerated <> '',
      'identity', a.attidentity, 'sqlType', quote_ident(tn.nspname) || '.' || quote_ident(t.typname),
      'baseOid', bt.oid::int8, 'baseId', bn.nspname || '.' || bt.typname,
      'baseSql', quote_ident(bn.nspname) || '.' || quote_ident(bt.typname),
      'baseSchema', quote_ident(bn.nspname), 'baseKind', bt.typtype, 'modifier', b.modifier, 'category', bt.typcategory,
      'shown', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'elementId', (SELECT en.nspname || '.' || et.typname FROM pg_catalog.pg_type et
        JOIN pg_catalog.pg_namespace en ON en.oid = et.typnamespace
        WHERE et.oid = bt.typelem AND bt.typcategory = 'A'),
      'deterministic', coalesce((SELECT co.collisdeterministic FROM pg_catalog.pg_collation co WHERE co.oid = b.collation), true),
      'labels', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = bt.oid)
    ) ORDER BY a.attnum)
   FROM tab JOIN pg_catalog.pg_attribute a ON a.attrelid = tab.oid AND a.attnum > 0 AND NOT a.attisdropped
   JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
   JOIN base b ON b.attnum = a.attnum JOIN pg_catalog.pg_type bt ON bt.oid = b.type AND bt.typtype <> 'd'
   JOIN pg_catalog.pg_namespace bn ON bn.oid = bt.typnamespace) AS columns,
  (SELECT json_agg(ix.columns) FROM ix WHERE ix.unique AND ix.immediate AND ix.valid AND ix.whole) AS uniques,
  (SELECT json_agg(ix) FROM ix WHERE NOT (ix.unique AND ix.immediate AND ix.valid AND ix.whole)) AS "otherIndexes",
  (SELECT json_agg(g.tgname) FROM tab JOIN pg_catalog.pg_trigger g ON g.tgrelid = tab.oid
   WHERE g.tgname ~ '^[~!]?lockstep_' AND g.tgenabled IN ('O', 'A')) AS triggers,
  (SELECT json_agg(json_build_object('relation', quote_ident(n.nspname) || '.' || quote_ident(c.relname), 'trigger', g.tgname, 'enabled', g.tgenabled)
     ORDER BY c.oid, g.tgname)
   FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   JOIN pg_catalog.pg_trigger g ON g.tgrelid = tree.oid WHERE g.tgname ~ '^[~!]?lockstep_' AND g.tgenabled <> 'A') AS "weakTriggers",
  (SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM tree
   JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE tree.relkind = 'f') AS "foreignParts",
  pg_catalog.current_setting('session_replication_role') AS "replicationRole",
  (SELECT max(split_part(substr(m.def, strpos(m.def, m.mark) + length(m.mark)), '"', 1)) FROM (
     SELECT pg_catalog.pg_get_triggerdef(g.oid) AS def, ${MARK} AS mark
     FROM tab JOIN pg_catalog.pg_trigger g ON g.tgrelid = tab.oid WHERE g.tgname = '~lockstep_stamp') m
   WHERE strpos(m.def, m.mark) > 0) AS "markedFor",
  ${isMarked('!lockstep_record_delete', 'lockstep_record_deletes')} AS "deletesMarked",
  current_setting('server_version_num')::int >= 180000 AS "returnsOld",
  (SELECT EXISTS (
    SELECT FROM (
      SELECT 'pg_catalog.pg_attrdef'::regclass AS class, e.oid FROM tab JOIN pg_catalog.pg_attrdef e ON e.adrelid = tab.oid
      UNION ALL SELECT 'pg_catalog.pg_policy'::regclass, y.oid FROM tab JOIN pg_catalog.pg_policy y ON y.polrelid = tab.oid
      UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, o.oid FROM tab JOIN pg_catalog.pg_constraint o ON o.conrelid = tab.oid
      UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, o.oid FROM base JOIN pg_catalog.pg_constraint o ON o.contypid = base.type
    ) x JOIN pg_catalog.pg_depend d ON d.classid = x.class AND d.objid = x.oid AND d.refclassid = 'pg_catalog.pg_proc'::regclass
    JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid AND p.provolatile = 'v'
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c'))) AS calls`;

export interface RawColumn {
  readonly number: number;
  readonly name: string;
  readonly notNull: boolean;
  readonly generated: boolean;
  readonly identity: string;
  readonly sqlType: string;
  readonly baseOid: number;
  readonly baseId: string;
  readonly baseSql: string;
  readonly baseSchema: string;
  readonly baseKind: string;
  readonly modifier: number;
  readonly category: string;
  readonly shown: string;
  readonly elementId: string | null;
  readonly deterministic: boolean;
  readonly labels: readonly string[] | null;
}

export interface RawTable {
  readonly kind: string | null;
  readonly oid: string;
  readonly order: string;
  readonly others: readonly RawTrigger[] | null;
  readonly untruncated: readonly string[] | null;
  readonly leaves: readonly string[] | null;
  readonly unlogged: readonly string[] | null;
  /** Tables that hide rows even from the owner of what attach installs. */
  readonly forced: readonly string[] | null;
  readonly children: readonly string[] | null;
  /** It is a partition, or inherits from another table. */
  readonly inherits: boolean;
  readonly columns: readonly RawColumn[] | null;
  readonly uniques: readonly string[] | null;
  readonly otherIndexes: readonly RawIndex[] | null;
  readonly triggers: readonly string[] | null;
  readonly weakTriggers: readonly WeakTrigger[] | null;
  /** Partitions that are foreign tables. */
  readonly foreignParts: readonly string[] | null;
  readonly replicationRole: string;
  /** What the mark of this session's roles in the stamping trigger's condition says of declared columns; `null`: there is none. */
  readonly markedFor: string | null;
  /** The condition of the trigger that records what is deleted has the mark. */
  readonly deletesMarked: boolean | null;
  readonly returnsOld: boolean;
  /** A default, a condition or a policy calls a function that may write. */
  readonly calls: boolean;
}

/** An index that can't be the key's. */
export interface RawIndex {
  /** Numbers of the key columns. */
  readonly columns: string;
  readonly unique: boolean;
  readonly immediate: boolean;
  readonly valid: boolean;
  /** Neither partial nor of an expression. */
  readonly whole: boolean;
  readonly name: string;
  readonly primary: boolean;
  readonly constraint: string | null;
}

/** A trigger of Lockstep's that does not fire for everybody: `D` never, `R` in replication, `O` elsewhere. */
export interface WeakTrigger {
  readonly relation: string;
  readonly trigger: string;
  readonly enabled: 'D' | 'R' | 'O';
}
