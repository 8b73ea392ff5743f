import { atLeast, below, equal } from '../../sql/operators.js';
import { believedSql, SETTING_DELETE_EXACT, stampExactlySql } from '../../sql/stamp.js';
import type { Shape } from '../shape.js';
import { BELIEVED } from './changes.js';
import { OUT, type TableSql } from './table-sql.js';

const BELIEVED_RECORDS = ` WHERE ${believedSql('r."#x"')}`;

const isOneOf = (left: string, column: string, table: string): string =>
  `(${left} OPERATOR(pg_catalog.=) ANY (SELECT ${table}.${column} FROM ${table}))`;

/**
 * Buffered puts. $1: rows with `#x`, their versions. Of a row that was not written its version is told, and its tombstone's
 * only where no row says that there is a newer one.
 */
export function flushPutsSql(sql: TableSql, { columns, kept }: Shape, alone: boolean): string {
  const proposed = `EXCLUDED.${sql.version}`;
  const notWritten = `w."${OUT.version}" IS NULL`;
  const isNewer = `coalesce(${atLeast('l."#l"', 'r."#x"')}, false)`;
  return `${sql.withRecords(columns, alone, BELIEVED_RECORDS)},
w AS (${sql.insertInto(columns)}
SELECT ${sql.inputs(columns)}, ${stampExactlySql('r."#x"')} FROM r
${sql.onConflict(stampExactlySql(proposed), kept)} WHERE ${below(`t.${sql.version}`, proposed)} AND ${sql.believed}
RETURNING ${sql.returned.join(', ')})
SELECT r."#n" AS "${OUT.number}", l."#l" AS "${OUT.locked}", CASE WHEN ${notWritten} AND NOT ${isNewer} THEN ${sql.tombstoneOfRecord} END AS "${OUT.tombstone}", w.*${sql.noneMoved(alone)} FROM r
LEFT JOIN w ON ${sql.isWritten(alone)}
LEFT JOIN LATERAL (SELECT ${sql.told} AS "#l" FROM ${sql.table} t WHERE ${sql.sameKey()} AND ${notWritten} OFFSET 0) l ON true`;
}

/** Buffered deletes. $1: rows with `#x`, $2: the versions by key, as JSON. */
export function flushDeletesSql(sql: TableSql, alone: boolean): string {
  return `${sql.withRecords([], alone, BELIEVED_RECORDS)},
h AS MATERIALIZED (SELECT pg_catalog.set_config('${SETTING_DELETE_EXACT}', $2::pg_catalog.text, true) AS done),
l AS MATERIALIZED (${sql.locked}),
d AS (DELETE FROM ${sql.table} t USING l CROSS JOIN h
WHERE ${sql.fewOf('l', alone)} AND ${BELIEVED} AND ${below('l."#l"', 'l."#x"')} AND h.done IS NOT NULL RETURNING l."#n"),
b AS (INSERT INTO lockstep.tombstone AS b (source, key, version)
SELECT ${sql.source}, ${sql.rowKey}, r."#x" FROM r WHERE NOT ${isOneOf('r."#n"', '"#n"', 'l')}
ON CONFLICT (source, key) DO UPDATE SET version = EXCLUDED.version WHERE ${below('b.version', 'EXCLUDED.version')} OR NOT ${believedSql('b.version')} RETURNING key, version),
o AS (INSERT INTO lockstep.outbox (version, source, key, op) SELECT version, ${sql.source}, key, 'd' FROM b)
SELECT r."#n" AS "${OUT.number}", l."#l" AS "${OUT.locked}", CASE WHEN NOT ${isOneOf('r."#n"', '"#n"', 'd')} THEN ${sql.tombstoneOfRecord} END AS "${OUT.tombstone}",
${isOneOf('r."#n"', '"#n"', 'd')} AS "${OUT.done}", ${isOneOf(sql.rowKey, 'key', 'b')} AS "${OUT.key}" FROM r
LEFT JOIN l ON ${equal('l."#n"', 'r."#n"')}`;
}

/** Ends what {@link flushDeletesSql} set, for the rest of a transaction. */
export const END_FLUSH = `SELECT pg_catalog.set_config('${SETTING_DELETE_EXACT}', '', true)`;
