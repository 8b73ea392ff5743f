import { SerializationError, StoreRefusedError } from '@lockstep/core';
import type { TableColumn } from '../sql/catalog.js';

/**
 * A value as JSON for `json_to_recordset`, by its column's type. `null` is SQL's NULL, for JSON
 * columns too. Dates travel as local wall time to columns without a time zone, as pg itself writes them, and as
 * moments to all others.
 */
export function toJson(value: unknown, column: TableColumn): unknown {
  if (value === null) return null;
  if (column.array && Array.isArray(value)) return value.map((item) => toJson(item, column));
  if (column.kind === 'json') return jsonValue(value, column);
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw refused(column, 'text must be well-formed Unicode');
      return value;
    case 'number':
      // A float's minus zero; JSON's number would lose it.
      if (Object.is(value, -0)) return '-0';
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'bigint':
      return String(value);
    case 'object':
      if (value instanceof Date) return dateText(value, column);
      if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
      return hasToPostgres(value) ? String(value.toPostgres()) : value;
    default:
      throw refused(column, `a ${typeof value} can't be stored`);
  }
}

/** A value as the text of a parameter; only for columns that are not arrays or composite. */
export function toText(value: unknown, column: TableColumn): string | null {
  if (value === null) return null;
  const json = toJson(value, column);
  if (column.kind !== 'json' && typeof json !== 'object') return String(json);
  // An object may turn itself into nothing.
  return stringify(json, `column "${column.name}"`) ?? null;
}

/** Throws for what the column's type can't hold, which the server would say. */
export function checkCell(value: unknown, column: TableColumn): void {
  const cell = toJson(value, column);
  const text =
    typeof cell === 'string' ? cell : cell === null ? '' : (stringify(cell, `column "${column.name}"`) ?? '');
  if (
    typeof cell === 'string' ? text.includes('\0') : column.typeId !== JSON_AS_TEXT && UNHOLDABLE.test(text)
  ) {
    throw refused(column, 'text must be well-formed Unicode, without U+0000');
  }
  const bits = INTEGER_BITS.get(column.typeId);
  if (bits === undefined || (typeof value !== 'number' && typeof value !== 'bigint')) return;
  const whole = typeof value === 'bigint' || Number.isInteger(value);
  if (!whole || BigInt.asIntN(bits, BigInt(value)) !== BigInt(value)) {
    throw refused(column, `${value} is no integer of ${bits} bits`);
  }
}

/** The only type that keeps what it can't decode. */
const JSON_AS_TEXT = 'pg_catalog.json';
/** Half of a pair, or U+0000, as `JSON.stringify` writes it. */
const UNHOLDABLE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][\da-f]{2})/;
const INTEGER_BITS = new Map([
  ['pg_catalog.int2', 16],
  ['pg_catalog.int4', 32],
  ['pg_catalog.int8', 64],
]);

function jsonValue(value: unknown, column: TableColumn): unknown {
  if (typeof value === 'function' || typeof value === 'symbol')
    throw refused(column, `a ${typeof value} is not JSON`);
  return value;
}

/** Throws `SerializationError` for what JSON can't carry. */
export function stringify(value: unknown, what: string): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new SerializationError(`${what}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function hasToPostgres(value: object): value is { toPostgres(): unknown } {
  return 'toPostgres' in value && typeof value.toPostgres === 'function';
}

function refused(column: TableColumn, problem: string): StoreRefusedError {
  return new StoreRefusedError(`column "${column.name}": ${problem}`);
}

function dateText(date: Date, column: TableColumn): string {
  if (Number.isNaN(date.getTime())) throw refused(column, 'an invalid Date');
  const local = wallTimeText(date, column);
  if (local !== undefined) return local;
  if (column.kind !== 'timestamp') return date.toISOString();
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  return dated(year, month, day, ` ${date.toISOString().slice(-13, -1)}+00`);
}

/** The caller's local time, for columns of types without a time zone; `undefined` for all others. */
export function wallTimeText(date: Date, { typeId }: TableColumn): string | undefined {
  const isDate = typeId === 'pg_catalog.date' || typeId === 'pg_catalog._date';
  if (!isDate && typeId !== 'pg_catalog.timestamp' && typeId !== 'pg_catalog._timestamp') return undefined;
  if (Number.isNaN(date.getTime())) return undefined;
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => padded(part)).join(':');
  const clock = isDate ? '' : ` ${time}.${padded(date.getMilliseconds(), 3)}`;
  return dated(date.getFullYear(), date.getMonth(), date.getDate(), clock);
}

const padded = (part: number, width = 2): string => String(part).padStart(width, '0');

/** Postgres counts the years before the first as BC, from one on. */
function dated(year: number, month: number, day: number, clock: string): string {
  const date = `${padded(year < 1 ? 1 - year : year, 4)}-${padded(month + 1)}-${padded(day)}`;
  return `${date}${clock}${year < 1 ? ' BC' : ''}`;
}
