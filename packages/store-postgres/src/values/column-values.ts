import type { TableColumn } from '../sql/catalog.js';

/** pg's parser of a type. */
export type Parse = (text: string) => unknown;

/**
 * The kind of value that pg makes of a column's text where nobody has set a parser:
 * `text`: something else than the text in ways that depend on the process, or that a serializer may not carry.
 */
export type ValueKind = 'string' | 'number' | 'boolean' | 'json' | 'bytes' | 'text';

const NUMBERS = new Set(['int2', 'int4', 'oid', 'float4', 'float8']);
const TEXTS = new Set(['date', 'timestamp', 'timestamptz', 'interval', 'point', 'circle']);

export function valueKind({ array, typeId }: TableColumn): ValueKind {
  const [, name = ''] = /^pg_catalog\.(.*)$/.exec(typeId) ?? [];
  if (array || TEXTS.has(name)) return 'text';
  if (NUMBERS.has(name)) return 'number';
  switch (name) {
    case 'bool':
      return 'boolean';
    case 'bytea':
      return 'bytes';
    case 'json':
    case 'jsonb':
      return 'json';
    default:
      return 'string';
  }
}

/** Texts that tell pg's own parser from others. */
const PROBES: Readonly<Record<Exclude<ValueKind, 'text'>, readonly (readonly [string, unknown])[]>> = {
  string: [
    ['9007199254740993', '9007199254740993'],
    ['1.10', '1.10'],
    ['aB ', 'aB '],
  ],
  number: [['7', 7]],
  boolean: [
    ['t', true],
    ['f', false],
  ],
  json: [['[12345678901234567891,{"a":null}]', '[12345678901234567000,{"a":null}]']],
  bytes: [['\\x00ff', '\\x00ff']],
};

/** True when the process parses the column as pg does by itself. */
export function isUsual(kind: ValueKind, parse: Parse): boolean {
  if (kind === 'text') return true;
  try {
    return PROBES[kind].every(([text, expected]) => shown(kind, parse(text)) === expected);
  } catch {
    return false;
  }
}

function shown(kind: ValueKind, value: unknown): unknown {
  if (kind === 'json') return JSON.stringify(value);
  return kind === 'bytes' && Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value;
}

/** True when the value travels as it is: every serializer gives it back, and every process's pg would have made it. */
export function isExact(kind: ValueKind, value: unknown): boolean {
  if (value === null) return true;
  switch (kind) {
    case 'string':
      return typeof value === 'string';
    case 'number':
      return isPlainNumber(value);
    case 'boolean':
      return typeof value === 'boolean';
    case 'json':
      return isPlainJson(value);
    case 'bytes':
      return Buffer.isBuffer(value);
    case 'text':
      return false;
  }
}

export function isPlainNumber(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0);
}

/** Deeper JSON travels as its text. */
const MAX_DEPTH = 50;

function isPlainJson(value: unknown, depth = 0): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value !== 'object') return isPlainNumber(value);
  if (depth > MAX_DEPTH) return false;
  if (Array.isArray(value)) {
    // A function for each list would be a good part of what a put allocates.
    for (let i = 0; i < value.length; i++) if (!isPlainJson(value[i], depth + 1)) return false;
    return true;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const name in value) {
    if (name === '__proto__' || name.startsWith('~')) return false;
    if (!isPlainJson((value as Record<string, unknown>)[name], depth + 1)) return false;
  }
  return true;
}
