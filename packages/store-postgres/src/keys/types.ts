import { InvalidIdError } from '@lockstep/core';

/**
 * How one key column's values become canonical text, the same in JavaScript and in the triggers'
 * SQL, whatever the session's settings (`DateStyle`, `bytea_output`, time zone).
 */
export interface KeyType {
  /** The SQL type that a parameter is cast to. */
  readonly sqlType: string;
  /** Canonical text of a column as an SQL expression. */
  readonly toTextSql: (column: string) => string;
  /** True when the text may hold `%` or `:`, which composite keys escape. */
  readonly escapes: boolean;
  /** Canonical text of a value. Throws `InvalidIdError`. */
  readonly canonical: (value: unknown) => string;
  /** The canonical text as the column's input syntax. */
  readonly toInput: (text: string) => string;
  /** An enum's, of which there may be more by now. */
  readonly labels?: readonly string[];
}

/** A key column's (base) type in the catalogue. */
export interface KeyTypeInfo {
  /** `schema.name`, e.g. `pg_catalog.int4`. */
  readonly typeId: string;
  /** Quoted for SQL. */
  readonly sqlType: string;
  /** `e` for an enum. */
  readonly typeKind: string;
  /** The type's modifier, `-1` when there is none. */
  readonly typeModifier: number;
  /** False for a nondeterministic collation. */
  readonly deterministic: boolean;
  /** An enum's labels. */
  readonly labels: readonly string[];
}

const plain = (column: string): string => `${column}::pg_catalog.text`;
const same = (text: string): string => text;

function refuse(expected: string, value: unknown): never {
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : describe(value);
  throw new InvalidIdError(`expected ${expected}, got ${shown}`);
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  // Printing a huge one takes time that grows with the square of its length.
  if (typeof value === 'bigint')
    return BigInt.asIntN(128, value) === value ? String(value) : 'a larger bigint';
  return Array.isArray(value)
    ? 'an array'
    : value instanceof Date
      ? 'a Date'
      : `a value of type ${typeof value}`;
}

function integer(sqlType: string, min: bigint, max: bigint): KeyType {
  const expected = `a whole number from ${min} to ${max}`;
  return {
    sqlType,
    toTextSql: plain,
    escapes: false,
    canonical(value) {
      if (typeof value === 'number') {
        if (!Number.isSafeInteger(value)) refuse(expected, value);
        if (value < min || value > max) refuse(expected, value);
        return value === 0 ? '0' : String(value);
      }
      if (typeof value !== 'bigint' && (typeof value !== 'string' || !/^[+-]?\d{1,1000}$/.test(value))) {
        return refuse(expected, value);
      }
      const whole =
        typeof value === 'bigint' ? value : BigInt(value.startsWith('+') ? value.slice(1) : value);
      if (whole < min || whole > max) refuse(expected, value);
      return String(whole);
    },
    toInput: same,
  };
}

function text(sqlType: string, maxLength: number | undefined, padded: boolean): KeyType {
  const expected = maxLength === undefined ? 'a string' : `a string of at most ${maxLength} characters`;
  return {
    sqlType,
    // A cast from char(n) to text drops the padding, which equality ignores.
    toTextSql: plain,
    escapes: true,
    canonical(value) {
      if (typeof value !== 'string') return refuse(expected, value);
      if (value.includes('\0') || !value.isWellFormed()) refuse('well-formed text without NUL', value);
      const stripped = padded ? withoutTrailingBlanks(value) : value;
      // Postgres cuts excess blanks off without an error: two ids would be one row.
      if (maxLength !== undefined && stripped.length > maxLength && [...stripped].length > maxLength) {
        refuse(expected, value);
      }
      return stripped;
    },
    toInput: same,
  };
}

/** By hand: a regular expression for it takes time that grows with the square of the blanks. */
function withoutTrailingBlanks(value: string): string {
  let end = value.length;
  while (end > 0 && value[end - 1] === ' ') end -= 1;
  return value.slice(0, end);
}

const HEX_32 = /^[0-9a-f]{32}$/;

