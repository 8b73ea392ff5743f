import { NO_VERSION, type StoreRow, type Version } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Binding, keyFilter, keyOfDocument, keysFilter, toRow } from '../rows/binding.js';
import { restampPipeline } from '../rows/stamp.js';
import { type Call, statementOptions } from '../wire/call.js';
import { writeConflict } from '../wire/errors.js';
import { deleteRows } from '../write/deletes.js';
import { type RowState, stateOf, type TransactionLog } from './log.js';

/** Rows that are looked at again before the commit in one statement. */
const LOOK_CHUNK = 1_000;

/**
 * Rows as a transaction sees them. The caller's own statements in it do not stamp versions and tell
 * nobody; so what differs from the row as it was looked at before, or from the committed row, was changed
 * in here, and is stamped and noted now. Whatever was changed outside since the snapshot makes these
 * statements conflict, and the transaction runs again.
 *
 * The committed row is read with `local`: a row that the transaction changed is its own until it ends, and
 * stands before it exactly as the primary has it, majority-committed or not.
 */
export async function readInTransaction<Value>(
  binding: Binding,
  keys: readonly string[],
  tx: TransactionLog,
  call: Call,
  flushed = false,
): Promise<(StoreRow<Value> | undefined)[]> {
  // Inside first: it fixes the snapshot, so that what is outside is never older.
  const inside = await documents(binding, keys, call);
  const unknown = [...new Set(keys)].filter((key) => tx.lookedAt(binding.source, key) === undefined);
  const committed = (): Promise<Map<string, Document>> =>
    documents(binding, unknown, { ...call, session: undefined });
  let outside = inside;
  if (unknown.length > 0) {
    if (tx.handedOut) outside = await committed();
    else if (flushed && tx.begun) checkSnapshot(binding, unknown, inside, await committed(), tx);
  }
  const rows = new Map<string, StoreRow<Value>>();
  for (const key of new Set(keys)) {
    const row = await noteRow<Value>(binding, key, inside.get(key), outside.get(key), tx, call);
    if (row !== undefined) rows.set(key, row);
  }
  return keys.map((key) => rows.get(key));
}

/**
 * The rows, which nobody else can change from now on: the server locks what a transaction has changed, so each gets a new
 * version. A row that others have changed since the snapshot makes the transaction run again.
 */
export async function lockInTransaction<Value>(
  binding: Binding,
  keys: readonly string[],
  tx: TransactionLog,
  call: Call,
): Promise<(StoreRow<Value> | undefined)[]> {
  const { primary, versionField } = binding;
  const rows: (StoreRow<Value> | undefined)[] = [];
  for (const key of keys) {
    const document = await primary.findOneAndUpdate(
      keyFilter(binding, key),
      restampPipeline(versionField, NO_VERSION),
      { ...statementOptions(call), returnDocument: 'after' },
    );
    const row = document === null ? undefined : toRow<Value>(binding, document);
    if (row !== undefined) tx.record(binding, key, row.version, 'put');
    tx.look(binding, key, stateOf((row?.value as object | undefined) ?? null, row?.version ?? NO_VERSION));
    rows.push(row);
  }
  return rows;
}

/**
 * A buffered write that was acknowledged before the transaction may have been flushed after its first statement.
 * A caller without the session has changed nothing here, so a row whose version differs outside was changed since then:
 * the body runs again, on a snapshot that has it.
 */
function checkSnapshot(
  { source, versionField, clock, name }: Binding,
  keys: readonly string[],
  inside: ReadonlyMap<string, Document>,
  outside: ReadonlyMap<string, Document>,
  tx: TransactionLog,
): void {
  const versionIn = (rows: ReadonlyMap<string, Document>, key: string): Version | undefined => {
    const row = rows.get(key);
    return row && clock.versionOf(row[versionField]);
  };
  const changed = keys.filter((key) => versionIn(inside, key) !== versionIn(outside, key));
  const missed = changed.filter((key) => tx.outdates(source, key));
  if (missed.length > 0) throw writeConflict(`${name}: "${missed[0]}" was flushed after the snapshot`);
}

