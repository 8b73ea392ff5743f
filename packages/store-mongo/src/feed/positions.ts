import { NO_VERSION, type Version } from '@lockstep/core';
import { type Collection, type Document, Long, MongoServerError, type ResumeToken } from 'mongodb';
import { CODE } from '../errors.js';
import { fromStored, toStored } from '../stamp.js';

/** Where a group of readers stands, and which of them reads. One per set of sources. */
export interface PositionDocument extends Document {
  readonly _id: string;
  readonly sources: readonly string[];
  readonly owner?: string;
  /** Grows with each change of owner: what an earlier owner still sends does nothing. */
  readonly epoch?: Long | number;
  readonly expiresAt?: Date;
  /** Everything before it has been handled. */
  readonly token?: ResumeToken;
  /** When that was, by the server's clock. */
  readonly at?: Date;
  /** The highest version seen before it, by source. */
  readonly highest?: readonly { readonly s: string; readonly v: Long | number }[];
  readonly pending?: number;
  readonly oldestAt?: Date | null;
}

/** One process's right to read for its group. */
export interface Lease {
  readonly group: string;
  readonly owner: string;
  readonly epoch: number;
}

export interface Progress {
  readonly token: ResumeToken;
  readonly highest: ReadonlyMap<string, Version>;
  readonly pending: number;
  readonly oldestAtMs: number | undefined;
}

export interface Start {
  readonly token: ResumeToken;
  readonly highest: Map<string, Version>;
}

/** The bound of each statement, in ms: a heartbeat that waits longer has come too late anyway. */
const TIMEOUT_MS = 5_000;
const OPTIONS = { maxTimeMS: TIMEOUT_MS } as const;

export function groupOf(sources: readonly string[]): string {
  return `feed:${[...sources].sort().join(',')}`;
}

/** The documents of `lockstep_feed`. */
export class Positions {
  readonly #collection: Collection<PositionDocument>;
  readonly #leaseMs: number;

  constructor(collection: Collection<PositionDocument>, leaseMs: number) {
    this.#collection = collection;
    this.#leaseMs = leaseMs;
  }

  /** Makes this process the group's reader, unless another one's lease stands. */
  async acquire(sources: readonly string[], owner: string): Promise<Lease | undefined> {
    const group = groupOf(sources);
    try {
      const document = await this.#collection.findOneAndUpdate(
        { _id: group, $expr: { $lt: [{ $ifNull: ['$expiresAt', new Date(0)] }, '$$NOW'] } },
        [
          {
            $set: {
              sources: { $literal: [...sources].sort() },
              owner,
              epoch: { $add: [{ $ifNull: ['$epoch', Long.ZERO] }, 1] },
              expiresAt: { $add: ['$$NOW', this.#leaseMs] },
            },
          },
        ],
        { ...OPTIONS, upsert: true, returnDocument: 'after' },
      );
      return document === null ? undefined : { group, owner, epoch: fromStored(document.epoch) };
    } catch (error) {
      // The upsert met the document of a lease that stands.
      if (error instanceof MongoServerError && error.code === CODE.duplicateKey) return undefined;
      throw error;
    }
  }

  /** Renews the lease and saves how far its reader has come. False: it is another's by now. */
  async beat(
    lease: Lease,
    { token, highest, pending, oldestAtMs }: Progress,
    release = false,
  ): Promise<boolean> {
    const { matchedCount } = await this.#collection.updateOne(
      { _id: lease.group, owner: lease.owner, epoch: toStored(lease.epoch) },
      [
        {
          $set: {
            expiresAt: release ? new Date(0) : { $add: ['$$NOW', this.#leaseMs] },
            pending,
            oldestAt: oldestAtMs === undefined ? null : new Date(oldestAtMs),
            at: oldestAtMs === undefined ? '$$NOW' : new Date(oldestAtMs),
            ...(token === undefined ? {} : { token: { $literal: token } }),
            highest: { $literal: [...highest].map(([s, v]) => ({ s, v: toStored(v) })) },
          },
        },
      ],
      OPTIONS,
    );
    return matchedCount === 1;
  }

  /** All documents that cover one of the sources. */
  async covering(sources: readonly string[]): Promise<PositionDocument[]> {
    return await this.#collection.find({ sources: { $in: [...sources] } }, OPTIONS).toArray();
  }

  /**
   * Where to start: for each source the furthest that any group has come, and of those the earliest.
   * Resume tokens are made to be compared as text.
   */
  async startOf(sources: readonly string[]): Promise<Start> {
    const documents = await this.covering(sources);
    const highest = new Map<string, Version>();
    let earliest: ResumeToken;
    for (const source of sources) {
      let furthest: ResumeToken;
      for (const { sources: covered, token, highest: seen } of documents) {
        if (!covered.includes(source)) continue;
        for (const { s, v } of seen ?? []) {
          if (s === source) highest.set(s, Math.max(highest.get(s) ?? NO_VERSION, fromStored(v)));
        }
        if (textOf(token) > textOf(furthest)) furthest = token;
      }
      if (furthest !== undefined && (earliest === undefined || textOf(furthest) < textOf(earliest))) {
        earliest = furthest;
      }
    }
    return { token: earliest, highest };
  }

  /** Makes the first position of a source that has none, so that nothing from now on is missed. */
  async seed(source: string, token: ResumeToken): Promise<void> {
    if ((await this.covering([source])).length > 0) return;
    await this.#collection.updateOne(
      { _id: `attached:${source}` },
      [{ $set: { sources: { $literal: [source] }, token: { $literal: token }, at: '$$NOW' } }],
      { ...OPTIONS, upsert: true },
    );
  }

  async forget(source: string): Promise<void> {
    await this.#collection.deleteOne({ _id: `attached:${source}` }, OPTIONS);
  }
}

function textOf(token: ResumeToken): string {
  const data = (token as { _data?: unknown } | null | undefined)?._data;
  return typeof data === 'string' ? data : '';
}
