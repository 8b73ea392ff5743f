import { type DeclaredSets, NO_VERSION } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { keptSource } from '../rows/kept-tags.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import { CODE } from '../wire/errors.js';
import type { Installation } from './installation.js';
import { checkRights, needsOfAttach } from './rights.js';
import {
  checkDeclared,
  checkKeyIndex,
  checkKind,
  indexesOf,
  localName,
  stateOf,
  TOMBSTONE_INDEX,
  versionIndexIn,
  versionIndexName,
} from './state.js';

const TOMBSTONES_OF_SOURCE = 'lockstep_tombstone_version';

/**
 * Checks that the collection can be attached, and creates what is missing: the record of its key, the collection,
 * version index, pre-images, tombstones, versions. Idempotent.
 */
export async function install(
  installation: Installation,
  binding: Binding,
  stamp: boolean,
  sets: DeclaredSets = {},
): Promise<void> {
  const { db, records, replicated, tombstones } = installation;
  const { keyField, primary, versionField } = binding;
  const name = localName(binding);
  const before = (await records.of(binding.source))?.declared ?? {};
  const tagged = (sets.tags ?? before.tags ?? []).length > 0;
  const images = (keyField !== '_id' || tagged) && replicated;
  await checkRights(db, needsOfAttach(installation, name, images));
  const state = await stateOf(installation, name);
  const indexes = state.exists ? await indexesOf(db.collection(name)) : [];
  checkKind(binding, state);
  checkKeyIndex(binding, state, indexes);
  checkDeclared(binding, sets, indexes, state);
  // A collection that was made anew is known by no key to anybody.
  await records.claim(
    binding,
    async (known) => versionIndexIn(await indexesOf(db.collection(name)), known.versionField) === undefined,
  );
  binding.declared.set(await records.declare(binding.source, sets));
  await createCollection(db, name);
  await createCollection(db, tombstones);
  await createTtlIndex(installation);
  await db.collection(tombstones).createIndex({ '_id.s': 1, v: 1 }, { name: TOMBSTONES_OF_SOURCE });
  if (images) {
    await db.command({ collMod: name, changeStreamPreAndPostImages: { enabled: true } });
  }
  if (versionIndexIn(indexes, versionField) === undefined) {
    await primary.createIndex({ [versionField]: 1 }, { name: versionIndexName(versionField) });
  }
  if (!stamp) return;
  await primary.updateMany(withoutVersion(binding), restampPipeline(versionField, NO_VERSION));
}

/**
 * Finds rows whose version nobody believes, by the version's index. Fractions and the like pass for versions here, and
 * get one when they are first read.
 */
export function withoutVersion({ clock, versionField }: Binding): Document {
  const tooHigh = { $gt: toStored(clock.highestBelievable) };
  return { $or: [{ [versionField]: { $not: { $gt: 0 } } }, { [versionField]: tooHigh }] };
}

async function createCollection(db: Db, name: string): Promise<void> {
  try {
    await db.createCollection(name);
  } catch (error) {
    if ((error as { code?: unknown }).code !== CODE.namespaceExists) throw error;
  }
}

async function createTtlIndex({ db, tombstones, tombstoneTtlMs }: Installation): Promise<void> {
  const seconds = Math.ceil(tombstoneTtlMs / 1000);
  const existing = (await db.collection(tombstones).indexes()).find(({ name }) => name === TOMBSTONE_INDEX);
  if (existing !== undefined && existing['expireAfterSeconds'] !== seconds) {
    await db.command({ collMod: tombstones, index: { name: TOMBSTONE_INDEX, expireAfterSeconds: seconds } });
    return;
  }
  await db
    .collection(tombstones)
    .createIndex({ at: 1 }, { name: TOMBSTONE_INDEX, expireAfterSeconds: seconds });
}

/**
 * Takes away what `install` added, versions included, by the key and field that are recorded; the shared tombstones lose
 * this source's.
 */
export async function uninstall(installation: Installation, binding: Binding): Promise<void> {
  const { db, records, tombstones } = installation;
  const { primary, source } = binding;
  const { versionField } = (await records.of(source)) ?? binding;
  // First, so that no relay takes what follows for foreign writes that it is to adopt.
  await records.forget(source);
  try {
    await primary.dropIndex(versionIndexName(versionField));
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== CODE.namespaceNotFound && code !== CODE.indexNotFound) throw error;
  }
  await primary.updateMany({ [versionField]: { $exists: true } }, { $unset: { [versionField]: '' } });
  const own = { '_id.s': { $in: [source, keptSource(source)] } };
  await db.collection(tombstones).deleteMany(own as Document);
}

/**
 * By the UUID of the collection of tombstones, which the members of a replica set share: the user's own may be dropped
 * and made again.
 */
export async function identityOf(
  installation: Pick<Installation, 'db'>,
  tombstones: string,
  { name }: Binding,
): Promise<string | undefined> {
  const { info } = await stateOf(installation, tombstones);
  const uuid: unknown = info['uuid'];
  return uuid === undefined ? undefined : `${name} of database UUID ${String(uuid)}`;
}
