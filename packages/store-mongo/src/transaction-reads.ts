import { NO_VERSION, type StoreRow } from '@lockstep/core';
import { BSON, type Document } from 'mongodb';
import { type Binding, keyFilter, keyOfDocument, keysFilter, toRow } from './binding.js';
import { type Call, statementOptions } from './call.js';
import { deleteRows } from './deletes.js';
import { restampPipeline } from './stamp.js';
import type { MongoTransaction } from './transactions.js';

/**
 * Rows as a transaction sees them. The caller's own statements in it do not stamp versions and tell
 * nobody; so what differs from the committed row under an unchanged version was changed in here, and is
 * stamped and noted now. Whatever was changed outside since the snapshot makes these statements
 * conflict, and the transaction runs again.
 */
export async function readInTransaction<Value>(
  binding: Binding,
  keys: readonly string[],
  tx: MongoTransaction,
  call: Call,
): Promise<(StoreRow<Value> | undefined)[]> {
  const unsure = keys.filter((key) => !tx.recorded(binding.source, key));
  const outside =
    unsure.length === 0 ? new Map() : await documents(binding, unsure, { ...call, session: undefined });
  const inside = await documents(binding, keys, call);
  for (const key of new Set(unsure)) {
    const here = inside.get(key);
    const there = outside.get(key);
    if (here === undefined && there !== undefined) await noteDeletion(binding, key, there, tx, call);
    if (here !== undefined && isChanged(binding, here, there)) {
      const stamped = await binding.primary.findOneAndUpdate(
        keyFilter(binding, key),
        restampPipeline(binding.versionField, await floorOf(binding, key, there, call)),
        { ...statementOptions(call), returnDocument: 'after' },
      );
      if (stamped === null) continue;
      inside.set(key, stamped);
      tx.record(binding.source, key, toRow(binding, { ...stamped }).version, 'put');
    }
  }
  return keys.map((key) => {
    const document = inside.get(key);
    return document === undefined ? undefined : toRow<Value>(binding, { ...document });
  });
}

async function documents(
  binding: Binding,
  keys: readonly string[],
  call: Call,
): Promise<Map<string, Document>> {
  const found = await binding.primary.find(keysFilter(binding, keys), statementOptions(call)).toArray();
  return new Map(found.map((document) => [keyOfDocument(binding, document), document]));
}

function isChanged(binding: Binding, here: Document, there: Document | undefined): boolean {
  const version = toRow(binding, { ...here }).version;
  if (there === undefined || version === NO_VERSION) return true;
  // Another version outside: someone else has committed since the snapshot, and this is the old row.
  if (toRow(binding, { ...there }).version !== version) return false;
  return Buffer.compare(BSON.serialize(here), BSON.serialize(there)) !== 0;
}

async function floorOf(
  binding: Binding,
  key: string,
  there: Document | undefined,
  call: Call,
): Promise<number> {
  if (there !== undefined) return toRow(binding, { ...there }).version;
  const [floor = NO_VERSION] = await binding.tombstones.versions(binding.source, [key], call);
  return floor;
}

/**
 * The row is gone in here and stands outside: this transaction deleted it, or another has inserted it
 * since the snapshot. Putting it back tells which (the second conflicts); then it is deleted with a tombstone.
 */
async function noteDeletion(
  binding: Binding,
  key: string,
  there: Document,
  tx: MongoTransaction,
  call: Call,
): Promise<void> {
  await binding.primary.insertOne(there, statementOptions(call));
  const [outcome] = await deleteRows(binding, [{ kind: 'delete', key, above: NO_VERSION }], call);
  if (outcome?.kind === 'written') tx.record(binding.source, key, outcome.version, 'delete');
}
