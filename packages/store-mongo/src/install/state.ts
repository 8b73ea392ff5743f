import {
  type DeclaredSets,
  InvalidOptionError,
  type StoreOpenOptions,
  UnsupportedError,
} from '@lockstep/core';
import type { Document, IndexDescriptionInfo } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { CODE } from '../wire/errors.js';
import type { Installation } from './installation.js';
import { checkMapping, type SourceDocument } from './records.js';
import { checkRights, needsOfUse } from './rights.js';
import { checkSharding } from './sharding.js';

/** A collection as the server describes it; empty: there is none. */
export interface CollectionState {
  readonly type?: string;
  readonly info: Document;
  readonly options: Document;
  readonly exists: boolean;
}

export const TOMBSTONE_INDEX = 'lockstep_tombstone_ttl';

export function versionIndexName(versionField: string): string {
  return `lockstep_version_${versionField}`;
}

export function localName(binding: Binding): string {
  return binding.primary.collectionName;
}

function optionOf(binding: Binding): string {
  return `collection("${localName(binding)}")`;
}

export async function stateOf({ db }: Pick<Installation, 'db'>, name: string): Promise<CollectionState> {
  const [found] = (await db.listCollections({ name }).toArray()) as Document[];
  return {
    type: (found?.['type'] as string | undefined) ?? 'collection',
    info: (found?.['info'] as Document | undefined) ?? {},
    options: (found?.['options'] as Document | undefined) ?? {},
    exists: found !== undefined,
  };
}

/** None where there is no such collection. Of a collection with this package's own types, not the user's. */
export async function indexesOf(
  collection: Pick<Binding['primary'], 'indexes'>,
): Promise<IndexDescriptionInfo[]> {
  try {
    return await collection.indexes();
  } catch (error) {
    if ((error as { code?: unknown }).code !== CODE.namespaceNotFound) throw error;
    return [];
  }
}

function isOn({ key }: IndexDescriptionInfo, field: string): boolean {
  const fields = Object.keys(key);
  return fields.length === 1 && fields[0] === field;
}

/** An index of all rows by their versions, whoever has made it. */
export function versionIndexIn(
  indexes: readonly IndexDescriptionInfo[],
  versionField: string,
): IndexDescriptionInfo | undefined {
  return indexes.find(
    (index) =>
      isOn(index, versionField) &&
      typeof index.key[versionField] === 'number' &&
      index.partialFilterExpression === undefined &&
      index.sparse !== true,
  );
}

/**
 * Throws `InvalidOptionError`, with what mends it, unless `attach` has been here, by the same key, and what it has made is
 * there. Tells what works, and should be mended all the same.
 */
export async function checkInstalled(
  installation: Installation,
  binding: Binding,
  { onWarning }: StoreOpenOptions,
): Promise<SourceDocument> {
  await checkRights(installation.db, needsOfUse(installation, localName(binding)));
  const state = await stateOf(installation, localName(binding));
  checkKind(binding, state);
  const record = await installation.records.of(binding.source);
  const indexes = state.exists ? await indexesOf(installation.db.collection(localName(binding))) : [];
  if (record === undefined) {
    const earlier = versionIndexIn(indexes, binding.versionField) !== undefined;
    throw new InvalidOptionError(
      optionOf(binding),
      earlier
        ? `${binding.source} was attached by an earlier release, which did not record its key: call mongo.attach() again`
        : `${binding.source} is not attached: call mongo.attach() once, when you deploy`,
    );
  }
  checkMapping(
    record,
    binding,
    'bind it with those, or detach it (mongo.detach(collection)) and attach it again',
  );
  checkVersionIndex(binding, indexes);
  checkKeyIndex(binding, state, indexes);
  checkImages(installation, binding, state);
  warnOfImages(binding, record.declared ?? {}, state, onWarning);
  binding.declared.set(record.declared ?? {});
  await checkTombstones(installation, binding);
  if (installation.sharded) onWarning?.(await checkSharding(installation.db, binding));
  return record;
}

/** Refuses collections whose changes no change stream tells, or whose rows can't carry a version. */
export function checkKind(binding: Binding, { type, options }: CollectionState): void {
  if (type === 'collection' && options['capped'] !== true) return;
  const problem =
    type === 'view'
      ? 'is a view: attach the collection that it shows'
      : type === 'timeseries'
        ? 'is a time-series collection: it has no change stream, and no rows by id'
        : 'is capped: what falls out of it no change stream tells';
  throw new InvalidOptionError(optionOf(binding), `${binding.source} ${problem}`);
}

function checkVersionIndex(binding: Binding, indexes: readonly IndexDescriptionInfo[]): void {
  const { source, versionField } = binding;
  const index = versionIndexIn(indexes, versionField);
  if (index === undefined) {
    throw new InvalidOptionError(
      optionOf(binding),
      `${source} has no index on "${versionField}" any more (it was dropped, or made anew): call mongo.attach() again`,
    );
  }
  checkShown(binding, index, optionOf(binding));
}

/** A hidden index serves no query. */
function checkShown(binding: Binding, index: IndexDescriptionInfo, option: string): void {
  if (index.hidden !== true) return;
  const name = localName(binding);
  throw new InvalidOptionError(
    option,
    `the index "${index.name}" of ${binding.source} is hidden: db.getCollection("${name}").unhideIndex("${index.name}")`,
  );
}

