import { InvalidOptionError, NO_VERSION } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import { CODE } from '../wire/errors.js';

/** The database that a collection is installed in, and the settings that its tombstones need. */
export interface Installation {
  readonly db: Db;
  readonly replicated: boolean;
  readonly tombstones: string;
  readonly tombstoneTtlMs: number;
}

const TOMBSTONE_INDEX = 'lockstep_tombstone_ttl';
const TOMBSTONES_OF_SOURCE = 'lockstep_tombstone_version';

function versionIndex(binding: Binding): string {
  return `lockstep_version_${binding.versionField}`;
}

function localName(binding: Binding): string {
  return binding.primary.collectionName;
}

/** Creates what is missing: collection, version index, pre-images, tombstones, versions. Idempotent. */
export async function install(installation: Installation, binding: Binding, stamp: boolean): Promise<void> {
  const { db } = installation;
  await createCollection(db, localName(binding));
  await createCollection(db, installation.tombstones);
  await createTtlIndex(installation);
  await db
    .collection(installation.tombstones)
    .createIndex({ '_id.s': 1, v: 1 }, { name: TOMBSTONES_OF_SOURCE });
  const info = await optionsOf(db, binding);
  checkKind(binding, info);
  await checkKeyIndex(binding, info);
  if (binding.keyField !== '_id' && installation.replicated) {
    await db.command({ collMod: localName(binding), changeStreamPreAndPostImages: { enabled: true } });
  }
  await binding.primary.createIndex({ [binding.versionField]: 1 }, { name: versionIndex(binding) });
  if (!stamp) return;
  const { primary, versionField } = binding;
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

/** Takes away what `install` added, versions included; the shared tombstones lose this source's. */
export async function uninstall(installation: Installation, binding: Binding): Promise<void> {
  const { versionField, primary, source } = binding;
  try {
    await primary.dropIndex(versionIndex(binding));
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== CODE.namespaceNotFound && code !== 27) throw error;
  }
  await primary.updateMany({ [versionField]: { $exists: true } }, { $unset: { [versionField]: '' } });
  await installation.db.collection(installation.tombstones).deleteMany({ '_id.s': source } as Document);
}

async function optionsOf(db: Db, binding: Binding): Promise<Document> {
  const [info] = await db.listCollections({ name: localName(binding) }).toArray();
  return (info as Document | undefined) ?? {};
}

/**
 * By the UUID of the collection of tombstones, which the members of a replica set share: the user's own may be dropped
 * and made again.
 */
export async function identityOf(db: Db, tombstones: string, { name }: Binding): Promise<string | undefined> {
  const [found] = await db.listCollections({ name: tombstones }).toArray();
  const uuid: unknown = ((found as Document | undefined)?.['info'] as Document | undefined)?.['uuid'];
  return uuid === undefined ? undefined : `${name} of database UUID ${String(uuid)}`;
}

/** Throws `InvalidOptionError` unless `install` has been here. */
export async function checkInstalled(installation: Installation, binding: Binding): Promise<void> {
  const info = await optionsOf(installation.db, binding);
  checkKind(binding, info);
  const attached =
    info['name'] !== undefined &&
    (await binding.primary.indexes()).some(({ name }) => name === versionIndex(binding));
  if (!attached) {
    throw new InvalidOptionError(
      `collection("${localName(binding)}")`,
      `${binding.source} is not attached: call mongo.attach() once, when you deploy`,
    );
  }
  await checkKeyIndex(binding, info);
  const images = (info['options'] as Document | undefined)?.['changeStreamPreAndPostImages'] as
    | Document
    | undefined;
  if (binding.keyField !== '_id' && installation.replicated && images?.['enabled'] !== true) {
    throw new InvalidOptionError(
      `collection("${localName(binding)}").key`,
      `"${binding.keyField}" needs changeStreamPreAndPostImages, so that a deletion can be told by it: call mongo.attach()`,
    );
  }
}

/** Refuses collections whose changes no change stream tells, or whose rows can't carry a version. */
function checkKind(binding: Binding, info: Document): void {
  const type: unknown = info['type'] ?? 'collection';
  const capped = (info['options'] as Document | undefined)?.['capped'] === true;
  if (type === 'collection' && !capped) return;
  const problem =
    type === 'view'
      ? 'is a view: attach the collection that it shows'
      : type === 'timeseries'
        ? 'is a time-series collection: it has no change stream, and no rows by id'
        : 'is capped: what falls out of it no change stream tells';
  throw new InvalidOptionError(`collection("${localName(binding)}")`, `${binding.source} ${problem}`);
}

/**
 * The key must be unique to MongoDB as it is to us: by a unique index on it alone, of every document
 * that has it, comparing text byte by byte.
 */
async function checkKeyIndex(binding: Binding, info: Document): Promise<void> {
  const { keyField } = binding;
  const option = `collection("${localName(binding)}").key`;
  const collation = (info['options'] as Document | undefined)?.['collation'] as Document | undefined;
  if (keyField === '_id') {
    if (collation !== undefined && collation['locale'] !== 'simple') {
      throw new InvalidOptionError(
        option,
        `_id of ${binding.source} is compared by the collation ${String(collation['locale'])}; two texts could name one row`,
      );
    }
    return;
  }
  const indexes = (await binding.primary.indexes()).filter(({ key }) => {
    const fields = Object.keys(key);
    return fields.length === 1 && fields[0] === keyField;
  });
  const fitting = indexes.some((index) => {
    const ownCollation = index['collation'] as Document | undefined;
    return (
      index.unique === true &&
      index.partialFilterExpression === undefined &&
      (ownCollation === undefined || ownCollation['locale'] === 'simple')
    );
  });
  if (!fitting) {
    throw new InvalidOptionError(
      option,
      `${binding.source} needs a unique index on "${keyField}" alone, not partial, without a collation`,
    );
  }
}
