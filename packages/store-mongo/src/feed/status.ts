import type { FeedStatus } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import { serverNowMs } from '../install/server.js';
import type { Binding } from '../rows/binding.js';
import { fromStored, toStored } from '../rows/stamp.js';
import { answered } from '../wire/answered.js';
import type { PositionDocument, Positions } from './positions.js';

/** Changes that are counted at most where no one reads. */
const MAX_COUNTED = 10_000;
const OPTIONS = { maxTimeMS: 10_000 } as const;

/**
 * The changes that wait: by the active reader's own account, as of its last heartbeat; where nobody reads, or the reader
 * has not caught up, the rows and tombstones with versions after the last position (foreign writes are not
 * among them).
 */
export async function feedStatus(
  db: Db,
  bindings: ReadonlyMap<string, Binding>,
  positions: Positions,
): Promise<FeedStatus> {
  if (bindings.size === 0) return { pending: 0, oldestMs: 0, setAside: 0 };
  const documents = await positions.covering([...bindings.keys()]);
  const nowMs = await serverNowMs(db);
  const active = new Set<PositionDocument>();
  const idle: { readonly binding: Binding; readonly atMs: number }[] = [];
  for (const [source, binding] of bindings) {
    const ours = documents.filter(({ sources }) => sources.includes(source));
    const readers = ours.filter(
      ({ expiresAt, pending: count }) =>
        expiresAt !== undefined && expiresAt.getTime() >= nowMs && count !== null,
    );
    for (const reader of readers) active.add(reader);
    if (readers.length === 0)
      idle.push({ binding, atMs: Math.max(0, ...ours.map(({ at }) => at?.getTime() ?? 0)) });
  }
  let pending = 0;
  let oldestMs = 0;
  for (const { pending: count, oldestAt } of active) {
    const waiting = count ?? 0;
    pending += waiting;
    if (waiting > 0 && oldestAt instanceof Date) oldestMs = Math.max(oldestMs, nowMs - oldestAt.getTime());
  }
  for (const { binding, atMs } of idle) {
    const waiting = await countSince(binding, atMs);
    pending += waiting;
    if (waiting > 0) oldestMs = Math.max(oldestMs, nowMs - atMs);
  }
  const setAside = documents.reduce((sum, { aside }) => sum + fromStored(aside), 0);
  return { pending, oldestMs: Math.max(0, oldestMs), setAside };
}

async function countSince(binding: Binding, atMs: number): Promise<number> {
  const { name, primary, versionField, source, tombstones } = binding;
  const limit = { ...OPTIONS, limit: MAX_COUNTED };
  const counting = Promise.all([
    primary.countDocuments({ [versionField]: { $gt: toStored(atMs * 1000) } }, limit),
    tombstones.collection.countDocuments({ '_id.s': source, at: { $gt: new Date(atMs) } } as Document, limit),
  ]);
  const [rows, gone] = await answered(name, counting, OPTIONS);
  return rows + gone;
}
