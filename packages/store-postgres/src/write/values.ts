import { SerializationError, StoreRefusedError } from '@lockstep/core';
import type { TableColumn } from '../sql/catalog.js';

/**
 * A value as JSON for `json_to_recordset`, by its column's type. `null` is SQL's NULL, for JSON
 * columns too. Dates travel as pg itself writes them: local wall time with its offset, so that
 * columns without a time zone read back as they were written.
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
  if (column.kind !== 'timestamp' && column.kind !== 'date') return date.toISOString();
  const year = date.getFullYear();
  if (year < 1) throw refused(column, 'a Date before the year 1');
  const pad = (part: number, width = 2): string => String(part).padStart(width, '0');
  const day = `${pad(year, 4)}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
  const offset = -date.getTimezoneOffset();
  const absolute = Math.abs(offset);
  return `${day}T${time}${offset < 0 ? '-' : '+'}${pad(Math.floor(absolute / 60))}:${pad(absolute % 60)}`;
}
