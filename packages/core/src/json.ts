import type { Serializer } from './contracts/store.js';

/**
 * JSON, made safe: what comes out of the cache is what came from the store.
 *
 * - plain objects, arrays, strings, finite numbers, booleans and `null` are plain JSON
 * - `undefined` properties are dropped, as JSON does
 * - `Date`, `bigint` and bytes (`Uint8Array`, `Buffer`) survive, by a tagged form that only payloads
 *   with such values pay for; bytes come back as `Buffer`
 * - anything else (functions, symbols, `NaN`, `Map`, class instances, cycles) throws a `TypeError` that
 *   names its path, rather than coming back as something else
 */
export function jsonSerializer(): Serializer {
  return JSON_SERIALIZER;
}

const TAGGED = '~';
const MAX_DEPTH = 100;

const JSON_SERIALIZER: Serializer = {
  name: 'json',
  encoding: 'utf8',
  serialize(value) {
    const plain = isPlain(value, [], 0);
    return plain ? JSON.stringify(value) : TAGGED + JSON.stringify(tag(value));
  },
  deserialize(payload) {
    const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8');
    return text.startsWith(TAGGED) ? untag(JSON.parse(text.slice(1))) : JSON.parse(text);
  },
};

/** Where a value is: one name or index for each level, made into text only for an error. */
type Path = (string | number)[];

/** True when JSON carries the value as it is; false when it needs tags. Throws for what can't be carried. */
function isPlain(value: unknown, path: Path, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      if (Number.isFinite(value)) return true;
      throw unserializable(path, depth, String(value));
    case 'bigint':
      return false;
    case 'undefined':
      if (depth > 0) return true;
      throw unserializable(path, depth, 'undefined');
    case 'object':
      return value === null || isPlainObject(value, path, depth);
    default:
      throw unserializable(path, depth, typeof value);
  }
}

function isPlainObject(value: object, path: Path, depth: number): boolean {
  if (depth > MAX_DEPTH) throw unserializable(path, depth, `more than ${MAX_DEPTH} levels (a cycle?)`);
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw unserializable(path, depth, 'an invalid Date');
    return false;
  }
  if (value instanceof Uint8Array) return false;
  let plain = true;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      path[depth] = i;
      if (value[i] === undefined) throw unserializable(path, depth + 1, 'undefined in an array');
      plain = isPlain(value[i], path, depth + 1) && plain;
    }
    return plain;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw unserializable(path, depth, `an instance of ${value.constructor?.name ?? 'a class'}`);
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function')
    throw unserializable(path, depth, 'an object with toJSON');
  for (const name in value) {
    if (name.startsWith(TAGGED)) plain = false;
    path[depth] = name;
    plain = isPlain((value as Record<string, unknown>)[name], path, depth + 1) && plain;
  }
  return plain;
}

function unserializable(path: Path, depth: number, what: string): TypeError {
  const where = path
    .slice(0, depth)
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
  return new TypeError(
    `${where === '' ? 'the value' : where} is ${what}, which JSON can't carry; use another serializer`,
  );
}

function tag(value: unknown): unknown {
  if (typeof value === 'bigint') return { '~n': value.toString() };
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return { '~d': value.toISOString() };
  if (value instanceof Uint8Array) return { '~b': Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(tag);
  const tagged: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    define(tagged, name.startsWith(TAGGED) ? TAGGED + name : name, tag(member));
  }
  return tagged;
}

function untag(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(untag);
  const plain: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value)) {
    if (name === '~d') return new Date(String(member));
    if (name === '~n') return BigInt(String(member));
    if (name === '~b') return Buffer.from(String(member), 'base64');
    define(plain, name.startsWith(TAGGED) ? name.slice(1) : name, untag(member));
  }
  return plain;
}

/** Sets an own property even where the name is `__proto__`. */
function define(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    target[name] = value;
  }
}
