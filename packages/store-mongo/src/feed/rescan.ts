import { type Change, NO_VERSION, StoreContractError, type Version } from '@lockstep/core';
import type { AbstractCursor, Collection, Db, Document } from 'mongodb';
import { serverNowMs } from '../install/server.js';
import { type Binding, keyIfAny } from '../rows/binding.js';
import { fromStored, nextEven, toStored } from '../rows/stamp.js';
import type { TombstoneId } from '../rows/tombstones.js';
import { answered, type StatementBound } from '../wire/answered.js';
import { toStoreError } from '../wire/errors.js';
import { type Delivery, deliver, untilDone } from './deliver.js';

/** The bound of one batch of a scan. */
const SCAN = { maxTimeMS: 60_000 } as const;

/** The bound of what an index answers. */
const INDEXED = { maxTimeMS: 5_000 } as const;

/** The highest version of the rows and tombstones that a source has. */
export async function highestOf({
  clock,
  name,
  primary,
  source,
  tombstones,
  versionField,
}: Binding): Promise<Version> {
  const believable = toStored(clock.highestBelievable);
  const highest = (collection: Collection, field: string, filter: Document): Promise<Document | null> =>
    patiently(name, (bound) =>
      collection.findOne(filter, { ...bound, sort: { [field]: -1 }, projection: { [field]: 1 } }),
    );
  const row = await highest(primary, versionField, { [versionField]: { $type: 'number', $lte: believable } });
  const ofSource = { '_id.s': source, v: { $lte: believable } };
  const tombstone = await highest(tombstones.collection as unknown as Collection, 'v', ofSource);
  return Math.max(fromStored(row?.[versionField]), fromStored(tombstone?.['v']));
}

/** Asks once more, of a collection that has lost its index. An answer that was lost is not waited for so long. */
async function patiently<T>(what: string, ask: (bound: StatementBound) => Promise<T>): Promise<T> {
  try {
    return await answered(what, ask(INDEXED), INDEXED);
  } catch (error) {
    if (toStoreError(error, what).code !== 'LOCKSTEP_STORE_TIMEOUT') throw error;
    return await answered(what, ask(SCAN), SCAN);
  }
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
async function raiseTombstoneOfSource(
  { name, tombstones, source }: Binding,
  version: Version,
): Promise<void> {
  await answered(
    name,
    tombstones.collection.updateOne(
      { _id: { $eq: { s: source, k: '' } } },
      [{ $set: { v: { $max: ['$v', toStored(version)] }, at: '$$NOW' } }],
      { upsert: true, ...SCAN },
    ),
    SCAN,
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
    { projection: { _id: 1, [keyField]: 1 }, ...SCAN },
  );
  yield* batches(binding.name, rows, batchSize, (document) => {
    const key = keyIfAny(binding, document);
    return key === undefined ? undefined : { source, key, version, op: 'put', changedAtMs };
  });
  const gone = tombstones.collection.find({ '_id.s': source, '_id.k': { $ne: '' } } as Document, {
    projection: { _id: 1 },
    ...SCAN,
  });
  yield* batches(binding.name, gone, batchSize, (document) => {
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
      ...SCAN,
    },
  );
  yield* batches(binding.name, rows, batchSize, (document) => {
    const version = fromStored(document[versionField]);
    const changedAtMs = Math.floor(version / 1000);
    const key = keyIfAny(binding, document);
    return key === undefined ? undefined : { source, key, version, op: 'put', changedAtMs };
  });
  const gone = tombstones.collection.find(
    { '_id.s': source, '_id.k': { $ne: '' }, at: { $gte: new Date(sinceMs) } } as Document,
    SCAN,
  );
  yield* batches(binding.name, gone, batchSize, (document) => {
    const { k: key } = document['_id'] as TombstoneId;
    const changedAtMs = (document['at'] as Date).getTime();
    return { source, key, version: fromStored(document['v']), op: 'delete', changedAtMs };
  });
}

async function* batches<T extends Document>(
  what: string,
  cursor: AbstractCursor<T>,
  size: number,
  toChange: (document: T) => Change | undefined,
): AsyncGenerator<Change[]> {
  let batch: Change[] = [];
  try {
    // One wait for each of the server's batches.
    while (await answered(what, cursor.hasNext(), SCAN)) {
      for (const document of cursor.readBufferedDocuments()) {
        const change = toChange(document);
        if (change !== undefined) batch.push(change);
        if (batch.length < size) continue;
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0) yield batch;
  } finally {
    cursor.close().catch(() => {});
  }
}
