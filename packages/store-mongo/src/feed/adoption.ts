import { type Change, NO_VERSION, type Version } from '@lockstep/core';
import { type Document, MongoBulkWriteError } from 'mongodb';
import { type Binding, keyIfAny } from '../rows/binding.js';
import { nextEven, restampPipeline } from '../rows/stamp.js';
import { type Call, statementOptions } from '../wire/call.js';
import type { FeedEvent } from './events.js';

type ForeignEvent = Extract<FeedEvent, { kind: 'foreign' }>;

/**
 * Takes over what other programs wrote: the rows get versions, and those that are gone tombstones, above
 * every version that the source has had (`above`), since nobody can say which one a cache still holds.
 *
 * The bump changes nothing but the version, and takes whatever the row is by then. Rows that can't be
 * stamped (a validator that they do not meet) are reported above all versions: their readers stamp them.
 */
export async function adopt(
  binding: Binding,
  events: readonly ForeignEvent[],
  above: Version,
  nowMs: number,
  call: Call,
): Promise<Change[]> {
  const { primary, versionField, keyField, source, tombstones } = binding;
  const ids = events.map(({ id }) => id);
  const refused = new Set<number>();
  try {
    await primary.bulkWrite(
      ids.map((id) => ({
        updateOne: { filter: { _id: { $eq: id } } as Document, update: restampPipeline(versionField, above) },
      })),
      { ...statementOptions(call), ordered: false },
    );
  } catch (error) {
    const failures = error instanceof MongoBulkWriteError ? [error.writeErrors].flat() : [];
    if (failures.length === 0) throw error;
    for (const { index } of failures) refused.add(index);
  }
  const documents = await primary
    .find({ _id: { $in: ids } } as Document, {
      ...statementOptions(call),
      projection: { _id: 1, [keyField]: 1, [versionField]: 1 },
    })
    .toArray();
  const floor = nextEven(Math.max(above, Math.floor(nowMs) * 1000));
  const changes = new Map<string, Change>();
  const changedAtMs = Math.min(...events.map(({ atMs }) => atMs));
  for (const document of documents) {
    const key = document[keyField] === undefined ? undefined : keyIfAny(binding, document);
    if (key === undefined) continue;
    const version = refused.size > 0 ? floor : binding.clock.versionOf(document[versionField]);
    changes.set(key, { source, key, version, op: 'put', changedAtMs });
  }
  const gone = [...new Set(events.flatMap(({ goneKey }) => (goneKey === undefined ? [] : [goneKey])))].filter(
    (key) => !changes.has(key),
  );
  if (gone.length > 0) {
    const stamps = await tombstones.stamp(
      source,
      gone.map((key) => ({ key, above })),
      call,
    );
    gone.forEach((key, at) => {
      const version = stamps[at] ?? NO_VERSION;
      changes.set(key, { source, key, version, op: 'delete', changedAtMs });
    });
  }
  return [...changes.values()];
}
