import { NO_VERSION, type StoreFlush, type StoreOutcome, type Version } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Binding, inTime, keyFilter, keysFilter, toDocument } from '../rows/binding.js';
import { findRows, versionsOf } from '../rows/reads.js';
import { replacePipeline, toStored } from '../rows/stamp.js';
import { type Call, statementOptions, writeMs } from '../wire/call.js';
import { bulk } from './bulk.js';
import { failed } from './outcomes.js';

/** A flush with the value that it is to store. */
export type FlushOfValue<Value> = StoreFlush<Value> & { readonly value: Value };

/** The outcome of a flush onto a row that exists; `undefined` for a key that had no row. */
export type FlushedRow<Value> = StoreOutcome<Value> | undefined;

/** How long the flushes of one statement wait for a row that others hold; the server waits on, and names no row. */
const STATEMENT_MS = 500;

/**
 * Writes buffered values onto existing rows, each with the very version that the buffer gave it and
 * only where the row's is lower: one document, one statement, the fence in its filter. Where there is
 * no row a tombstone may stand, and that needs a transaction: those keys are left out. Rejects with an error that
 * `isCutShort` where it took long, as it does for a row that others hold; some may be written then.
 */
export async function flushOntoRows<Value>(
  binding: Binding,
  commands: readonly FlushOfValue<Value>[],
  call: Call,
): Promise<FlushedRow<Value>[]> {
  const { versionField } = binding;
  const operations = commands.map(({ key, value, version }) => ({
    updateOne: {
      filter: belowFilter(binding, key, version),
      update: replacePipeline(
        versionField,
        toDocument(binding, key, value),
        inTime(binding, toStored(version), call),
      ),
    },
  }));
  const { errors, matched } = await bulk(binding, operations, call, {
    maxTimeMS: Math.min(STATEMENT_MS, writeMs(call)),
  });
  const rows = await findRows<Value>(
    binding,
    binding.primary,
    commands.map(({ key }) => key),
    call,
  );
  return commands.map((command, at): FlushedRow<Value> => {
    const { version } = command;
    const error = errors.get(at);
    if (error !== undefined) return failed(binding, command, error);
    const row = rows[at];
    if (row === undefined) return undefined;
    // The flush's own version is there: just written, or, in a batch that wrote others, by an earlier sending.
    if (row.version === version && matched > 0) return { kind: 'written', value: row.value, version };
    // A lower version was inserted after the bulk had found nothing there, unless all of it found their rows.
    if (row.version < version && matched < commands.length - errors.size) return undefined;
    return { kind: 'superseded', version: row.version };
  });
}

/** The row of a key, if its version is lower; what can't be a version is none. */
function belowFilter(binding: Binding, key: string, version: Version): Document {
  const higher = { $gte: toStored(version), $lte: toStored(binding.clock.highestBelievable) };
  return { ...keyFilter(binding, key), [binding.versionField]: { $not: higher } };
}

/**
 * Flushes in the transaction of `call`, for what touches tombstones: buffered deletes, and values for
 * which there is no row. Rows and tombstones are read in one snapshot, and all stay what they were until
 * the commit, or the transaction conflicts and runs again. Keys must be distinct.
 */
export async function flushWithTombstones<Value>(
  binding: Binding,
  commands: readonly StoreFlush<Value>[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const { source, tombstones } = binding;
  const keys = commands.map(({ key }) => key);
  const tombstoneVersions = await tombstones.versions(source, keys, call);
  const versions = await versionsOf(binding, keys, call);
  const known = keys.map((key, at) =>
    Math.max(tombstoneVersions[at] ?? NO_VERSION, versions.get(key) ?? NO_VERSION),
  );
  const higher = commands.filter(({ version }, at) => (known[at] ?? NO_VERSION) < version);
  await flushDeletions(
    binding,
    higher.filter(({ value }) => value === null),
    call,
  );
  const rows = await flushValues(
    binding,
    higher.filter((command): command is FlushOfValue<Value> => command.value !== null),
    call,
  );
  return commands.map(({ key, value, version }, at): StoreOutcome<Value> => {
    const found = known[at] ?? NO_VERSION;
    if (found >= version) return { kind: 'superseded', version: found };
    return { kind: 'written', value: rows.get(key) ?? value, version };
  });
}

/** The tombstones first, as a delete's: the change stream tells of them in that order. */
async function flushDeletions(
  binding: Binding,
  commands: readonly StoreFlush<unknown>[],
  call: Call,
): Promise<void> {
  if (commands.length === 0) return;
  await binding.tombstones.place(binding.source, commands, call);
  const keys = commands.map(({ key }) => key);
  await binding.primary.deleteMany(keysFilter(binding, keys), statementOptions(call));
}

/** Gives the values as stored, by key. */
async function flushValues<Value>(
  binding: Binding,
  commands: readonly FlushOfValue<Value>[],
  call: Call,
): Promise<ReadonlyMap<string, Value>> {
  if (commands.length === 0) return new Map();
  const { primary, source, tombstones, versionField } = binding;
  const keys = commands.map(({ key }) => key);
  await tombstones.lock(source, keys, call);
  const operations = commands.map(({ key, value, version }) => ({
    updateOne: {
      filter: keyFilter(binding, key),
      update: replacePipeline(
        versionField,
        toDocument(binding, key, value),
        inTime(binding, toStored(version), call),
      ),
      upsert: true,
    },
  }));
  await primary.bulkWrite(operations, { ...statementOptions(call), ordered: true });
  const rows = await findRows<Value>(binding, primary, keys, call);
  return new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.key, row.value]])));
}