/**
 * Looks again at every row that this package has read or written in the transaction, once the caller may have
 * run statements of its own: they may have come after.
 */
export async function noteOwnStatements(tx: TransactionLog, bound: Call['bound']): Promise<void> {
  const call = { bound, session: tx.session };
  for (const { binding, keys } of tx.looked()) {
    for (let at = 0; at < keys.length; at += LOOK_CHUNK) {
      const chunk = keys.slice(at, at + LOOK_CHUNK);
      const inside = await documents(binding, chunk, call);
      for (const key of chunk) await noteRow(binding, key, inside.get(key), undefined, tx, call);
    }
  }
}

async function documents(
  binding: Binding,
  keys: readonly string[],
  call: Call,
): Promise<Map<string, Document>> {
  const found = await binding.primary
    .find(keysFilter(binding, keys), {
      ...statementOptions(call),
      ...(call.session === undefined ? { readConcern: { level: 'local' } } : {}),
    })
    .toArray();
  return new Map(found.map((document) => [keyOfDocument(binding, document), document]));
}

/** Stamps and notes the row if a statement of the caller's has changed it; gives it as it is now. */
async function noteRow<Value>(
  binding: Binding,
  key: string,
  here: Document | undefined,
  there: Document | undefined,
  tx: TransactionLog,
  call: Call,
): Promise<StoreRow<Value> | undefined> {
  const { source } = binding;
  const looked = tx.lookedAt(source, key);
  const was = looked ?? stateOfDocument(binding, there);
  const is = stateOfDocument(binding, here);
  if (here === undefined) {
    if (was.digest === undefined) tx.look(binding, key, was);
    else await noteDeletion(binding, key, was, looked === undefined ? there : undefined, tx, call);
    return undefined;
  }
  const changed = is.version === NO_VERSION || is.version !== was.version || is.digest !== was.digest;
  if (!changed) {
    tx.look(binding, key, is);
    return toRow<Value>(binding, { ...here });
  }
  const stamped = await binding.primary.findOneAndUpdate(
    keyFilter(binding, key),
    restampPipeline(binding.versionField, await floorOf(binding, key, was, call)),
    { ...statementOptions(call), returnDocument: 'after' },
  );
  if (stamped === null) return undefined;
  const row = toRow<Value>(binding, stamped);
  tx.record(binding, key, row.version, 'put');
  tx.look(binding, key, stateOf(row.value as object, row.version));
  return row;
}

function stateOfDocument(binding: Binding, document: Document | undefined): RowState {
  if (document === undefined) return stateOf(null, NO_VERSION);
  const { value, version } = toRow(binding, { ...document });
  return stateOf(value as object, version);
}

async function floorOf(binding: Binding, key: string, was: RowState, call: Call): Promise<Version> {
  if (was.digest !== undefined) return was.version;
  const [tombstone = NO_VERSION] = await binding.tombstones.versions(binding.source, [key], call);
  return Math.max(was.version, tombstone);
}

/**
 * The row is gone in here. Where it was seen in here before, this transaction has deleted it; where it only
 * stands outside (`there`), another may have inserted it since the snapshot. Putting it back tells which (the
 * second conflicts); then it is deleted with a tombstone.
 */
async function noteDeletion(
  binding: Binding,
  key: string,
  was: RowState,
  there: Document | undefined,
  tx: TransactionLog,
  call: Call,
): Promise<void> {
  const { primary, source, tombstones } = binding;
  let version: Version | undefined;
  if (there === undefined) {
    [version] = await tombstones.stamp(source, [{ key, above: was.version }], call);
  } else {
    await primary.insertOne(there, statementOptions(call));
    const [outcome] = await deleteRows(binding, [{ kind: 'delete', key, above: NO_VERSION }], call);
    if (outcome?.kind === 'written') version = outcome.version;
  }
  if (version === undefined) return;
  tx.record(binding, key, version, 'delete');
  tx.look(binding, key, stateOf(null, version));
}
