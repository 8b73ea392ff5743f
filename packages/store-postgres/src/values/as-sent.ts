import { isDeepStrictEqual } from 'node:util';
import type { TableColumn, TableInfo } from '../sql/catalog.js';
import type { Parse } from './column-values.js';

/**
 * Tells which values come back from the server, through this process's parsers, as they were sent: those whose text there
 * is known, and is read as what it was written from.
 */
export class AsSent {
  readonly #columns: ReadonlyMap<string, TableColumn>;
  readonly #parserOf: (oid: number) => Parse;

  constructor({ columns, keyColumns, userTriggers }: TableInfo, parserOf: (oid: number) => Parse) {
    // What others compute of a row, nobody else can foretell.
    const computed = userTriggers.before || userTriggers.after || columns.some(({ writable }) => !writable);
    const keys = new Set(keyColumns.map(({ property }) => property));
    const own = computed ? [] : columns.filter(({ property }) => !keys.has(property));
    this.#columns = new Map(own.map((column) => [column.property, column]));
    this.#parserOf = parserOf;
  }

  /** True when all of these values of a row do. Does not throw. */
  holds(set: object): boolean {
    return Object.entries(set).every(([property, value]) => {
      const column = this.#columns.get(property);
      if (column === undefined || value === null) return column !== undefined;
      try {
        const text = storedText(value, column);
        return text !== undefined && isDeepStrictEqual(this.#parserOf(column.oid)(text), value);
      } catch {
        return false;
      }
    });
  }
}

const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;
/** As the server writes it: no zeros before, no minus before nothing. */
const DECIMAL = /^(?!-[0.]*$)-?(?:0|[1-9]\d*)(?:\.(\d+))?$/;
/** How typmods of `numeric` are offset. */
const NUMERIC_OFFSET = 4;

/** The server's text of a value that it has stored; `undefined`: that is not known. */
function storedText(value: unknown, column: TableColumn): string | undefined {
  const { array, enumerated, sqlType, typeId } = column;
  // A domain, or an extension's type, may have functions of its own.
  if (array || sqlType.replaceAll('"', '') !== typeId) return undefined;
  if (enumerated) return typeof value === 'string' ? value : undefined;
  switch (typeId) {
    case 'pg_catalog.int2':
    case 'pg_catalog.int4':
    case 'pg_catalog.int8':
      return scaleOf(value) === 0 ? String(value) : undefined;
    case 'pg_catalog.float8':
      if (typeof value !== 'number') return undefined;
      return Object.is(value, -0) ? '-0' : String(value);
    case 'pg_catalog.numeric':
      return isScaled(value, modifierOf(column)) ? String(value) : undefined;
    case 'pg_catalog.bool':
      return value === true ? 't' : value === false ? 'f' : undefined;
    case 'pg_catalog.text':
      return typeof value === 'string' ? value : undefined;
    case 'pg_catalog.varchar':
      // Spaces beyond its length are cut off.
      return typeof value === 'string' && !value.endsWith(' ') ? value : undefined;
    case 'pg_catalog.uuid':
      return typeof value === 'string' && UUID.test(value) ? value : undefined;
    case 'pg_catalog.bytea':
      return Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : undefined;
    case 'pg_catalog.timestamptz':
      return value instanceof Date && (modifierOf(column) ?? 6) >= 3 ? momentText(value) : undefined;
    case 'pg_catalog.json':
      return JSON.stringify(value);
    case 'pg_catalog.jsonb':
      return isInOrder(value) ? JSON.stringify(value) : undefined;
    default:
      return undefined;
  }
}

/** `undefined`: none. */
function modifierOf({ sqlType, type }: TableColumn): number | undefined {
  const modifier = type.slice(sqlType.length + 1);
  return modifier === '' ? undefined : Number(modifier);
}

/** The decimals of a number's text; `undefined`: it is none, or another than the server would write. */
function scaleOf(value: unknown): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'bigint' && typeof value !== 'string') return undefined;
  const found = DECIMAL.exec(String(value));
  return found === null ? undefined : (found[1]?.length ?? 0);
}

function isScaled(value: unknown, modifier: number | undefined): boolean {
  const scale = scaleOf(value);
  if (scale === undefined) return false;
  return modifier === undefined || scale === ((modifier - NUMERIC_OFFSET) & 0x7ff);
}

/** Years of four digits alone: others have more to them. */
function momentText(date: Date): string | undefined {
  const text = date.toISOString();
  return text.length === 24 ? `${text.slice(0, 10)} ${text.slice(11, -1)}+00` : undefined;
}

/** True when the properties of each object are in the order in which `jsonb` keeps them: the shorter, then by bytes. */
function isInOrder(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isInOrder);
  const names = Object.keys(value).map((name) => Buffer.from(name));
  const ordered = names.every((name, at) => {
    const before = names[at - 1];
    if (before === undefined || before.length !== name.length) return (before?.length ?? 0) <= name.length;
    return Buffer.compare(before, name) < 0;
  });
  return ordered && Object.values(value).every(isInOrder);
}
