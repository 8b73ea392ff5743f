import { type Change, NO_VERSION, StoreContractError, type Version } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import { serverNowMs } from '../install/server.js';
import { type Binding, keyIfAny } from '../rows/binding.js';
import { fromStored, nextEven, toStored } from '../rows/stamp.js';
import type { TombstoneId } from '../rows/tombstones.js';
import { type Delivery, deliver, untilDone } from './deliver.js';

/** The bound of one batch of a scan, in ms. */
const SCAN_TIMEOUT_MS = 60_000;

/** The highest version of the rows and tombstones that a source has. */
export async function highestOf(binding: Binding): Promise<Version> {
  const { primary, versionField, source, tombstones } = binding;
  const options = { maxTimeMS: SCAN_TIMEOUT_MS };
  const believable = toStored(binding.clock.highestBelievable);
  const row = await primary.findOne(
    { [versionField]: { $type: 'number', $lte: believable } },
    { ...options, sort: { [versionField]: -1 }, projection: { [versionField]: 1 } },
  );
  const ofSource = { '_id.s': source, v: { $lte: believable } } as Document;
  const tombstone = await tombstones.collection.findOne(ofSource, {
    ...options,
    sort: { v: -1 },
    projection: { v: 1 },
  });
  return Math.max(fromStored(row?.[versionField]), fromStored(tombstone?.v));
}

/** A version above those that a source has had. */
export function aboveAll(known: Version, nowMs: number): Version {
  return nextEven(Math.max(known, nowMs * 1000));
}

/**
 * Reports every row of a source, and every deletion that is known, at one version above all that it has
 * had: for when changes were lost, or all rows replaced. Rows stay as they are; their readers stamp those
 * that are still wanted. What is gone without a tombstone only `onReset` can tell of.
 */
export async function rescan(
  db: Db,
  binding: Binding,
  highest: Map<string, Version>,
  delivery: Delivery,
): Promise<boolean> {
  const { source } = binding;
  return await untilDone(async () => {
    const nowMs = await serverNowMs(db);
    const known = Math.max(highest.get(source) ?? NO_VERSION, await highestOf(binding));
    const version = aboveAll(known, nowMs);
    await raiseTombstoneOfSource(binding, version);
    highest.set(source, version);
    if (delivery.onReset === undefined) {
      delivery.onError(
        new StoreContractError(
          `${binding.name}: changes were lost, and the consumer has no onReset: entries of rows that are gone stay until they expire`,
        ),
      );
    }
    await delivery.onReset?.(source, version);
    for await (const changes of everyRow(binding, version, nowMs, delivery.batchSize)) {
      if (!(await deliver(changes, delivery))) break;
    }
    delivery.signal.throwIfAborted();
  }, delivery);
}

/** A floor under flushes of rows that are gone, whatever their keys. */
async function raiseTombstoneOfSource({ tombstones, source }: Binding, version: Version): Promise<void> {
  await tombstones.collection.updateOne(
    { _id: { $eq: { s: source, k: '' } } },
    [{ $set: { v: { $max: ['$v', toStored(version)] }, at: '$$NOW' } }],
    { upsert: true, maxTimeMS: SCAN_TIMEOUT_MS },
  );
}

async function* everyRow(
  binding: Binding,
  version: Version,
  changedAtMs: number,
  batchSize: number,
): AsyncGenerator<Change[]> {
  const { primary, keyField, source, tombstones } = binding;
  const rows = primary.find(
    { [keyField]: { $exists: true } },
    { projection: { _id: 1, [keyField]: 1 }, maxTimeMS: SCAN_TIMEOUT_MS },
  );
  yield* batches(rows, batchSize, (document) => {
    const key = keyIfAny(binding, document);
    return key === undefined ? undefined : { source, key, version, op: 'put', changedAtMs };
  });
  const gone = tombstones.collection.find({ '_id.s': source, '_id.k': { $ne: '' } } as Document, {
    projection: { _id: 1 },
    maxTimeMS: SCAN_TIMEOUT_MS,
  });
  yield* batches(gone, batchSize, (document) => {
    const { k: key } = document['_id'] as TombstoneId;
    return { source, key, version, op: 'delete', changedAtMs };
  });
}

/** Changes since a time, from the rows' own versions and the tombstones. */
export async function* changedSince(
  binding: Binding,
  sinceMs: number,
  batchSize: number,
): AsyncGenerator<Change[]> {
  const { primary, keyField, versionField, source, tombstones } = binding;
  const rows = primary.find(
    {
      [versionField]: {
        $gte: toStored(Math.max(0, Math.floor(sinceMs)) * 1000),
        $lte: toStored(binding.clock.highestBelievable),
      },
    },
    {
      projection: { _id: 1, [keyField]: 1, [versionField]: 1 },
      maxTimeMS: SCAN_TIMEOUT_MS,
    },
  );
  yield* batches(rows, batchSize, (document) => {
    const version = fromStored(document[versionField]);
    const changedAtMs = Math.floor(version / 1000);
    const key = keyIfAny(binding, document);
    return key === undefined ? undefined : { source, key, version, op: 'put', changedAtMs };
  });
  const gone = tombstones.collection.find(
    { '_id.s': source, '_id.k': { $ne: '' }, at: { $gte: new Date(sinceMs) } } as Document,
    { maxTimeMS: SCAN_TIMEOUT_MS },
  );
  yield* batches(gone, batchSize, (document) => {
    const { k: key } = document['_id'] as TombstoneId;
    const changedAtMs = (document['at'] as Date).getTime();
    return { source, key, version: fromStored(document['v']), op: 'delete', changedAtMs };
  });
}

async function* batches<T extends Document>(
  cursor: AsyncIterable<T>,
  size: number,
  toChange: (document: T) => Change | undefined,
): AsyncGenerator<Change[]> {
  let batch: Change[] = [];
  for await (const document of cursor) {
    const change = toChange(document);
    if (change !== undefined) batch.push(change);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