const uuid: KeyType = {
  sqlType: 'pg_catalog.uuid',
  toTextSql: plain,
  escapes: false,
  canonical(value) {
    if (typeof value !== 'string') return refuse('a UUID', value);
    const bare = value.startsWith('{') && value.endsWith('}') ? value.slice(1, -1) : value;
    const hex = bare.replaceAll('-', '').toLowerCase();
    if (!HEX_32.test(hex)) refuse('a UUID', value);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
  toInput: same,
};

const boolean: KeyType = {
  sqlType: 'pg_catalog.bool',
  toTextSql: plain,
  escapes: false,
  canonical: (value) =>
    typeof value === 'boolean' || value === 'true' || value === 'false'
      ? String(value)
      : refuse('true or false', value),
  toInput: same,
};

const bytea: KeyType = {
  sqlType: 'pg_catalog.bytea',
  toTextSql: (column) => `pg_catalog.encode(${column}, 'hex')`,
  escapes: false,
  canonical(value) {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
    const hex = typeof value === 'string' ? value.replace(/^\\x/, '').toLowerCase() : '';
    if (typeof value !== 'string' || !/^(?:[0-9a-f]{2})*$/.test(hex))
      refuse('bytes or hexadecimal text', value);
    return hex;
  },
  toInput: (hex) => `\\x${hex}`,
};

function enumeration(info: KeyTypeInfo): KeyType {
  return {
    sqlType: info.sqlType,
    // A cast to text may be anybody's function: whoever owns the type may create one.
    toTextSql: (column) => `pg_catalog.enum_out(${column})::pg_catalog.text`,
    escapes: true,
    canonical: (value) =>
      typeof value === 'string' && info.labels.includes(value)
        ? value
        : refuse(`one of ${info.labels.join(', ')}`, value),
    toInput: same,
    labels: info.labels,
  };
}

/** The text of a value before or after all others, as Postgres has it; `undefined` of any other value. */
function infinite(value: unknown): string | undefined {
  if (value === 'infinity' || value === Number.POSITIVE_INFINITY) return 'infinity';
  return value === '-infinity' || value === Number.NEGATIVE_INFINITY ? '-infinity' : undefined;
}

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;

const date: KeyType = {
  sqlType: 'pg_catalog.date',
  // Beyond four digits of the year, which no id names: the days since 2000. `to_char` takes no date so far away.
  // In parentheses, since plpgsql ends a condition at the first THEN outside them.
  toTextSql: (column) => `(CASE WHEN NOT pg_catalog.isfinite(${column}) THEN ${column}::pg_catalog.text
WHEN pg_catalog.date_ge(${column}, '0001-01-01'::pg_catalog.date) AND pg_catalog.date_le(${column}, '9999-12-31'::pg_catalog.date)
THEN pg_catalog.to_char(${column}, 'YYYY-MM-DD')
ELSE pg_catalog.date_mi(${column}, '2000-01-01'::pg_catalog.date)::pg_catalog.text END)`,
  escapes: false,
  canonical(value) {
    const endless = infinite(value);
    if (endless !== undefined) return endless;
    const expected = 'a date as text, YYYY-MM-DD (a Date names an instant, not a day)';
    if (typeof value !== 'string' || !DATE.test(value)) return refuse(expected, value);
    const instant = new Date(`${value}T00:00:00Z`);
    if (Number.isNaN(instant.getTime()) || !instant.toISOString().startsWith(value)) refuse(expected, value);
    if (value.startsWith('0000')) refuse(expected, value);
    return value;
  },
  toInput: same,
};

const INSTANT = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(Z|[+-]\d{2}:\d{2})$/;

const timestamptz: KeyType = {
  sqlType: 'pg_catalog.timestamptz',
  // `to_char` has no text for the infinities, and without the era the same one for two years.
  toTextSql: (column) =>
    `coalesce(pg_catalog.replace(pg_catalog.to_char(pg_catalog.timezone('UTC', ${column}), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"AD'), 'AD', ''), ${column}::pg_catalog.text)`,
  escapes: true,
  canonical(value) {
    const endless = infinite(value);
    if (endless !== undefined) return endless;
    const expected = 'a Date, or an ISO 8601 instant with at most six decimals';
    const source = value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : value;
    const match = typeof source === 'string' ? INSTANT.exec(source) : null;
    if (match === null) return refuse(expected, value);
    const instant = new Date(`${match[1]}${match[3]}`);
    if (Number.isNaN(instant.getTime())) refuse(expected, value);
    const iso = instant.toISOString();
    if (iso.length !== 24 || iso.startsWith('0000')) refuse(expected, value);
    return `${iso.slice(0, 19)}.${(match[2] ?? '').padEnd(6, '0')}Z`;
  },
  toInput: same,
};

/** The canonical form of a key column's type, or why it has none. */
export function keyType(info: KeyTypeInfo): KeyType | string {
  if (info.typeKind === 'e') return enumeration(info);
  const length = info.typeModifier >= 4 ? info.typeModifier - 4 : undefined;
  switch (info.typeId) {
    case 'pg_catalog.int2':
      return integer(info.sqlType, -32768n, 32767n);
    case 'pg_catalog.int4':
      return integer(info.sqlType, -2147483648n, 2147483647n);
    case 'pg_catalog.int8':
      return integer(info.sqlType, -(2n ** 63n), 2n ** 63n - 1n);
    case 'pg_catalog.numeric': {
      const scale = info.typeModifier < 4 ? undefined : (info.typeModifier - 4) & 0x7ff;
      if (scale !== 0) return 'equal numbers have several texts (1.0, 1.00); only numeric(p, 0) has one form';
      const bound = 10n ** BigInt(((info.typeModifier - 4) >> 16) & 0xffff) - 1n;
      return integer(info.sqlType, -bound, bound);
    }
    case 'pg_catalog.text':
    case 'pg_catalog.varchar':
    case 'pg_catalog.bpchar':
      if (!info.deterministic) {
        return 'its collation is nondeterministic: different texts name one row, each would get a cache key of its own';
      }
      return text(info.sqlType, length, info.typeId === 'pg_catalog.bpchar');
    case 'pg_catalog.uuid':
      return uuid;
    case 'pg_catalog.bool':
      return boolean;
    case 'pg_catalog.bytea':
      return bytea;
    case 'pg_catalog.date':
      return date;
    case 'pg_catalog.timestamptz':
      return timestamptz;
    default:
      return info.typeId.endsWith('.citext')
        ? 'citext compares without case: different texts name one row, each would get a cache key of its own'
        : 'Lockstep knows no canonical text for it';
  }
}
