import { NO_VERSION, type Version } from '@lockstep/core';
import { type Collection, type Document, type Filter, Long, type ResumeToken } from 'mongodb';
import { fromStored, toStored } from '../rows/stamp.js';
import { answered } from '../wire/answered.js';

/** The position of a group of readers, and the one of them that reads. One per set of sources. */
export interface PositionDocument extends Document {
  readonly _id: string;
  readonly sources: readonly string[];
  /** On whose behalf; absent: on that of whoever takes changes. */
  readonly consumer?: string;
  readonly owner?: string;
  /** Grows with each change of owner: what an earlier owner still sends does nothing. */
  readonly epoch?: Long | number;
  readonly expiresAt?: Date;
  /** Everything before it has been handled. */
  readonly token?: ResumeToken;
  /** When that was, by the server's clock. */
  readonly at?: Date;
  /** A position some time before: from it on, a new reader learns which versions are new. */
  readonly warm?: ResumeToken;
  readonly warmAt?: Date;
  /** The highest version seen before it, by source. */
  readonly highest?: readonly { readonly s: string; readonly v: Long | number }[];
  /** `null` while its reader has not caught up. */
  readonly pending?: number | null;
  readonly oldestAt?: Date | null;
  /** Events that were set aside, ever. */
  readonly aside?: Long | number;
}

/** One process's right to read for its group. */
export interface Lease {
  readonly group: string;
  readonly owner: string;
  readonly epoch: number;
}

export interface Mark {
  readonly token: ResumeToken;
  /** By the server's clock; not before the token's events. */
  readonly atMs: number;
}

export interface Progress {
  readonly token: ResumeToken;
  readonly warm: Mark | undefined;
  readonly highest: ReadonlyMap<string, Version>;
  /** Events set aside since the last beat. */
  readonly aside: number;
  /** Events that were read and not handled; `undefined` while more wait unread. */
  readonly waiting: { readonly count: number; readonly oldestAtMs: number | undefined } | undefined;
}

export interface Start {
  readonly token: ResumeToken;
  /** At or before `token`. */
  readonly warm: Mark | undefined;
  readonly highest: Map<string, Version>;
  /** Sources that have no position at all. */
  readonly unknown: readonly string[];
}

/** The bound of each statement, in ms: a heartbeat that waits longer has come too late anyway. */
const TIMEOUT_MS = 5_000;
const OPTIONS = { maxTimeMS: TIMEOUT_MS } as const;

/** The readers of which one reads: of the same sources, for the same consumer. */
export interface Group {
  readonly sources: readonly string[];
  readonly consumer: string | undefined;
}

function idOf({ sources, consumer }: Group): string {
  const names = [...sources].sort().join(',');
  return consumer === undefined ? `feed:${names}` : `feed of ${JSON.stringify(consumer)}:${names}`;
}

/** The documents of `lockstep_feed`. */
export class Positions {
  readonly #collection: Collection<PositionDocument>;
  readonly #leaseMs: number;

  constructor(collection: Collection<PositionDocument>, leaseMs: number) {
    this.#collection = collection;
    this.#leaseMs = leaseMs;
  }

