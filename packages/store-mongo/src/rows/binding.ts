import { InvalidIdError, StoreRefusedError, type StoreRow, type Version } from '@lockstep/core';
import { type Collection, DBRef, type Document, Int32, Long, ObjectId } from 'mongodb';
import type { CallBound } from '../wire/bound.js';
import { type Call, writeMs } from '../wire/call.js';
import type { ServerClock } from '../wire/server-clock.js';
import type { DeclaredFields } from './declared.js';
import { decodeKey, encodeKey } from './key.js';
import { before, stampExpression } from './stamp.js';
import type { Tombstones } from './tombstones.js';

/** One collection as the parts of this package see it. */
export interface Binding {
  /** For messages, e.g. `mongodb:shop.users`. */
  readonly name: string;
  /** Database and collection, e.g. `shop.users`. */
  readonly source: string;
  readonly keyField: string;
  readonly versionField: string;
  /** With the read preference and concern for reads that may be behind. */
  readonly reader: Collection;
  /** The primary, which takes the writes, with a read concern that no failover can roll back. */
  readonly primary: Collection;
  readonly tombstones: Tombstones;
  readonly clock: ServerClock;
  readonly inTransaction: InTransaction;
  readonly declared: DeclaredFields;
}

/** Whether the driver gives each integer that a double can be as a number, whatever its type. */
export function givesNumbers({ primary }: Pick<Binding, 'primary'>): boolean {
  const { promoteLongs = true, promoteValues = true, useBigInt64 = false } = primary.bsonOptions;
  return promoteLongs && promoteValues && !useBigInt64;
}

/**
 * Runs statements that must commit together, in a transaction of their own, and again while it meets
 * others: for as long as the call may take, or for `patienceMs`, and then it rejects with `StoreBusyError`.
 * A standalone server has none: they run one after the other.
 */
export type InTransaction = <T>(
  bound: CallBound,
  body: (call: Call) => Promise<T>,
  patienceMs?: number,
) => Promise<T>;

/** The bound under a new version, as far as it can be believed: what a cache says is not authority. */
export function floorOf(binding: Binding, above: Version): Version {
  return binding.clock.versionOf(above);
}

/** A new version for the call's write, as long as the call lasts. */
export function stampFor(binding: Binding, above: Version, call: Call): Document {
  return inTime(binding, stampExpression(binding.versionField, floorOf(binding, above)), call) as Document;
}

/** The expression of a version, as long as the call lasts. */
export function inTime(binding: Binding, version: Document | Long, call: Call): Document | Long {
  return before(lastStart(binding, call), version);
}

/**
 * The last time at which the server begins a statement of the call. A statement goes by the clock of its start and may
 * run for its `maxTimeMS`, so one with a deadline begins that much earlier.
 */
export function lastStart({ clock }: Binding, call: Call): Date | undefined {
  const { bound, session } = call;
  const runsMs = writeMs(call);
  if (bound.notAfterMs !== undefined) return new Date(bound.notAfterMs - runsMs);
  return clock.in(session === undefined ? bound.remainingMs - runsMs : bound.remainingMs);
}

/**
 * The filter that finds the row of a key. The usual ids stand without `$eq`: MongoDB 6 looks a bare `_id` up
 * without planning a query, which is more than a third of what an update costs it. Others could be operators.
 */
export function keyFilter(binding: Binding, key: string): Document {
  const id = decodeKey(key, binding.source);
  const bare = typeof id === 'string' || id instanceof ObjectId || id instanceof Int32 || id instanceof Long;
  return { [binding.keyField]: bare ? id : { $eq: id } };
}

export function keysFilter(binding: Binding, keys: readonly string[]): Document {
  const [first] = keys;
  if (keys.length === 1 && first !== undefined) return keyFilter(binding, first);
  return { [binding.keyField]: { $in: keys.map((key) => decodeKey(key, binding.source)) } };
}

/** The row's own canonical key. */
export function keyOfDocument(binding: Binding, document: Document): string {
  return encodeKey(document[binding.keyField], binding.source);
}

/** As `keyOfDocument`; `undefined` for an id that can't be a key: Lockstep never caches such a row. */
export function keyIfAny(binding: Binding, document: Document): string | undefined {
  try {
    return keyOfDocument(binding, document);
  } catch (error) {
    if (error instanceof InvalidIdError) return undefined;
    throw error;
  }
}

/**
 * A document without its version; `version` is `0` where nobody has stamped it yet, or somebody did who can't. Takes
 * the document over. A copy without the field, not `delete`, which leaves a hash table behind: every copy of the row would
 * take six times as long. The driver reads a document with `$ref` and `$id` as a DBRef, whose fields are the others.
 */
export function toRow<Value>(binding: Binding, document: Document): StoreRow<Value> {
  const { versionField } = binding;
  const fields = document instanceof DBRef ? document.fields : document;
  const version = binding.clock.versionOf(fields[versionField]);
  const key = keyOfDocument(binding, fields);
  const { [versionField]: _version, ...rest } = fields;
  if (!(document instanceof DBRef)) return { key, value: rest as Value, version };
  document.fields = rest;
  return { key, value: document as Value, version };
}

/** Throws `StoreRefusedError` for a value that is no document. */
export function asDocument({ name }: Pick<Binding, 'name'>, value: unknown, key?: string): Document {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Document;
  const what = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  throw new StoreRefusedError(`${name}: a value must be a document, got ${what}`, { key });
}

/** The document that stores a value: with its key, without a version. Throws `StoreRefusedError`. */
export function toDocument(binding: Binding, key: string, value: unknown): Document {
  const { keyField, versionField } = binding;
  const document = asDocument(binding, value, key);
  const own: unknown = document[keyField];
  if (own === undefined) {
    const { [versionField]: _version, ...rest } = document;
    return {
      [keyField]: decodeKey(key, binding.source),
      ...rest,
      [keyField]: decodeKey(key, binding.source),
    };
  }
  if (encodeKey(own, binding.source) !== key) {
    throw new StoreRefusedError(
      `${binding.name}: the value's ${keyField} is not the id that it is stored under`,
      { key },
    );
  }
  if (!Object.hasOwn(document, versionField)) return document;
  const { [versionField]: _version, ...rest } = document;
  return rest;
}
