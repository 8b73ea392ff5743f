import { type Change, NO_VERSION, type Version } from '@lockstep/core';
import { type Document, MongoBulkWriteError } from 'mongodb';
import { type Binding, keyIfAny } from '../rows/binding.js';
import { adoptTags } from '../rows/kept-tags.js';
import { nextEven, restampPipeline } from '../rows/stamp.js';
import { statesAt } from '../rows/states-at.js';
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
  const { primary, versionField, tombstones } = binding;
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
  const floor = refused.size > 0 ? floorAbove(above, nowMs) : undefined;
  const changes = await changesOf(binding, events, floor, call);
  const gone = goneKeys(events, changes);
  await adoptKept(binding, changes, gone, call);
  if (gone.length > 0) {
    const deleted = gone.map((key) => ({ key, above }));
    const stamps = await tombstones.stamp(binding.source, deleted, call);
    gone.forEach((key, at) => {
      changes.set(key, deletionOf(binding, events, key, stamps[at] ?? NO_VERSION));
    });
  }
  return [...changes.values()];
}

/** Before any of it is told, so that own writes until then know what the rows had, and have. */
async function adoptKept(
  binding: Binding,
  there: ReadonlyMap<string, Change>,
  gone: readonly string[],
  call: Call,
): Promise<void> {
  const { tagged } = binding.declared;
  if (tagged.length === 0 || there.size + gone.length === 0) return;
  const keys = [...there.keys()];
  const rows = keys.length === 0 ? new Map() : await statesAt(binding, keys, tagged, call);
  await adoptTags(binding, rows, gone, call);
}

/**
 * Tells what other programs wrote to a collection that was detached, above every version that it has had: nothing of it
 * gets a version again.
 */
export async function reportOnly(
  binding: Binding,
  events: readonly ForeignEvent[],
  above: Version,
  nowMs: number,
  call: Call,
): Promise<Change[]> {
  const floor = floorAbove(above, nowMs);
  const changes = await changesOf(binding, events, floor, call);
  for (const key of goneKeys(events, changes)) changes.set(key, deletionOf(binding, events, key, floor));
  return [...changes.values()];
}

function floorAbove(above: Version, nowMs: number): Version {
  return nextEven(Math.max(above, Math.floor(nowMs) * 1000));
}

/** The rows that are there now, by key, at their own versions, or all at the floor. */
async function changesOf(
  binding: Binding,
  events: readonly ForeignEvent[],
  floor: Version | undefined,
  call: Call,
): Promise<Map<string, Change>> {
  const { clock, keyField, primary, source, versionField } = binding;
  const documents = await primary
    .find({ _id: { $in: events.map(({ id }) => id) } } as Document, {
      ...statementOptions(call),
      projection: { _id: 1, [keyField]: 1, [versionField]: 1 },
    })
    .toArray();
  const changedAtMs = earliestMs(events);
  const changes = new Map<string, Change>();
  for (const document of documents) {
    const key = document[keyField] === undefined ? undefined : keyIfAny(binding, document);
    if (key === undefined) continue;
    const version = floor ?? clock.versionOf(document[versionField]);
    changes.set(key, { source, key, version, op: 'put', changedAtMs });
  }
  return changes;
}

function goneKeys(events: readonly ForeignEvent[], there: ReadonlyMap<string, Change>): string[] {
  const gone = new Set(events.flatMap(({ goneKey }) => (goneKey === undefined ? [] : [goneKey])));
  return [...gone].filter((key) => !there.has(key));
}

function deletionOf(
  { source }: Binding,
  events: readonly ForeignEvent[],
  key: string,
  version: Version,
): Change {
  return { source, key, version, op: 'delete', changedAtMs: earliestMs(events) };
}

function earliestMs(events: readonly ForeignEvent[]): number {
  return Math.min(...events.map(({ atMs }) => atMs));
}
