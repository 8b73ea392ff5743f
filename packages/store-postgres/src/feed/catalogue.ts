import type { Alteration, Alterations } from '@lockstep/core';
import { storeError } from '../errors.js';
import { SET_SAFE_PATH } from '../sql/stamp.js';
import { arrayText } from '../wire/arrays.js';
import { statement } from '../wire/pipeline.js';
import type { FeedParts } from './parts.js';

/** The first id of objects that users make. */
const FIRST_OF_USERS = 16_384;

/**
 * What the catalogue says of an attached table that decides on the values of its rows: where they are, each column's
 * number, type and expression, the labels of enums and the attributes of composite types, however deep they are in
 * a column's type; and which of Lockstep's triggers were touched when, since rows may have changed while they were off. An
 * object by object, so that what was only added can be told. NULL: there is no such table.
 */
export const catalogueOf = (relation: string): string => `(
  WITH RECURSIVE tab AS (
    SELECT pg_catalog.to_regclass(${relation})::oid AS oid
  ), tree AS (
    SELECT c.oid, c.relkind, c.relfilenode FROM tab JOIN pg_catalog.pg_class c ON c.oid = tab.oid
    UNION ALL
    SELECT c.oid, c.relkind, c.relfilenode FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE t.relkind = 'p'
  ), col AS (
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attcollation, a.attgenerated, a.attrelid
    FROM tab JOIN pg_catalog.pg_attribute a ON a.attrelid = tab.oid AND a.attnum > 0 AND NOT a.attisdropped
  ), typ AS (
    SELECT atttypid AS oid FROM col WHERE atttypid >= ${FIRST_OF_USERS}
    UNION
    SELECT x.oid FROM typ JOIN pg_catalog.pg_type t ON t.oid = typ.oid CROSS JOIN LATERAL (
      VALUES (t.typbasetype), (t.typelem)
      UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
      UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) x(oid) WHERE x.oid >= ${FIRST_OF_USERS}
  )
  SELECT pg_catalog.jsonb_build_object(
    'relations', (SELECT pg_catalog.jsonb_object_agg(oid, relfilenode) FROM tree),
    'triggers', (SELECT pg_catalog.jsonb_object_agg(g.tgrelid, g.states) FROM (
      SELECT g.tgrelid, pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', g.tgname, g.tgenabled, g.xmin), ',' ORDER BY g.tgname)) AS states
      FROM tree JOIN pg_catalog.pg_trigger g ON g.tgrelid = tree.oid WHERE g.tgname ~ '^[~!]?lockstep_' GROUP BY g.tgrelid) g),
    'columns', (SELECT pg_catalog.jsonb_object_agg(c.attname, pg_catalog.concat_ws(' ', c.attnum, c.atttypid, c.atttypmod, c.attcollation,
      CASE WHEN c.attgenerated <> '' THEN (SELECT c.attgenerated::text || pg_catalog.md5(d.adbin::text) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.attrelid AND d.adnum = c.attnum) END)) FROM col c),
    'labels', (SELECT pg_catalog.jsonb_object_agg(e.oid, e.enumlabel) FROM typ JOIN pg_catalog.pg_enum e ON e.enumtypid = typ.oid),
    'attributes', (SELECT pg_catalog.jsonb_object_agg(t.oid, (
      SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
      FROM typ JOIN pg_catalog.pg_type t ON t.oid = typ.oid AND t.typtype = 'c')
  ) FROM tab WHERE tab.oid IS NOT NULL
)`;

const NOW = `SELECT a.source, ${catalogueOf('a.relation')} AS catalogue FROM lockstep.attached a WHERE a.source = ANY ($2::text[])`;

/**
 * Columns and labels that came change no value of those that were there. A partition that came has rows that were
 * taken for absent, unless it has none.
 */
const CHECK = `WITH n AS MATERIALIZED (${NOW})
SELECT s.source, (n.source IS NOT NULL)::text AS attached, pg_catalog.md5(n.catalogue::text) AS state,
coalesce(pg_catalog.jsonb_strip_nulls(n.catalogue) @> pg_catalog.jsonb_strip_nulls(c.catalogue), false)
AND NOT EXISTS (SELECT FROM pg_catalog.jsonb_object_keys(n.catalogue -> 'relations') k
  WHERE NOT c.catalogue -> 'relations' ? k AND coalesce(pg_catalog.pg_relation_size(k::oid), 1) > 0) AS grown
FROM unnest($2::text[]) s(source) LEFT JOIN n ON n.source = s.source
LEFT JOIN lockstep.consumer c ON c.source = s.source AND c.consumer = $1
WHERE n.source IS NULL OR (c.source IS NOT NULL AND n.catalogue IS DISTINCT FROM c.catalogue)`;

const DEALT_WITH = `WITH n AS MATERIALIZED (${NOW})
UPDATE lockstep.consumer c SET catalogue = n.catalogue FROM n
WHERE c.consumer = $1 AND c.source = n.source AND pg_catalog.md5(n.catalogue::text) IS NOT DISTINCT FROM nullif($3, '')`;

/** The planner takes the recursions for long ones, and compiling them takes twenty times what they do. */
const SETTINGS = statement(`SELECT ${SET_SAFE_PATH}, pg_catalog.set_config('jit', 'off', true)`, false);

const THERE = `SELECT (pg_catalog.to_regclass('lockstep.attached') IS NOT NULL AND pg_catalog.to_regclass('lockstep.consumer') IS NOT NULL)::text AS yes`;

/** Watches the catalogue for what changes values of rows and fires no trigger. `lockstep.consumer` holds what was seen. */
export class CatalogueWatch implements Alterations {
  readonly #parts: FeedParts;

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  async check(consumer: string, sources: readonly string[]): Promise<readonly Alteration[]> {
    if (sources.length === 0) return [];
    const [there] = await this.#rows(THERE, []);
    // The last table that was detached takes the schema with it.
    if (there?.['yes'] !== 'true') return sources.map(detached);
    const found: Alteration[] = [];
    for (const row of await this.#rows(CHECK, [consumer, arrayText(sources)])) {
      const [source, state] = [String(row['source']), String(row['state'] ?? '')];
      if (row['attached'] !== 'true') found.push(detached(source));
      else found.push({ source, kind: row['grown'] === true ? 'grown' : 'altered', state });
    }
    return found;
  }

  async dealtWith(consumer: string, { source, state }: Alteration): Promise<void> {
    await this.#rows(DEALT_WITH, [consumer, arrayText([source]), state]);
  }

  async #rows(sql: string, values: readonly string[]): Promise<readonly Record<string, unknown>[]> {
    const { options, session } = this.#parts;
    const calls = [
      { statement: SETTINGS, values: [] },
      { statement: statement(sql, false), values },
    ];
    try {
      const [, rows = []] = await session.send(calls, {
        deadline: session.deadline(options.statementTimeoutMs),
        what: 'feed: catalogue',
        readOnly: true,
        prepared: false,
      });
      return rows.map(({ value }) => value);
    } catch (error) {
      throw storeError(error, 'feed: catalogue', false);
    }
  }
}

function detached(source: string): Alteration {
  return { source, kind: 'detached', state: '' };
}