/**
 * The key must be unique to MongoDB as it is to us: by a unique index on it alone, of every document
 * that has it, comparing text byte by byte.
 */
export function checkKeyIndex(
  binding: Binding,
  { options }: CollectionState,
  indexes: readonly IndexDescriptionInfo[],
): void {
  const { keyField, source } = binding;
  const option = `${optionOf(binding)}.key`;
  const collation = options['collation'] as Document | undefined;
  if (keyField === '_id') {
    if (!isSimple(collation)) {
      throw new InvalidOptionError(
        option,
        `_id of ${source} is compared by the collation ${String(collation?.['locale'])}; two texts could name one row`,
      );
    }
    return;
  }
  const fitting = indexes.find(
    (index) =>
      isOn(index, keyField) &&
      index.unique === true &&
      index.partialFilterExpression === undefined &&
      isSimple(index['collation'] as Document | undefined),
  );
  if (fitting === undefined) {
    const plain = isSimple(collation) ? '' : ', collation: { locale: "simple" }';
    throw new InvalidOptionError(
      option,
      `${source} needs a unique index on "${keyField}" alone, not partial, without a collation: db.getCollection("${localName(binding)}").createIndex({ "${keyField}": 1 }, { unique: true${plain} })`,
    );
  }
  checkShown(binding, fitting, option);
}

function isSimple(collation: Document | undefined): boolean {
  return collation === undefined || collation['locale'] === 'simple';
}

function checkImages({ replicated }: Installation, binding: Binding, { options }: CollectionState): void {
  const images = options['changeStreamPreAndPostImages'] as Document | undefined;
  if (binding.keyField === '_id' || !replicated || images?.['enabled'] === true) return;
  throw new InvalidOptionError(
    `${optionOf(binding)}.key`,
    `"${binding.keyField}" needs changeStreamPreAndPostImages, so that a deletion can be told by it: call mongo.attach(), or db.runCommand({ collMod: "${localName(binding)}", changeStreamPreAndPostImages: { enabled: true } })`,
  );
}

/** Throws `InvalidOptionError` for a set that rows can't be looked up by, or grouped. */
export function checkDeclared(
  binding: Binding,
  { tags = [], unique = [] }: DeclaredSets,
  indexes: readonly IndexDescriptionInfo[],
  { options }: Pick<CollectionState, 'options'>,
): void {
  const { source, versionField } = binding;
  const collation = options['collation'] as Document | undefined;
  if (tags.length > 0 && !isSimple(collation)) {
    throw new InvalidOptionError(
      'tags',
      `queries of ${source} compare texts by the collation ${String(collation?.['locale'])}: they find rows by other values than those that name the tags`,
    );
  }
  for (const [option, sets] of [
    ['unique', unique],
    ['tags', tags],
  ] as const) {
    const odd = sets.flat().find((field) => /^\$|\.|^$/.test(field) || field === versionField);
    if (odd !== undefined)
      throw new InvalidOptionError(option, `"${odd}" of ${source} is no field of a document's top level`);
  }
  const missing = unique.find((set) => !indexes.some((index) => isUniqueOn(index, set)));
  if (missing === undefined) return;
  const fields = missing.map((field) => `"${field}": 1`).join(', ');
  throw new InvalidOptionError(
    'unique',
    `${source} needs a unique index on exactly (${missing.join(', ')}), not partial, without a collation: db.getCollection("${localName(binding)}").createIndex({ ${fields} }, { unique: true })`,
  );
}

function isUniqueOn(index: IndexDescriptionInfo, set: readonly string[]): boolean {
  const fields = Object.entries(index.key);
  const same =
    fields.length === set.length &&
    fields.every(([field, kind]) => set.includes(field) && typeof kind === 'number');
  return (
    same &&
    (index.unique === true || set.join() === '_id') &&
    index.partialFilterExpression === undefined &&
    index.hidden !== true &&
    isSimple(index['collation'] as Document | undefined)
  );
}

/** Without pre-images nobody tells what a row had before another program changed it, or a writer that died. */
function warnOfImages(
  { source, keyField }: Binding,
  { tags = [] }: DeclaredSets,
  { options }: CollectionState,
  onWarning: StoreOpenOptions['onWarning'],
): void {
  const images = options['changeStreamPreAndPostImages'] as Document | undefined;
  if (tags.length === 0 || keyField !== '_id' || images?.['enabled'] === true) return;
  const message = `${source} has no changeStreamPreAndPostImages: changes by other programs, and by writers that died, do not tell which tags a row had before. Call mongo.attach() again`;
  onWarning?.(new UnsupportedError(message));
}

/** Without their index tombstones would stay for ever, or, where the collection is gone, be there for nobody. */
async function checkTombstones({ db, tombstones }: Installation, binding: Binding): Promise<void> {
  const indexes = await indexesOf(db.collection(tombstones));
  if (indexes.some(({ name }) => name === TOMBSTONE_INDEX)) return;
  throw new InvalidOptionError(
    'mongoStore.tombstones',
    `${db.databaseName}.${tombstones} has no index "${TOMBSTONE_INDEX}" any more, needed for ${binding.source}: call mongo.attach() again`,
  );
}
