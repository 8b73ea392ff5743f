import { checkKey, InvalidIdError, MAX_KEY_LENGTH } from '@lockstep/core';
import {
  Binary,
  BSON,
  Code,
  Decimal128,
  type Document,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from 'mongodb';
import { canonicalNumber } from './key-numbers.js';

/**
 * Keys as text, reversibly, so that ids that MongoDB holds for equal share one text and no two others do:
 *
 * - an ObjectId: its 24 hex digits
 * - a string: itself; `~` and its JSON when it is empty, starts with `~` or looks like an ObjectId
 * - an integer of 64 bits: `~` and its decimal digits, whatever its BSON type
 * - anything else: `~` and its canonical Extended JSON
 */
const ESCAPE = '~';
const OBJECT_ID = /^[0-9a-f]{24}$/;
const INTEGER = /^~-?\d+$/;

/** The canonical key of an id. Throws `InvalidIdError`. */
export function encodeKey(id: unknown, collection: string): string {
  const text = toText(id, collection);
  checkKey(text, collection);
  return text;
}

function toText(id: unknown, collection: string): string {
  // Before anything looks at what would be refused anyway.
  if ((typeof id === 'string' || id instanceof Uint8Array) && id.length > MAX_KEY_LENGTH) {
    throw invalid(collection, `longer than ${MAX_KEY_LENGTH} characters, got ${id.length}`);
  }
  if (typeof id === 'string') {
    if (!id.isWellFormed()) throw invalid(collection, 'text that is not well-formed Unicode');
    const plain = id.length > 0 && !id.startsWith(ESCAPE) && !OBJECT_ID.test(id);
    return plain ? id : `${ESCAPE}${JSON.stringify(id)}`;
  }
  if (id instanceof ObjectId) return id.toHexString();
  if (isForeign(id)) return toText(native(id, collection), collection);
  if (Array.isArray(id)) throw invalid(collection, 'an array');
  const canonical = canonicalValue(id, collection);
  // A Timestamp is a Long to JavaScript, and not to MongoDB.
  const integer =
    canonical instanceof Int32 || (canonical instanceof Long && !(canonical instanceof Timestamp));
  if (integer) return `${ESCAPE}${canonical.toString()}`;
  return `${ESCAPE}${BSON.EJSON.stringify(canonical, { relaxed: false })}`;
}

/** The id of a canonical key, to find the row by. Throws `InvalidIdError`. */
export function decodeKey(key: string, collection: string): unknown {
  if (OBJECT_ID.test(key)) return ObjectId.createFromHexString(key);
  if (!key.startsWith(ESCAPE)) return key;
  try {
    if (INTEGER.test(key)) return canonicalNumber(BigInt(key.slice(1)));
    return BSON.EJSON.parse(key.slice(1), { relaxed: false }) as unknown;
  } catch (cause) {
    throw new InvalidIdError(`collection "${collection}": "${key.slice(0, 64)}" is not a canonical key`, {
      collection,
      key,
      cause,
    });
  }
}

/** Throws `InvalidIdError` unless the key is the one that its id has. */
export function checkCanonical(key: string, collection: string): void {
  if (encodeKey(decodeKey(key, collection), collection) === key) return;
  const message = `collection "${collection}": "${key.slice(0, 64)}" is not a canonical key`;
  throw new InvalidIdError(message, { collection, key });
}

/** The same value in the one form that its equals share. */
function canonicalValue(value: unknown, collection: string): unknown {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw invalid(collection, 'text that is not well-formed Unicode');
    return value;
  }
  if (typeof value === 'number' || typeof value === 'bigint') return number(value, collection);
  if (isForeign(value)) return canonicalValue(native(value, collection), collection);
  if (value instanceof Timestamp) return value;
  if (
    value instanceof Int32 ||
    value instanceof Double ||
    value instanceof Long ||
    value instanceof Decimal128
  ) {
    return number(value, collection);
  }
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw invalid(collection, 'an invalid Date');
    return value;
  }
  if (value instanceof Uint8Array) return new Binary(value);
  if (value instanceof ObjectId || value instanceof Binary || value instanceof Code) return value;
  if (value instanceof MinKey || value instanceof MaxKey) return value;
  if (Array.isArray(value)) return value.map((item) => canonicalValue(item, collection));
  if (typeof value === 'object' && isPlain(value)) return canonicalDocument(value, collection);
  throw invalid(collection, describe(value));
}

/** True for a BSON value of another copy of the `bson` package: an ES module's import of it is one. */
function isForeign(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || value instanceof BSON.BSONValue) return false;
  return typeof (value as { readonly _bsontype?: unknown })._bsontype === 'string';
}

/** The same value in the driver's own class. Throws `InvalidIdError` for what the driver could not send either. */
function native(value: object, collection: string): unknown {
  try {
    const bytes = BSON.serialize({ value });
    const own: unknown = BSON.deserialize(bytes, { promoteValues: false })['value'];
    if (!isForeign(own)) return own;
  } catch (cause) {
    throw new InvalidIdError(`collection "${collection}": an id is of another release of the bson package`, {
      collection,
      cause,
    });
  }
  throw invalid(collection, describe(value));
}

function number(value: Parameters<typeof canonicalNumber>[0], collection: string): unknown {
  if (typeof value === 'bigint' && (value > 2n ** 63n - 1n || value < -(2n ** 63n))) {
    throw invalid(collection, 'a bigint beyond 64 bits');
  }
  return canonicalNumber(value);
}

/** Field order is part of a document's identity; JavaScript keeps the order of all names but integers. */
function canonicalDocument(value: object, collection: string): Document {
  const entries = Object.entries(value);
  for (const [name] of entries) {
    if (name.startsWith('$')) throw invalid(collection, `a document with the field "${name}"`);
    if (entries.length > 1 && /^\d+$/.test(name)) {
      throw invalid(collection, `a document with the integer field name "${name}" beside others`);
    }
  }
  return Object.fromEntries(entries.map(([name, item]) => [name, canonicalValue(item, collection)]));
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function describe(value: unknown): string {
  return typeof value === 'object' && value !== null ? `a ${value.constructor.name}` : typeof value;
}

function invalid(collection: string, what: string): InvalidIdError {
  return new InvalidIdError(`collection "${collection}": an id can't be ${what}`, { collection });
}
