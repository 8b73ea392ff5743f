import { equal, isIn } from '../../sql/operators.js';
import { microsSql, nextStampedSql, notAheadSql } from '../../sql/stamp.js';
import type { Shape } from '../shape.js';
import { OUT, type TableSql, together } from './table-sql.js';

/** The values of an insert: the key's first. */
function valuesOf(sql: TableSql, values: readonly string[]): string {
  const keys = sql.info.keyColumns.length;
  return [...sql.keyOfInsert(values.slice(0, keys)), ...values.slice(keys)].join(', ');
}

function parametersOf(sql: TableSql, { columns }: Shape, first: number): string {
  return valuesOf(
    sql,
    sql.types(columns).map((type, index) => `$${index + first}::${type}`),
  );
}

/** One blind put. $1: stamp, $2: key, then the key's parts, then the shape's columns. */
export function putOneSql(sql: TableSql, shape: Shape): string {
  const stamp = sql.aboveTombstone('$1::pg_catalog.int8', equal('t.key', '$2::pg_catalog.text'));
  return `${sql.insertInto(shape.columns)} VALUES (${parametersOf(sql, shape, 3)}, ${stamp})
${sql.onConflict('$1::pg_catalog.int8')} WHERE ${sql.believed} RETURNING ${sql.returned.join(', ')}`;
}

/** Blind puts. $1: stamp, $2: their keys, then the rows. */
export function putManySql(sql: TableSql, shape: Shape): string {
  const stamp = sql.aboveTombstone('$1::pg_catalog.int8', isIn('t.key', '$2::pg_catalog.text[]'));
  return `${sql.insertInto(shape.columns)} ${rowsOf(sql, shape, 3, stamp)}
${sql.onConflict('$1::pg_catalog.int8')} WHERE ${sql.believed} RETURNING ${sql.returned.join(', ')}`;
}

/**
 * As {@link putOneSql} on its own, which stamps and records what it writes without calling a trigger for
 * it: under the row's lock, too, since that is when a conflict's assignments are computed. A row that
 * is new still meets the trigger that looks for a concurrent delete. $1: the version to stay above.
 */
export function putOneStampedSql(sql: TableSql, shape: Shape): string {
  const values = parametersOf(sql, shape, 2);
  return stamped(sql, shape, (stamp) => `VALUES (${values}, ${stamp})`, sql.recordOfEach);
}

/**
 * As {@link putManySql}, likewise; all are recorded in one row of the outbox, whose own key and version are
 * those of the first row returned, but where each has texts of its own. $1: the version to stay above, then the rows.
 */
export function putManyStampedSql(sql: TableSql, shape: Shape): string {
  const record = `(version, source, key, op, keys, versions)
SELECT a.versions[1], ${sql.source}, a.keys[1], 'p', a.keys, a.versions
FROM (SELECT pg_catalog.array_agg("${OUT.key}") AS keys, pg_catalog.array_agg("${OUT.version}") AS versions FROM w) AS a WHERE a.keys IS NOT NULL`;
  const declares = sql.info.declared.columns.length > 0;
  return stamped(sql, shape, (stamp) => rowsOf(sql, shape, 2, stamp), declares ? sql.recordOfEach : record);
}

function stamped(sql: TableSql, { columns }: Shape, rows: (stamp: string) => string, record: string): string {
  const above = '$1::pg_catalog.int8';
  const inserted = nextStampedSql(
    `greatest(CASE WHEN ${notAheadSql(above)} THEN ${above} END, ${microsSql()})`,
  );
  // The proposed version is above `$1` already.
  const updated = nextStampedSql(`greatest(t.${sql.version}, EXCLUDED.${sql.version}, ${microsSql()})`);
  return `WITH w AS (${sql.insertInto(columns)} ${rows(inserted)}
${sql.onConflict(updated)} WHERE ${sql.believed} RETURNING ${sql.returnedStamped.join(', ')}),
o AS (INSERT INTO lockstep.outbox ${record})
SELECT * FROM w`;
}

/** The rows of puts from parameter `first` on: an array of texts for each column, or all as JSON. */
function rowsOf(sql: TableSql, { columns, scalar }: Shape, first: number, stamp: string): string {
  if (!scalar) return `SELECT ${sql.inputs(columns)}, ${stamp} FROM ${sql.records(columns, false, first)}`;
  const types = sql.types(columns);
  const cells = types.map((type, index) => `r.c${index}::${type}`);
  const arrays = types.map((_, index) => `$${first + index}::pg_catalog.text[]`);
  const names = types.map((_, index) => `c${index}`);
  return `SELECT ${valuesOf(sql, cells)}, ${stamp} FROM ${together(arrays)} AS r(${names.join(', ')})`;
}

/** Puts where there is no row. $1: the rows, $2: stamp, $3: their keys. */
export function insertSql(sql: TableSql, { columns }: Shape, alone: boolean, drawn: boolean): string {
  const stamp = sql.aboveTombstone('$2::pg_catalog.int8', isIn('t.key', '$3::pg_catalog.text[]'));
  return `${sql.withRecords(columns, alone)},
w AS (${sql.insertInto(columns)}
SELECT ${sql.inputs(columns, drawn)}, ${stamp} FROM r ON CONFLICT (${sql.key}) DO NOTHING RETURNING ${sql.returned.join(', ')})
SELECT r."#n" AS "${OUT.number}", ${sql.toldUnlessWritten} AS "${OUT.locked}", w.*${sql.noneMoved(alone)} FROM r
LEFT JOIN w ON ${sql.isWritten(alone)}`;
}