  #answer<T>(statement: PromiseLike<T>): Promise<T> {
    return answered(`mongodb:${this.#collection.namespace}`, statement, OPTIONS);
  }

  /** Creates the index that the positions of a source are found by. Idempotent. */
  async prepare(): Promise<void> {
    await this.#answer(this.#collection.createIndex({ sources: 1 }, OPTIONS));
  }

  /** Makes this process the group's reader, unless another one's lease stands. */
  async acquire(readers: Group, owner: string): Promise<Lease | undefined> {
    const group = idOf(readers);
    const document = await this.#answer(
      this.#collection.findOneAndUpdate(
        { _id: group, $expr: { $lt: [{ $ifNull: ['$expiresAt', new Date(0)] }, '$$NOW'] } },
        [
          {
            $set: {
              owner,
              epoch: { $add: [{ $ifNull: ['$epoch', Long.ZERO] }, 1] },
              expiresAt: { $add: ['$$NOW', this.#leaseMs] },
              // The last reader's count does not hold any more.
              pending: null,
            },
          },
        ],
        { ...OPTIONS, returnDocument: 'after' },
      ),
    );
    if (document !== null) return { group, owner, epoch: fromStored(document.epoch) };
    // An upsert must not depend on the time, which the lease does.
    if ((await this.#answer(this.#collection.findOne({ _id: group }, OPTIONS))) === null)
      await this.#create(group, readers);
    return undefined;
  }

  async #create(group: string, { sources, consumer }: Group): Promise<void> {
    const names = { sources: [...sources].sort(), ...(consumer === undefined ? {} : { consumer }) };
    await this.#answer(
      this.#collection.updateOne(
        { _id: group },
        { $setOnInsert: { ...names, epoch: Long.ZERO } },
        { ...OPTIONS, upsert: true },
      ),
    );
  }

  /**
   * Renews the lease and saves how far its reader has come. The server's time in ms since the epoch;
   * `undefined`: the lease is another's by now.
   */
  async beat(lease: Lease, progress: Progress, release = false): Promise<number | undefined> {
    const { token, warm, highest, waiting, aside } = progress;
    const oldestAt = waiting?.oldestAtMs === undefined ? null : new Date(waiting.oldestAtMs);
    const document = await this.#answer(
      this.#collection.findOneAndUpdate(
        { _id: lease.group, owner: lease.owner, epoch: toStored(lease.epoch) },
        [
          {
            $set: {
              expiresAt: release ? new Date(0) : { $add: ['$$NOW', this.#leaseMs] },
              pending: waiting?.count ?? null,
              oldestAt,
              ...(aside === 0 ? {} : { aside: { $add: [{ $ifNull: ['$aside', Long.ZERO] }, aside] } }),
              ...(waiting === undefined ? {} : { at: oldestAt ?? '$$NOW' }),
              ...(token === undefined ? {} : { token: { $literal: token } }),
              ...(warm === undefined ? {} : { warm: { $literal: warm.token }, warmAt: new Date(warm.atMs) }),
              highest: { $literal: [...highest].map(([s, v]) => ({ s, v: toStored(v) })) },
              beatAt: '$$NOW',
            },
          },
        ],
        { ...OPTIONS, returnDocument: 'after', projection: { beatAt: 1 } },
      ),
    );
    const beatAt: unknown = document?.['beatAt'];
    return beatAt instanceof Date ? beatAt.getTime() : undefined;
  }

  /** All documents that cover one of the sources. */
  async covering(sources: readonly string[]): Promise<PositionDocument[]> {
    return await this.#answer(this.#collection.find({ sources: { $in: [...sources] } }, OPTIONS).toArray());
  }

  /**
   * The start: for each source the furthest that any of the consumer's groups has come, and of those the
   * earliest. Resume tokens are made to be compared as text.
   */
  async startOf({ sources, consumer }: Group): Promise<Start> {
    const documents = await this.covering(sources);
    const highest = new Map<string, Version>();
    const unknown: string[] = [];
    let earliest: PositionDocument | undefined;
    for (const source of sources) {
      let furthest: PositionDocument | undefined;
      for (const document of documents) {
        if (!document.sources.includes(source)) continue;
        for (const { s, v } of document.highest ?? []) {
          if (s === source) highest.set(s, Math.max(highest.get(s) ?? NO_VERSION, fromStored(v)));
        }
        // Others' positions say nothing of this consumer's cache; the highest version is the source's.
        if ((document.consumer ?? consumer) !== consumer) continue;
        if (textOf(document.token) > textOf(furthest?.token)) furthest = document;
      }
      if (furthest?.token === undefined) {
        unknown.push(source);
        continue;
      }
      if (earliest === undefined || textOf(furthest.token) < textOf(earliest.token)) earliest = furthest;
    }
    if (earliest === undefined) return { token: undefined, warm: undefined, highest, unknown };
    const { token, at, warm = token, warmAt = at } = earliest;
    return {
      token,
      warm: warmAt === undefined ? undefined : { token: warm, atMs: warmAt.getTime() },
      highest,
      unknown,
    };
  }

  /** Makes the first position of a source that has none, so that nothing from now on is missed. */
  async seed(source: string, token: ResumeToken): Promise<void> {
    if ((await this.covering([source])).length > 0) return;
    await this.#answer(
      this.#collection.updateOne(
        { _id: `attached:${source}` },
        [{ $set: { sources: { $literal: [source] }, token: { $literal: token }, at: '$$NOW' } }],
        { ...OPTIONS, upsert: true },
      ),
    );
  }

  /**
   * Makes the first position of a consumer's source: nothing from now on is missed, and nothing before concerns it.
   * After a reader without a consumer, nobody knows whose cache it served: its position counts.
   */
  async begin(consumer: string, source: string, token: ResumeToken): Promise<void> {
    const readers = (await this.covering([source])).filter(({ _id }) => _id.startsWith('feed:'));
    if (readers.some((document) => document.token !== undefined)) return;
    const first = { sources: [source], consumer, token };
    await this.#answer(
      this.#collection.updateOne(
        { _id: `begun:${JSON.stringify([consumer, source])}` },
        [
          {
            $set: {
              ...Object.fromEntries(Object.entries(first).map(([k, v]) => [k, { $literal: v }])),
              at: '$$NOW',
            },
          },
        ],
        { ...OPTIONS, upsert: true },
      ),
    );
  }

  /** When everything of each source was dealt with on a consumer's behalf, in ms by the server's clock. */
  async dealtWith(consumer: string, sources: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const documents = await this.covering(sources);
    return new Map(
      sources.flatMap((source) => {
        const times = documents.flatMap(({ at, consumer: whose, sources: covered }) =>
          (whose ?? consumer) === consumer && covered.includes(source) && at !== undefined
            ? [at.getTime()]
            : [],
        );
        return times.length === 0 ? [] : [[source, Math.max(...times)]];
      }),
    );
  }

  async forget(source: string): Promise<void> {
    const begun: Filter<PositionDocument> = { _id: { $regex: /^begun:/ }, sources: source };
    await this.#answer(this.#collection.deleteMany({ $or: [{ _id: `attached:${source}` }, begun] }, OPTIONS));
  }
}

/** Orders tokens: they are made to be compared as text. */
export function textOf(token: ResumeToken): string {
  const data = (token as { _data?: unknown } | null | undefined)?._data;
  return typeof data === 'string' ? data : '';
}
