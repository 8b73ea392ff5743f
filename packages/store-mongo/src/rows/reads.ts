import { NO_VERSION, type StoreRow, type Version } from '@lockstep/core';
import type { Collection, Document } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import { bulk } from '../write/bulk.js';
import { type Binding, keyFilter, keyOfDocument, keysFilter, toRow } from './binding.js';
import { restampPipeline } from './stamp.js';

/** The rows of some keys, in the keys' order. A row that nobody has stamped yet has version `0`. */
export async function findRows<Value>(
  binding: Binding,
  collection: Collection,
  keys: readonly string[],
  call: Call,
): Promise<(StoreRow<Value> | undefined)[]> {
  if (keys.length === 0) return [];
  const documents = await collection
    .find(keysFilter(binding, keys), {
      ...statementOptions(call),
      batchSize: Math.min(keys.length + 1, 100_000),
    })
    .toArray();
  if (keys.length === 1) {
    const [document] = documents;
    return [document === undefined ? undefined : toRow(binding, document)];
  }
  const byKey = new Map<string, StoreRow<Value>>();
  for (const document of documents) {
    const row = toRow<Value>(binding, document);
    byKey.set(row.key, row);
  }
  return keys.map((key) => byKey.get(key));
}

/** As `findRows`, and gives a version to rows that have none: another program wrote them, and no one adopted them yet. */
export async function readRows<Value>(
  binding: Binding,
  collection: Collection,
  keys: readonly string[],
  call: Call,
): Promise<(StoreRow<Value> | undefined)[]> {
  const rows = await findRows<Value>(binding, collection, keys, call);
  const unstamped = rows
    .filter((row) => row !== undefined && row.version === NO_VERSION)
    .map((row) => row?.key ?? '');
  if (unstamped.length === 0) return rows;
  const stamped = await stampRows<Value>(binding, unstamped, call);
  return rows.map((row) => (row?.version === NO_VERSION ? stamped.get(row.key) : row));
}

/**
 * Gives versions to rows that still have none, above their tombstones, and reads them where writes go. What stands
 * in the field instead may be anything, so it is compared as it was read. A row that refuses to be stamped (a
 * validator) has no version, which concerns its own readers only.
 */
async function stampRows<Value>(
  binding: Binding,
  keys: readonly string[],
  call: Call,
): Promise<Map<string, StoreRow<Value>>> {
  const { keyField, primary, tombstones, versionField } = binding;
  const floors = await tombstones.versions(binding.source, keys, call);
  const floorByKey = new Map(keys.map((key, at) => [key, floors[at] ?? NO_VERSION]));
  const found = await primary
    .find(keysFilter(binding, keys), {
      ...statementOptions(call),
      projection: { _id: 0, [keyField]: 1, [versionField]: 1 },
      ...(call.session === undefined ? { readConcern: { level: 'local' } } : {}),
    })
    .toArray();
  const operations = found.map((document) => {
    const stored: unknown = document[versionField];
    // Somebody has stamped it since: a write that changes nothing waits until a majority has that, which is what is read.
    const isStamped = binding.clock.versionOf(stored) !== NO_VERSION;
    const key = keyOfDocument(binding, document);
    const filter = {
      ...keyFilter(binding, key),
      [versionField]: { $eq: isStamped ? null : (stored ?? null) },
    } as Document;
    const update = restampPipeline(versionField, floorByKey.get(key) ?? NO_VERSION);
    return { updateOne: { filter, update } };
  });
  if (operations.length > 0) await bulk(binding, operations, call);
  const rows = await findRows<Value>(binding, primary, keys, call);
  return new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.key, row]])));
}

/** The version of a row where writes go; `undefined` when there is no row. */
export async function versionOf(binding: Binding, key: string, call: Call): Promise<Version | undefined> {
  const { primary, versionField, keyField } = binding;
  const found = await primary.findOne(keyFilter(binding, key), {
    ...statementOptions(call),
    projection: { _id: 0, [keyField]: 1, [versionField]: 1 },
    ...(call.session === undefined ? { readConcern: { level: 'local' } } : {}),
  });
  return found === null ? undefined : binding.clock.versionOf(found[versionField]);
}

/** The versions of rows where writes go, by key. */
export async function versionsOf(
  binding: Binding,
  keys: readonly string[],
  call: Call,
): Promise<ReadonlyMap<string, Version>> {
  const { primary, versionField, keyField } = binding;
  const found = await primary
    .find(keysFilter(binding, keys), {
      ...statementOptions(call),
      projection: { _id: 0, [keyField]: 1, [versionField]: 1 },
      batchSize: Math.min(keys.length + 1, 100_000),
    })
    .toArray();
  return new Map(
    found.map((document) => [
      keyOfDocument(binding, document),
      binding.clock.versionOf(document[versionField]),
    ]),
  );
}
