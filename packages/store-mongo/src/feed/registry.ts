import type {
  ConsumerRecord,
  ConsumerRegistry,
  ConsumerState,
  Epochs,
  RecordedCollection,
  RecordedConsumer,
} from '@lockstep/core';
import { type Collection, type Document, type Filter, Long, MaxKey, MinKey, MongoServerError } from 'mongodb';
import { fromStored, toStored } from '../rows/stamp.js';
import { answered } from '../wire/answered.js';
import { CODE } from '../wire/errors.js';

/** The record of one consumer and one source. */
export interface ConsumerDocument extends Document {
  readonly _id: { readonly consumer: string; readonly source: string };
  readonly collections: readonly RecordedCollection[];
  readonly revision: Long | number;
  readonly changedAt: Date;
  readonly epoch: Long | number;
  /** The epoch that was replayed last. */
  readonly replayed: Long | number;
  readonly identity?: string | null;
  readonly left: readonly string[];
  readonly observedAt: Date;
  readonly holder?: string | null;
  readonly heldUntil?: Date;
  readonly ended?: boolean;
  readonly switchedOff?: boolean;
}

/** A consumer's position in the feed, and its first one. */
export interface ConsumerPositions {
  /** Told before the first record of a consumer's source: its feed begins here. */
  begin(consumer: string, source: string): Promise<void>;
  /** For {@link ConsumerRecord.position}, by source. */
  of(consumer: string, sources: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

/** An identity that was replaced returns only when the present one was not observed for so long. */
const RETURN_MS = 5_000;
const MAX_LEFT = 16;
const OPTIONS = { maxTimeMS: 5_000 } as const;
const UPSERT_TRIES = 5;

/** The registry of consumers in a collection of the database: one document per consumer and source. */
export class Registry implements ConsumerRegistry {
  readonly #collection: Collection<ConsumerDocument>;
  readonly #positions: ConsumerPositions;

  constructor(collection: Collection<ConsumerDocument>, positions: ConsumerPositions) {
    this.#collection = collection;
    this.#positions = positions;
  }

  #answer<T>(statement: PromiseLike<T>): Promise<T> {
    return answered(`mongodb:${this.#collection.namespace}`, statement, OPTIONS);
  }

  /** Creates the index that a source's records are found by. Idempotent. */
  async prepare(): Promise<void> {
    await this.#answer(this.#collection.createIndex({ '_id.source': 1 }, OPTIONS));
  }

  async register(
    consumer: string,
    collections: readonly RecordedCollection[],
  ): Promise<readonly ConsumerRecord[]> {
    const bySource = Map.groupBy(collections, ({ source }) => source);
    for (const [source, own] of bySource) {
      const known = await this.#answer(this.#collection.findOne({ _id: idOf(consumer, source) }, OPTIONS));
      if (known === null) await this.#positions.begin(consumer, source);
      await this.#record(consumer, source, own);
      if (known === null) await this.#inherit(consumer, source);
    }
    return await this.read(consumer, [...bySource.keys()]);
  }

  /** A source that is recorded while the others are switched off is so, too. */
  async #inherit(consumer: string, source: string): Promise<void> {
    const filter = { ...ofAll(consumer), switchedOff: true };
    if ((await this.#answer(this.#collection.findOne(filter, OPTIONS))) === null) return;
    const own = { _id: idOf(consumer, source) };
    await this.#answer(this.#collection.updateOne(own, { $set: { switchedOff: true } }, OPTIONS));
  }

  async #record(consumer: string, source: string, own: readonly RecordedCollection[]): Promise<void> {
    const recorded = own.map(({ name, source: of, keyPrefix, holeTtlMs, holeOnEmpty, lookup, tags }) => {
      const each = { name, source: of, keyPrefix, holeTtlMs, holeOnEmpty };
      return { ...each, ...(lookup && { lookup }), ...(tags && { tags }) };
    });
    const mine = { $literal: recorded };
    const before = { $ifNull: ['$collections', []] };
    const others = {
      $filter: {
        input: before,
        cond: { $not: { $in: ['$$this.name', { $literal: own.map(({ name }) => name) }] } },
      },
    };
    const same = { $setIsSubset: [mine, before] };
    const update: Document[] = [
      { $set: { same } },
      {
        $set: {
          collections: { $cond: ['$same', before, { $concatArrays: [others, mine] }] },
          revision: { $cond: ['$same', '$revision', { $add: [{ $ifNull: ['$revision', Long.ZERO] }, 1] }] },
          changedAt: { $cond: ['$same', '$changedAt', '$$NOW'] },
          epoch: { $ifNull: ['$epoch', Long.ZERO] },
          replayed: { $ifNull: ['$replayed', Long.ZERO] },
          left: { $ifNull: ['$left', []] },
          observedAt: { $ifNull: ['$observedAt', new Date(0)] },
          ended: false,
        },
      },
      { $unset: 'same' },
    ];
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#answer(
          this.#collection.updateOne({ _id: idOf(consumer, source) }, update, {
            ...OPTIONS,
            upsert: true,
          }),
        );
        return;
      } catch (error) {
        // Somebody else has made the document in between: now there is one to update.
        const met = error instanceof MongoServerError && error.code === CODE.duplicateKey;
        if (!met || tries === UPSERT_TRIES) throw error;
      }
    }
  }

  async read(consumer: string, sources: readonly string[]): Promise<readonly ConsumerRecord[]> {
    const ids = sources.map((source) => idOf(consumer, source));
    const [documents, positions] = await Promise.all([
      this.#answer(
        this.#collection
          .aggregate<ConsumerDocument & { now: Date }>(
            [{ $match: { _id: { $in: ids } } }, { $set: { now: '$$NOW' } }],
            OPTIONS,
          )
          .toArray(),
      ),
      this.#positions.of(consumer, sources),
    ]);
    return documents.map(
      ({ _id: { source }, collections, changedAt, identity, left, now, switchedOff, ...numbers }) => ({
        consumer,
        source,
        revision: fromStored(numbers.revision),
        epoch: fromStored(numbers.epoch),
        collections,
        identity: identity ?? undefined,
        left,
        switchedOff: switchedOff === true,
        replayed: fromStored(numbers.replayed) === fromStored(numbers.epoch),
        changedAgoMs: Math.max(0, now.getTime() - changedAt.getTime()),
        position: positions.get(source),
      }),
    );
  }

  async consumers(sources: readonly string[]): Promise<readonly RecordedConsumer[]> {
    const ofThese = { '_id.source': { $in: [...sources] } } as Filter<ConsumerDocument>;
    const documents = await this.#answer(this.#collection.find(ofThese, OPTIONS).toArray());
    return documents.map(({ _id: { consumer, source }, collections, ended }) => {
      return { consumer, source, collections: collections.map(({ name }) => name), ended: ended === true };
    });
  }

  async end(consumer: string, sources: readonly string[]): Promise<void> {
    const ofAll = ofThese(consumer, sources);
    await this.#answer(this.#collection.updateMany(ofAll, { $set: { ended: true } }, OPTIONS));
  }

  async switch(consumer: string, off: boolean): Promise<readonly string[]> {
    const filter = ofAll(consumer);
    await this.#answer(this.#collection.updateMany(filter, { $set: { switchedOff: off } }, OPTIONS));
    const documents = await this.#answer(this.#collection.find(filter, OPTIONS).toArray());
    return documents.map(({ _id: { source } }) => source);
  }

  async forget(consumer: string, sources: readonly string[]): Promise<void> {
    await this.#answer(this.#collection.deleteMany(ofThese(consumer, sources), OPTIONS));
  }

  async observe(
    consumer: string,
    sources: readonly string[],
    identity: string,
  ): Promise<readonly ConsumerRecord[]> {
    const now = { $literal: identity };
    const other = { $ne: ['$identity', now] };
    const young = { $lt: [{ $subtract: ['$$NOW', '$observedAt'] }, RETURN_MS] };
    const barred = { $and: [other, { $in: [now, '$left'] }, young] };
    const replaced = { $cond: [{ $gt: ['$identity', null] }, ['$identity'], []] };
    await this.#answer(
      this.#collection.updateMany(
        ofThese(consumer, sources),
        [
          { $set: { barred, changes: other } },
          { $set: { changes: { $and: ['$changes', { $not: '$barred' }] } } },
          {
            $set: {
              left: {
                $cond: ['$changes', { $slice: [{ $concatArrays: ['$left', replaced] }, -MAX_LEFT] }, '$left'],
              },
              identity: { $cond: ['$changes', now, '$identity'] },
              epoch: { $cond: ['$changes', { $add: ['$epoch', 1] }, '$epoch'] },
              holder: { $cond: ['$changes', null, '$holder'] },
              observedAt: { $cond: ['$barred', '$observedAt', '$$NOW'] },
              ended: false,
            },
          },
          { $unset: ['barred', 'changes'] },
        ],
        OPTIONS,
      ),
    );
    return await this.read(consumer, sources);
  }

  async lease(consumer: string, epochs: Epochs, holder: string, leaseMs: number): Promise<readonly string[]> {
    const held: string[] = [];
    const mine = { $literal: holder };
    const free = {
      $or: [
        { $not: { $gt: ['$holder', null] } },
        { $eq: ['$holder', mine] },
        { $lte: ['$heldUntil', '$$NOW'] },
      ],
    };
    for (const [source, epoch] of epochs) {
      const { matchedCount } = await this.#answer(
        this.#collection.updateOne(
          {
            _id: idOf(consumer, source),
            epoch: toStored(epoch),
            $expr: { $and: [{ $ne: ['$replayed', '$epoch'] }, free] },
          } as Filter<ConsumerDocument>,
          [{ $set: { holder: mine, heldUntil: { $add: ['$$NOW', leaseMs] } } }],
          OPTIONS,
        ),
      );
      if (matchedCount > 0) held.push(source);
    }
    return held;
  }

  async replayed(consumer: string, epochs: Epochs, holder: string): Promise<void> {
    for (const [source, epoch] of epochs) {
      const of = { _id: idOf(consumer, source), epoch: toStored(epoch), holder };
      const filter = of as Filter<ConsumerDocument>;
      await this.#answer(
        this.#collection.updateOne(filter, { $set: { replayed: toStored(epoch) } }, OPTIONS),
      );
    }
  }

  async release(consumer: string, holder: string): Promise<void> {
    const filter = { ...ofAll(consumer), holder } as Filter<ConsumerDocument>;
    await this.#answer(this.#collection.updateMany(filter, { $set: { holder: null } }, OPTIONS));
  }

  /** True while the registry is in all of these states. */
  async stands(states: readonly ConsumerState[]): Promise<boolean> {
    const [first] = states;
    if (first === undefined) return true;
    const ids = states.map(({ consumer, source }) => idOf(consumer, source));
    const found = await this.#answer(
      this.#collection
        .find({ _id: { $in: ids } }, { ...OPTIONS, projection: { revision: 1, epoch: 1 } })
        .toArray(),
    );
    return states.every(({ source, revision, epoch }) => {
      const document = found.find(({ _id }) => _id.source === source);
      return fromStored(document?.revision) === revision && fromStored(document?.epoch) === epoch;
    });
  }

  /** Nobody's rows are kept in step any more. */
  async forgetAll(source: string): Promise<void> {
    await this.#answer(
      this.#collection.deleteMany({ '_id.source': source } as Filter<ConsumerDocument>, OPTIONS),
    );
  }
}

function idOf(consumer: string, source: string): ConsumerDocument['_id'] {
  return { consumer, source };
}

function ofAll(consumer: string): Filter<ConsumerDocument> {
  const ids = { $gt: { consumer, source: new MinKey() }, $lt: { consumer, source: new MaxKey() } };
  return { _id: ids as Document } as Filter<ConsumerDocument>;
}

function ofThese(consumer: string, sources: readonly string[]): Filter<ConsumerDocument> {
  return { _id: { $in: sources.map((source) => idOf(consumer, source)) } };
}
