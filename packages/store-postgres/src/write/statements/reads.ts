import { equal } from '../../sql/operators.js';
import { identifier } from '../../sql/quote.js';
import { type TableSql, together } from './table-sql.js';

/** $1…: the key's parts. */
export function readOneSql({ info, read, table }: TableSql): string {
  const where = info.keyColumns.map((key, index) =>
    equal(`t.${identifier(key.column)}`, `$${index + 1}::${key.type.sqlType}`),
  );
  return `SELECT ${read} FROM ${table} t WHERE ${where.join(' AND ')}`;
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
