import { NO_VERSION, type StoreRow, type Version } from '@lockstep/core';
import type { Collection, Document } from 'mongodb';
import { type Binding, keyFilter, keyOfDocument, keysFilter, toRow } from './binding.js';
import { type Call, statementOptions } from './call.js';
import { fromStored, restampPipeline } from './stamp.js';

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
  const rows = new Map(documents.map((document) => [document, toRow<Value>(binding, document)] as const));
  const byKey = new Map([...rows.values()].map((row) => [row.key, row]));
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

/** Gives versions to rows that still have none, above their tombstones, and reads them where writes go. */
async function stampRows<Value>(
  binding: Binding,
  keys: readonly string[],
  call: Call,
): Promise<Map<string, StoreRow<Value>>> {
  const { primary, tombstones, versionField } = binding;
  const floors = await tombstones.versions(binding.source, keys, call);
  await primary.bulkWrite(
    keys.map((key, at) => ({
      updateOne: {
        filter: { ...keyFilter(binding, key), [versionField]: unstampedFilter },
        update: restampPipeline(versionField, floors[at] ?? NO_VERSION),
      },
    })),
    { ...statementOptions(call), ordered: call.session !== undefined },
  );
  const rows = await findRows<Value>(binding, primary, keys, call);
  return new Map(
    rows.flatMap((row) => (row === undefined || row.version === NO_VERSION ? [] : [[row.key, row]])),
  );
}

/** Matches a version field that holds no version: absent, or somebody's garbage. */
export const unstampedFilter: Document = { $not: { $type: 'number', $gt: 0 } };

/** The version of a row where writes go; `undefined` when there is no row. */
export async function versionOf(binding: Binding, key: string, call: Call): Promise<Version | undefined> {
  const { primary, versionField, keyField } = binding;
  const found = await primary.findOne(keyFilter(binding, key), {
    ...statementOptions(call),
    projection: { _id: 0, [keyField]: 1, [versionField]: 1 },
    ...(call.session === undefined ? { readConcern: { level: 'local' } } : {}),
  });
  return found === null ? undefined : fromStored(found[versionField]);
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
    found.map((document) => [keyOfDocument(binding, document), fromStored(document[versionField])]),
  );
}
