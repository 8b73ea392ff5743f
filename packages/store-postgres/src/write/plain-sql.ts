import type { TableColumn } from '../sql/catalog.js';
import { equal, operator } from '../sql/operators.js';
import { identifier, literal } from '../sql/quote.js';
import type { Shape } from './shape.js';
import { assignments } from './statements/changes.js';
import { OUT, type TableSql, together } from './statements/table-sql.js';

/** In the message of a statement that met a table that is attached. */
export const ATTACHED = 'lockstep: attached again';

/** What tells one state of a row from another where there is no version: the transaction that wrote it. */
const WRITTEN_BY = 't.xmin::pg_catalog.text::pg_catalog.int8';
const THIS_TRANSACTION = 'pg_catalog.pg_current_xact_id()::pg_catalog.xid::pg_catalog.text::pg_catalog.int8';

function columnsOf(sql: TableSql, version: string): string {
  const columns = sql.info.columns.map(
    ({ name, property }) => `t.${identifier(name)} AS ${identifier(property)}`,
  );
  return [`${sql.keyOfRow} AS "${OUT.key}"`, `${version} AS "${OUT.version}"`, ...columns].join(', ');
}

/** Rows by key. The key's parts are arrays. */
export function readSql(sql: TableSql): string {
  const { keyColumns } = sql.info;
  const arrays = keyColumns.map((key, index) => `$${index + 1}::${key.type.sqlType}[]`);
  const names = keyColumns.map((_, index) => `"k${index}"`).join(', ');
  return `SELECT ${columnsOf(sql, WRITTEN_BY)} FROM ${together(arrays)} AS r(${names}) JOIN ${sql.table} t ON ${sql.sameKey()}`;
}

/** Fails where the table is attached by now. Behind a write, whose lock keeps attach waiting. */
export function notAttachedSql({ info }: TableSql): string {
  return `SELECT pg_catalog.concat(${literal(`${ATTACHED} `)}, g.tgname)::pg_catalog.int4 FROM pg_catalog.pg_trigger g
WHERE g.tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(${literal(info.relation)}) AND g.tgname OPERATOR(pg_catalog.=) '~lockstep_stamp' AND g.tgenabled OPERATOR(pg_catalog.=) ANY ('{O,A}'::pg_catalog."char"[])`;
}

/** The statement of one write, and one row for what is there: without a version where it was not written. */
function writeSql(
  sql: TableSql,
  columns: readonly TableColumn[],
  write: string,
  version = `w."${OUT.version}"`,
): string {
  const properties = sql.info.columns.map(({ property }) => `w.${identifier(property)}`);
  const shown = [
    `r."#n" AS "${OUT.number}"`,
    `w."${OUT.key}"`,
    `${version} AS "${OUT.version}"`,
    ...properties,
  ];
  return `${sql.withRecords(columns, true)}, w AS (${write} RETURNING ${columnsOf(sql, THIS_TRANSACTION)})
SELECT ${shown.join(', ')} FROM r LEFT JOIN w ON true WHERE w."${OUT.key}" IS NOT NULL OR EXISTS (SELECT FROM ${sql.table} t WHERE ${sql.sameKey()})`;
}

const isUnchanged = `("r"."#i" IS NULL OR ${equal(WRITTEN_BY, '"r"."#i"')})`;

export function putSql(sql: TableSql, { columns }: Shape, isFlush = false): string {
  const key = sql.info.keyColumns.map(({ column }) => identifier(column));
  const sets = sql.info.columns
    .filter((column) => sql.settable(column))
    .map(({ name }) => `${identifier(name)} = EXCLUDED.${identifier(name)}`);
  // A row is returned only where it is written.
  const update = sets.length > 0 ? sets : key.map((name) => `${name} = EXCLUDED.${name}`);
  const write = `${sql.insertPlainInto(columns)} SELECT ${sql.inputs(columns)} FROM r
ON CONFLICT (${sql.key}) DO UPDATE SET ${update.join(', ')}`;
  return writeSql(sql, columns, write, isFlush ? 'r."#x"' : undefined);
}

/** `drawn`: the key comes from the store itself, for a new row. */
export function insertSql(sql: TableSql, { columns }: Shape, drawn: boolean): string {
  const rows = `SELECT ${sql.inputs(columns, drawn)} FROM r`;
  const write = `${sql.insertPlainInto(columns)} ${rows} ON CONFLICT (${sql.key}) DO NOTHING`;
  return writeSql(sql, columns, write);
}

function updateSql(
  sql: TableSql,
  columns: readonly TableColumn[],
  sets: readonly string[],
  where: string,
): string {
  // A row is written even where nothing is set, as by a patch of nothing.
  const key = sql.info.keyColumns.map(({ column }) => `${identifier(column)} = t.${identifier(column)}`);
  const write = `UPDATE ${sql.table} t SET ${(sets.length > 0 ? sets : key).join(', ')} FROM r WHERE ${sql.sameKey()} AND ${where}`;
  return writeSql(sql, columns, write);
}

export function replaceSql(sql: TableSql, { columns }: Shape): string {
  const given = columns.flatMap((column, index) =>
    column.identityAlways ? [] : [`${identifier(column.name)} = r."c${index}"`],
  );
  const defaults = sql.info.columns
    .filter((column) => sql.settable(column) && !columns.includes(column))
    .map(({ name }) => `${identifier(name)} = DEFAULT`);
  return updateSql(sql, columns, [...given, ...defaults], isUnchanged);
}

export function patchSql(sql: TableSql, { columns, unset = [] }: Shape): string {
  const sets = [
    ...assignments(columns, (index) => `r."c${index}"`),
    ...unset.map(({ name }) => `${identifier(name)} = DEFAULT`),
  ];
  return updateSql(sql, columns, sets, isUnchanged);
}

export function incrementSql(sql: TableSql, column: TableColumn): string {
  const name = identifier(column.name);
  const sum = operator(`t.${name}`, '+', `r."#b"::pg_catalog.text::${column.sqlType}`, column.operators);
  return updateSql(sql, [], [`${name} = ${sum}`], `t.${name} IS NOT NULL`);
}

export function deleteSql(sql: TableSql): string {
  return writeSql(sql, [], `DELETE FROM ${sql.table} t USING r WHERE ${sql.sameKey()} AND ${isUnchanged}`);
}

/** Of a buffered delete: done, whether there was a row or not. */
export function flushDeleteSql(sql: TableSql): string {
  return `${sql.withRecords([], true)}, w AS (DELETE FROM ${sql.table} t USING r WHERE ${sql.sameKey()})
SELECT r."#n" AS "${OUT.number}", true AS "${OUT.done}" FROM r`;
}
