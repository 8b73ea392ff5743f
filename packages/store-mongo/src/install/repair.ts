import { NO_VERSION } from '@lockstep/core';
import type { Document } from 'mongodb';
import { type Binding, keyIfAny } from '../rows/binding.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import { withoutVersion } from './install.js';

/** Keys that are reported; more than these are only counted. */
const MAX_KEYS = 10_000;

/** The outcome of `repair` for a collection. */
export interface RepairReport {
  readonly source: string;
  /** How many rows got a new version. */
  readonly rows: number;
  /** How many tombstones were removed. */
  readonly tombstones: number;
  /** The rows' keys, up to 10,000. */
  readonly keys: readonly string[];
}

/** Gives rows whose version nobody believes one of the clock, and removes such tombstones. The feed tells of the rows. */
export async function repair(binding: Binding): Promise<RepairReport> {
  const { keyField, primary, source, tombstones, versionField } = binding;
  const highest = toStored(binding.clock.highestBelievable);
  const filter: Document = { ...withoutVersion(binding), [versionField]: { $exists: true } };
  const found = await primary.find(filter, { projection: { [keyField]: 1 }, limit: MAX_KEYS }).toArray();
  const { matchedCount } = await primary.updateMany(filter, restampPipeline(versionField, NO_VERSION));
  const ofSource = { '_id.s': source, v: { $gt: highest } } as Document;
  const { deletedCount } = await tombstones.collection.deleteMany(ofSource);
  const keys = found.flatMap((document) => keyIfAny(binding, document) ?? []);
  return { source, rows: matchedCount, tombstones: deletedCount, keys };
}
