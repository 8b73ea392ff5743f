import { createHash } from 'node:crypto';
import { type DeclaredSets, InvalidOptionError } from '@lockstep/core';
import { MAX_DECLARED_BYTES } from '@lockstep/core/kit';
import type { KeyColumn } from '../keys/codec.js';
import type { DeclaredColumns, TableInfo } from './catalog.js';
import { atMost, operator } from './operators.js';
import { identifier, literal } from './quote.js';

/** Types of which a driver's value may tell less than the column holds: a row would not be known by it. */
const INEXACT = new Set(['pg_catalog.date', 'pg_catalog.timestamptz']);

/** The most columns that all sets of a table have: each change is recorded with the texts of all of them. */
const MAX_COLUMNS = 32;

/**
 * The table with declared sets, of columns. Throws `InvalidOptionError` naming the set that can't be: an unknown or
 * generated column, values without one text.
 */
export function withDeclared(info: TableInfo, { tags = [], unique = [] }: DeclaredSets): TableInfo {
  const columns = new Map<string, KeyColumn>();
  for (const set of tags) for (const name of set) columns.set(name, columnOf(info, 'tags', name));
  for (const set of unique) for (const name of set) columns.set(name, columnOf(info, 'unique', name));
  if (columns.size > MAX_COLUMNS) {
    throw new InvalidOptionError('tags', `${info.source}: sets of more than ${MAX_COLUMNS} columns in all`);
  }
  const sorted = [...columns.values()].sort((a, b) => (a.column < b.column ? -1 : 1));
  return { ...info, declared: { unique, tags, columns: sorted } };
}

function columnOf(info: TableInfo, option: 'unique' | 'tags', name: string): KeyColumn {
  const { source } = info;
  const column = info.columns.find((each) => each.name === name);
  if (column === undefined) throw new InvalidOptionError(option, `${source} has no column "${name}"`);
  const { property, sqlType, textType: type, typeId, writable } = column;
  const refuse = (problem: string): never => {
    throw new InvalidOptionError(option, `column "${name}" of ${source} is ${sqlType}: ${problem}`);
  };
  if (!writable)
    return refuse('it is generated, so that triggers see no value of it before the row is written');
  if (typeof type === 'string') return refuse(type);
  if (typeId === 'pg_catalog.bpchar')
    return refuse('it compares without blanks at the end: use text or varchar');
  if (option === 'unique' && INEXACT.has(typeId)) {
    return refuse('a row in JavaScript may hold less of it than the column does');
  }
  return { column: name, property, type };
}

/** True of the same columns in any order. */
export function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((each) => other.includes(each));
}

/** Throws `InvalidOptionError` for a set without a unique index on exactly these columns. */
export function checkUnique({ source, uniques }: TableInfo, sets: DeclaredSets['unique'] = []): void {
  const set = sets.find((each) => !uniques.some((index) => isSameSet(index, each)));
  if (set === undefined) return;
  throw new InvalidOptionError(
    'unique',
    `${source} has no unique index on exactly (${set.join(', ')}) that is not partial, not deferrable, and of columns alone`,
  );
}

/** The text of a column's value, in SQL: as `declaredText` makes it. */
function textSql({ column, type }: KeyColumn, row: string): string {
  const text = type.toTextSql(`${row}.${identifier(column)}`);
  const bytes = `pg_catalog.convert_to(${text}, 'UTF8')`;
  const short = atMost(`pg_catalog.octet_length(${bytes})`, String(MAX_DECLARED_BYTES));
  const hash = `pg_catalog.encode(pg_catalog.sha256(${bytes}), 'hex')`;
  return `(CASE WHEN ${short} THEN ${operator("'='", '||', text)} ELSE ${operator("'#'", '||', hash)} END)`;
}

/** The texts of a row's declared columns as a JSON object; NULL where none are declared. */
export function textsSql({ columns }: DeclaredColumns, row: string): string {
  if (columns.length === 0) return 'NULL::pg_catalog.jsonb';
  const parts = columns.map(
    (column) => `${literal(column.column)}::pg_catalog.text, ${textSql(column, row)}`,
  );
  return `pg_catalog.jsonb_build_object(${parts.join(', ')})`;
}

/** Tells declared columns, and how their texts are made, from others; empty where none are declared. */
function declaredMark({ declared }: TableInfo): string {
  if (declared.columns.length === 0) return '';
  return ` ${createHash('sha256').update(textsSql(declared, 't')).digest('hex').slice(0, 16)}`;
}

/**
 * How statements that stamp and record rows of a table name it to its triggers: with the columns that they record the
 * texts of. Those of a process that knows of others leave all to the triggers.
 */
export const stampedAs = (info: TableInfo): string => info.source + declaredMark(info);

/** True where statements may record the texts of declared columns themselves: they see what these held, as the triggers do. */
export function recordsTexts(info: TableInfo): boolean {
  return info.returnsOld && info.markedFor === declaredMark(info);
}
