import { NO_VERSION, type Version } from '@lockstep/core';
import { type AnyBulkWriteOperation, type Collection, type Document, Long } from 'mongodb';
import { type Call, statementOptions } from '../wire/call.js';
import type { ServerClock } from '../wire/server-clock.js';
import { before, stampExpression, toStored } from './stamp.js';

/** The version of a deleted row, kept for as long as a flush can be late. */
export interface TombstoneDocument extends Document {
  readonly _id: TombstoneId;
  /** Absent where only {@link Tombstones.lock} was called. */
  readonly v?: Long;
  readonly at: Date;
}

export interface TombstoneId {
  /** The source. */
  readonly s: string;
  /** The canonical key; empty: all rows of the source (it was dropped). */
  readonly k: string;
}

/** A key's new tombstone: above what it was, at the server's clock or later. */
export interface DeletedKey {
  readonly key: string;
  readonly above: Version;
}

/** No key is empty, so this one stands for a whole source. */
export const WHOLE_SOURCE = '';

const ONE_MORE: Document = { $add: [{ $ifNull: ['$holds', 0] }, 1] };

/** The tombstones of one database. */
export class Tombstones {
  readonly collection: Collection<TombstoneDocument>;
  readonly #clock: ServerClock;

  constructor(collection: Collection<TombstoneDocument>, clock: ServerClock) {
    this.collection = collection;
    this.#clock = clock;
  }

  /** The highest tombstone that stands for each key; `0` where there is none. */
  async versions(source: string, keys: readonly string[], call: Call): Promise<Version[]> {
    const ids = [...keys, WHOLE_SOURCE].map((k) => ({ s: source, k }));
    const found = await this.collection
      .find({ _id: { $in: ids } }, { ...statementOptions(call), projection: { v: 1 } })
      .toArray();
    const byKey = new Map(found.map((document) => [document._id.k, this.#clock.versionOf(document.v)]));
    const whole = byKey.get(WHOLE_SOURCE) ?? NO_VERSION;
    return keys.map((key) => Math.max(whole, byKey.get(key) ?? NO_VERSION));
  }

  /** Stamps tombstones by the server's clock, and says their versions. Keys must be distinct. */
  async stamp(
    source: string,
    deleted: readonly DeletedKey[],
    call: Call,
    lastStart?: Date,
  ): Promise<Version[]> {
    const operations = deleted.map(
      ({ key, above }): AnyBulkWriteOperation<TombstoneDocument> => ({
        updateOne: {
          filter: { _id: { $eq: { s: source, k: key } } },
          update: [{ $set: { v: before(lastStart, stampExpression('v', above)), at: '$$NOW' } }],
          upsert: true,
        },
      }),
    );
    await this.collection.bulkWrite(operations, {
      ...statementOptions(call),
      ordered: call.session !== undefined,
    });
    return this.versions(
      source,
      deleted.map(({ key }) => key),
      call,
    );
  }

  /**
   * Makes the transaction conflict with any that leaves a tombstone of these keys meanwhile: it has read none,
   * or older ones, and inserts rows below. A tombstone is written by both then, the row perhaps by one only.
   * Outside a transaction: waits for those that hold them.
   */
  async lock(source: string, keys: readonly string[], call: Call, lastStart?: Date): Promise<void> {
    const operations = keys.map(
      (key): AnyBulkWriteOperation<TombstoneDocument> => ({
        updateOne: {
          filter: { _id: { $eq: { s: source, k: key } } },
          // A number that grows is a write each time; one that changes nothing would not conflict.
          update: [{ $set: { holds: before(lastStart, ONE_MORE), at: { $ifNull: ['$at', '$$NOW'] } } }],
          upsert: true,
        },
      }),
    );
    await this.collection.bulkWrite(operations, { ...statementOptions(call), ordered: true });
  }

  /** Leaves tombstones at buffered deletions' own versions, unless higher ones stand. Keys must be distinct. */
  async place(
    source: string,
    deletions: readonly { readonly key: string; readonly version: Version }[],
    call: Call,
  ): Promise<void> {
    const operations = deletions.map(
      ({ key, version }): AnyBulkWriteOperation<TombstoneDocument> => ({
        updateOne: {
          filter: { _id: { $eq: { s: source, k: key } } },
          update: [
            { $set: { v: { $max: [{ $ifNull: ['$v', Long.ZERO] }, toStored(version)] }, at: '$$NOW' } },
          ],
          upsert: true,
        },
      }),
    );
    await this.collection.bulkWrite(operations, {
      ...statementOptions(call),
      ordered: call.session !== undefined,
    });
  }
}
