import { NO_VERSION, type StoreFlush, type StoreOutcome } from '@lockstep/core';
import { type Binding, type Call, inTime, keyFilter, statementOptions, toDocument } from './binding.js';
import { bulk } from './bulk.js';
import { toStoreError } from './errors.js';
import { findRows, versionOf } from './reads.js';
import { replacePipeline, toStored } from './stamp.js';

/** A flush with the value that it is to store. */
export type FlushOfValue<Value> = StoreFlush<Value> & { readonly value: Value };

/** What became of flushes onto rows that exist; `undefined` for a key without a row. */
export type FlushedRow<Value> = StoreOutcome<Value> | undefined;

/**
 * Writes buffered values onto existing rows, each with the very version that the buffer gave it and
 * only where the row's is lower: one document, one statement, the fence in its filter. Where there is
 * no row a tombstone may stand, and that needs a transaction: those keys are left out.
 */
export async function flushOntoRows<Value>(
  binding: Binding,
  commands: readonly FlushOfValue<Value>[],
  call: Call,
): Promise<FlushedRow<Value>[]> {
  const { versionField } = binding;
  const operations = commands.map(({ key, value, version }) => ({
    updateOne: {
      filter: { ...keyFilter(binding, key), [versionField]: { $not: { $gte: toStored(version) } } },
      update: replacePipeline(
        versionField,
        toDocument(binding, key, value),
        inTime(binding, toStored(version), call),
      ),
    },
  }));
  const { errors, matched } = await bulk(binding, operations, call);
  const rows = await findRows<Value>(
    binding,
    binding.primary,
    commands.map(({ key }) => key),
    call,
  );
  return commands.map(({ key, version }, at): FlushedRow<Value> => {
    const error = errors.get(at);
    if (error !== undefined) {
      return { kind: 'failed', error: toStoreError(error, `${binding.name}: flush`, { key }) };
    }
    const row = rows[at];
    if (row === undefined) return undefined;
    // Its own version is there: just written, or by an earlier sending of the same flush.
    if (row.version === version && matched > 0) return { kind: 'written', value: row.value, version };
    return { kind: 'superseded', version: row.version };
  });
}

/**
 * One flush in the transaction of `call`, for what touches tombstones: buffered deletes, and values for
 * which there is no row. Row and tombstone are read in one snapshot, and both stay what they were until
 * the commit, or the transaction conflicts and runs again.
 */
export async function flushWithTombstone<Value>(
  binding: Binding,
  command: StoreFlush<Value>,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { key, value, version } = command;
  const { primary, versionField, source, tombstones } = binding;
  const [tombstone = NO_VERSION] = await tombstones.versions(source, [key], call);
  const known = Math.max(tombstone, (await versionOf(binding, key, call)) ?? NO_VERSION);
  if (known >= version) return { kind: 'superseded', version: known };
  if (value === null) {
    await tombstones.place(source, key, version, call);
    await primary.deleteOne(keyFilter(binding, key), statementOptions(call));
    return { kind: 'written', value: null, version };
  }
  await primary.updateOne(
    keyFilter(binding, key),
    replacePipeline(versionField, toDocument(binding, key, value), inTime(binding, toStored(version), call)),
    { ...statementOptions(call), upsert: true },
  );
  const [row] = await findRows<Value>(binding, primary, [key], call);
  return { kind: 'written', value: row?.value ?? value, version };
}
