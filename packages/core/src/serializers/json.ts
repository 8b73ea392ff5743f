import type { Serializer } from '../contracts/serializer.js';

/**
 * JSON, made safe: what comes out of the cache is what came from the store.
 *
 * - plain objects, arrays, strings, numbers that JSON has, booleans and `null` are plain JSON
 * - `undefined` properties are dropped, as JSON does
 * - `Date`, `bigint`, bytes (`Uint8Array`, `Buffer`), `NaN`, infinities and minus zero survive, by a tagged form that
 *   only payloads with such values pay for; bytes come back as `Buffer`
 * - anything else (functions, symbols, `Map`, class instances, cycles) throws a `TypeError` that
 *   names its path, rather than coming back as something else
 */
export function jsonSerializer(): Serializer {
  return JSON_SERIALIZER;
}

const TAGGED = '~';
const MAX_DEPTH = 100;
/** The characters that values are taken to add to a JSON text: `SHORT` for numbers, booleans and `null`. */
const SHORT = 5;
const DATE = 33;
const BIGINT = 25;
const EMPTY_BYTES = 9;
const ODD_NUMBER = 8;

const JSON_SERIALIZER: Serializer = {
  name: 'json',
  encoding: 'utf8',
  measure: (value) => walked(value).length,
  serialize: (value) => (walked(value).plain ? JSON.stringify(value) : TAGGED + JSON.stringify(tag(value))),
  deserialize(payload) {
    const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8');
    return text.startsWith(TAGGED) ? untag(JSON.parse(text.slice(1))) : JSON.parse(text);
  },
};

/** The findings of a walk through a value. */
class Walk {
  /** JSON carries the value as it is; else it needs tags. */
  plain = true;
  /** About that of the JSON. */
  length = 0;
}

/** A value that can't be carried. On its way out of the walk it gathers where it is. */
class Uncarried {
  readonly what: string;
  /** One name or index for each level, outermost first. */
  readonly path: (string | number)[] = [];

  constructor(what: string) {
    this.what = what;
  }

  within(part: string | number): this {
    this.path.unshift(part);
    return this;
  }

  toError(): TypeError {
    const where = this.path
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
      .join('')
      .replace(/^\./, '');
    return new TypeError(
      `${where === '' ? 'the value' : where} is ${this.what}, which JSON can't carry; use another serializer`,
    );
  }
}

/** Throws for what can't be carried. */
function walked(value: unknown): Walk {
  const walk = new Walk();
  try {
    if (value === undefined) throw new Uncarried('undefined');
    visit(value, walk, 0);
  } catch (error) {
    throw error instanceof Uncarried ? error.toError() : error;
  }
  return walk;
}

function visit(value: unknown, walk: Walk, depth: number): void {
  switch (typeof value) {
    case 'string':
      walk.length += value.length + 2;
      return;
    case 'number':
      walk.length += SHORT;
      if (isOddNumber(value)) {
        walk.plain = false;
        walk.length += ODD_NUMBER;
      }
      return;
    case 'boolean':
      walk.length += SHORT;
      return;
    case 'bigint':
      walk.plain = false;
      walk.length += BIGINT;
      return;
    case 'undefined':
      return;
    case 'object':
      if (value === null) walk.length += SHORT;
      else visitObject(value, walk, depth);
      return;
    default:
      throw new Uncarried(typeof value);
  }
}

/** JSON has no such number, or loses its sign. */
function isOddNumber(value: number): boolean {
  return !Number.isFinite(value) || Object.is(value, -0);
}

function visitObject(value: object, walk: Walk, depth: number): void {
  if (depth > MAX_DEPTH) throw new Uncarried(`more than ${MAX_DEPTH} levels (a cycle?)`);
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Uncarried('an invalid Date');
    walk.plain = false;
    walk.length += DATE;
  } else if (value instanceof Uint8Array) {
    walk.plain = false;
    walk.length += Math.ceil(value.length / 3) * 4 + EMPTY_BYTES;
  } else if (Array.isArray(value)) {
    visitItems(value, walk, depth);
  } else {
    visitMembers(value, walk, depth);
  }
}

function visitItems(items: readonly unknown[], walk: Walk, depth: number): void {
  let at = 0;
  try {
    for (; at < items.length; at++) {
      if (items[at] === undefined) throw new Uncarried('undefined in an array');
      walk.length += 1;
      visit(items[at], walk, depth + 1);
    }
  } catch (error) {
    throw error instanceof Uncarried ? error.within(at) : error;
  }
}

function visitMembers(value: object, walk: Walk, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new Uncarried(`an instance of ${value.constructor?.name ?? 'a class'}`);
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    throw new Uncarried('an object with toJSON');
  }
  let at = '';
  try {
    for (at in value) {
      if (at.startsWith(TAGGED)) walk.plain = false;
      walk.length += at.length + 4;
      visit((value as Record<string, unknown>)[at], walk, depth + 1);
    }
  } catch (error) {
    throw error instanceof Uncarried ? error.within(at) : error;
  }
}

function tag(value: unknown): unknown {
  if (typeof value === 'bigint') return { '~n': value.toString() };
  if (typeof value === 'number' && isOddNumber(value)) {
    return { '~f': Object.is(value, -0) ? '-0' : String(value) };
  }
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
    if (name === '~f') return Number(member);
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
