import { beforeOfOthers } from '../../attach/schema.js';
import type { KeyColumn } from '../../keys/codec.js';
import { tableKeySql } from '../../sql/catalog.js';
import { atLeast, equal, operator } from '../../sql/operators.js';
import { identifier } from '../../sql/quote.js';
import { microsSql } from '../../sql/stamp.js';
import { OUT, type TableSql, together } from './table-sql.js';

/** $1…: the key's parts. */
export function readOneSql({ info, read, table }: TableSql, lock: boolean): string {
  const where = info.keyColumns.map((key, index) =>
    equal(`t.${identifier(key.column)}`, `$${index + 1}::${key.type.sqlType}`),
  );
  // As an update of other columns than the key locks it: references to the row may come meanwhile.
  return `SELECT ${read} FROM ${table} t WHERE ${where.join(' AND ')}${lock ? ' FOR NO KEY UPDATE' : ''}`;
}

/** $1…: an array for each part of the keys. Each is looked up by itself: a list might be worth a scan to the planner. */
export function readManySql(sql: TableSql): string {
  const { columns, keyColumns } = sql.info;
  const arrays = keyColumns.map((key, index) => `$${index + 1}::${key.type.sqlType}[]`);
  const names = keyColumns.map((_, index) => `"k${index}"`).join(', ');
  const row = [sql.version, ...columns.map(({ name }) => identifier(name))].join(', ');
  return `SELECT ${sql.read} FROM ${together(arrays)} AS r(${names})
CROSS JOIN LATERAL (SELECT ${row} FROM ${sql.table} t WHERE ${sql.sameKey()} OFFSET 0) t`;
}

/**
 * What triggers have recorded of the table in this transaction, which has just begun: no version is below the clock then,
 * but those that flushes bring. ($1: the lowest of these.) What a clock that stepped back hides is not known. With it come
 * the texts that others' changes of the same rows have replaced, while the feed still holds these.
 */
export function recordedSql({ info, source }: TableSql): string {
  const least = `least($1::pg_catalog.int8, ${microsSql('pg_catalog.now()')})`;
  const texts = 'pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(r.before, r.after))';
  const all = info.findsOthers === true ? operator(texts, '||', beforeOfOthers(source, 'r.key')) : texts;
  return `SELECT r.key AS "${OUT.key}", ${all}::pg_catalog.text AS "${OUT.texts}" FROM lockstep.outbox r
WHERE ${atLeast('r.version', least)} AND ${equal('r.txid', 'pg_catalog.pg_current_xact_id_if_assigned()')} AND ${equal('r.source', source)}
AND (r.before IS NOT NULL OR r.after IS NOT NULL) GROUP BY r.key`;
}

/** As {@link recordedSql} of others, after a statement that has recorded its own: only now it is seen what it waited for. */
export function othersSql({ source }: TableSql): string {
  return `SELECT u.k AS "${OUT.key}", ${beforeOfOthers(source, 'u.k')}::pg_catalog.text AS "${OUT.texts}" FROM pg_catalog.unnest($1::pg_catalog.text[]) AS u(k)`;
}

/** $1…: an array for each column of a unique index. Answers with the places, from 1, and the keys of the rows. */
export function findSql({ info, table }: TableSql, columns: readonly KeyColumn[]): string {
  const arrays = columns.map(({ type }, index) => `$${index + 1}::${type.sqlType}[]`);
  const names = columns.map((_, index) => `"k${index}"`).join(', ');
  const same = columns.map(({ column }, index) => equal(`t.${identifier(column)}`, `r."k${index}"`));
  const key = tableKeySql(info, 't');
  return `SELECT r.n::pg_catalog.text AS "${OUT.number}", t.key AS "${OUT.key}" FROM ${together(arrays)} WITH ORDINALITY AS r(${names}, n)
CROSS JOIN LATERAL (SELECT ${key} AS key FROM ${table} t WHERE ${same.join(' AND ')} OFFSET 0) t`;
}
