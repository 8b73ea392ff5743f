import { type DeclaredSets, InvalidOptionError, StoreContractError } from '@lockstep/core';
import { type Collection, type Document, MongoServerError } from 'mongodb';
import type { Binding } from '../rows/binding.js';
import { fromStored } from '../rows/stamp.js';
import { answered } from '../wire/answered.js';
import { CODE } from '../wire/errors.js';

/** What is recorded of an attached collection. */
export interface SourceDocument extends Document {
  /** The source. */
  readonly _id: string;
  readonly key: string;
  readonly versionField: string;
  readonly attachedAt: Date;
  /** Sets of fields whose values each change tells. */
  readonly declared?: DeclaredSets;
  /** The names of shapes in the order in which they came; the last {@link MAX_SHAPES} of them. */
  readonly shapes?: readonly string[];
  /** How many were forgotten. */
  readonly forgotten?: number;
}

/** The key of a collection's rows, and the field of their versions. */
export type KeyMapping = Pick<Binding, 'source' | 'keyField' | 'versionField'>;

/** Releases that run side by side, and those that entries may still be of, many times over. */
const MAX_SHAPES = 256;
const CLAIM_TRIES = 5;
const REKEYING =
  'running applications know its rows by those. Detach it first (mongo.detach(collection)), then attach it again';
const OPTIONS = { maxTimeMS: 5_000 } as const;

/** What `attach` records of each collection, so that nobody takes its rows for others. */
export class SourceRecords {
  readonly #collection: Collection<SourceDocument>;

  constructor(collection: Collection<SourceDocument>) {
    this.#collection = collection;
  }

  #answer<T>(statement: PromiseLike<T>): Promise<T> {
    return answered(`mongodb:${this.#collection.namespace}`, statement, OPTIONS);
  }

  async of(source: string): Promise<SourceDocument | undefined> {
    return (await this.#answer(this.#collection.findOne({ _id: source }, OPTIONS))) ?? undefined;
  }

  /** The sources, of those that are given, that are not attached by the key that they are bound by. */
  async detached(mappings: readonly KeyMapping[]): Promise<string[]> {
    const ids = { _id: { $in: mappings.map(({ source }) => source) } };
    const found = await this.#answer(this.#collection.find(ids, OPTIONS).toArray());
    const records = new Map(found.map((record) => [record._id, record]));
    return mappings.flatMap((mapping) =>
      isSameMapping(records.get(mapping.source), mapping) ? [] : [mapping.source],
    );
  }

  /**
   * Records the key of a collection's rows. Throws `InvalidOptionError` where another is recorded, unless it is of nobody
   * any more.
   */
  async claim(mapping: KeyMapping, isNobodys: (record: SourceDocument) => Promise<boolean>): Promise<void> {
    const { keyField: key, source, versionField } = mapping;
    for (let tries = 1; ; tries += 1) {
      const known = await this.of(source);
      if (isSameMapping(known, mapping)) return;
      if (known !== undefined && (tries === CLAIM_TRIES || !(await isNobodys(known)))) {
        checkMapping(known, mapping, REKEYING);
      }
      const filter =
        known === undefined
          ? { _id: source }
          : { _id: source, key: known.key, versionField: known.versionField };
      const set = { key: { $literal: key }, versionField: { $literal: versionField }, attachedAt: '$$NOW' };
      try {
        const { matchedCount, upsertedCount } = await this.#answer(
          this.#collection.updateOne(
            known === undefined ? { ...filter, key: { $exists: false } } : filter,
            [{ $set: set }],
            {
              ...OPTIONS,
              upsert: known === undefined,
            },
          ),
        );
        if (matchedCount + upsertedCount > 0) return;
      } catch (error) {
        // Somebody else has recorded it meanwhile.
        if (!(error instanceof MongoServerError) || error.code !== CODE.duplicateKey) throw error;
        if (tries === CLAIM_TRIES) throw error;
      }
    }
  }

  /** Records sets of fields in the place of those of their kind. Answers what is recorded then. */
  async declare(source: string, { tags, unique }: DeclaredSets): Promise<DeclaredSets> {
    const set = {
      ...(unique === undefined ? {} : { 'declared.unique': unique }),
      ...(tags === undefined ? {} : { 'declared.tags': tags }),
    };
    if (Object.keys(set).length > 0) {
      await this.#answer(this.#collection.updateOne({ _id: source }, { $set: set }, OPTIONS));
    }
    return (await this.of(source))?.declared ?? {};
  }

  async forget(source: string): Promise<void> {
    await this.#answer(this.#collection.deleteOne({ _id: source }, OPTIONS));
  }

  /** The number of a shape: a shape that nobody has named before gets the highest. */
  async numberOf(source: string, shape: string): Promise<number> {
    const record = (await this.#numbered(source, shape)) ?? (await this.#add(source, shape));
    if (record === undefined) throw new StoreContractError(`${source} is not attached any more`);
    return record;
  }

  async #numbered(source: string, shape: string): Promise<number | undefined> {
    return numberIn(await this.of(source), shape);
  }

  async #add(source: string, shape: string): Promise<number | undefined> {
    const shapes = { $ifNull: ['$shapes', []] };
    const all = { $concatArrays: ['$shapes', { $cond: [{ $in: [shape, '$shapes'] }, [], [shape]] }] };
    const over = { $max: [0, { $subtract: [{ $size: '$shapes' }, MAX_SHAPES] }] };
    const record = await this.#answer(
      this.#collection.findOneAndUpdate(
        { _id: source },
        [
          { $set: { shapes, forgotten: { $ifNull: ['$forgotten', 0] } } },
          { $set: { shapes: all } },
          {
            $set: {
              forgotten: { $add: ['$forgotten', over] },
              shapes: { $slice: ['$shapes', -MAX_SHAPES] },
            },
          },
        ],
        { ...OPTIONS, returnDocument: 'after' },
      ),
    );
    return numberIn(record ?? undefined, shape);
  }
}

function numberIn(record: SourceDocument | undefined, shape: string): number | undefined {
  const at = record?.shapes?.indexOf(shape) ?? -1;
  return at < 0 ? undefined : fromStored(record?.forgotten) + at + 1;
}

/** True where the collection is attached by this key, with this field for versions. */
export function isSameMapping(
  record: SourceDocument | undefined,
  { keyField, versionField }: KeyMapping,
): boolean {
  return record?.key === keyField && record.versionField === versionField;
}

/** Throws `InvalidOptionError` where the collection is attached by another key, or with another field for versions. */
export function checkMapping(record: SourceDocument, mapping: KeyMapping, advice: string): void {
  const { keyField, source, versionField } = mapping;
  if (isSameMapping(record, mapping)) return;
  const option = record.key === keyField ? 'versionField' : 'key';
  throw new InvalidOptionError(
    `collection("${nameIn(source)}").${option}`,
    `${source} is attached with key "${record.key}" and version field "${record.versionField}", not "${keyField}" and "${versionField}": ${advice}`,
  );
}

/** The collection's name without its database's. */
function nameIn(source: string): string {
  return source.slice(source.indexOf('.') + 1);
}
