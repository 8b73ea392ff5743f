import { withinCacheTime } from '../cache/cache-time.js';
import { MAX_BATCH_BYTES } from '../cache/payload-bytes.js';
import type { CollectionContext } from '../collection/context.js';
import type { BufferCommand, CacheReply, Payload } from '../contracts/cache-commands.js';
import type { BufferRefusal } from '../contracts/events.js';
import type { Version } from '../contracts/version.js';
import { callerSleep } from '../kit/wait.js';
import { copyOf } from '../values/copy.js';
import { GroupCommit } from '../write/group-commit.js';
import type { PendingWrite, WriteRequest } from '../write/pending-write.js';
import type { MadePayload } from '../write/publish.js';
import type { OpenedCache } from './opened.js';
import type { BurstSettings } from './settings.js';

/** A blind write as the journal takes it. */
export interface JournalWrite<Value> extends WriteRequest {
  /** `null`: a deletion. */
  readonly value: Value | null;
  /** A promise, which does not reject, while it is being compressed; `undefined` then: it can't be cached. */
  readonly payload: MadePayload | Promise<MadePayload>;
}

/** A journaled write. Of several that were merged all callers get the last one's. */
export interface Journaled<Value> {
  readonly value: Value | null;
  readonly version: Version;
  readonly coalesced: boolean;
  readonly cacheMs: number;
}

export interface JournalOptions {
  readonly burst: BurstSettings;
  readonly cache: OpenedCache;
  /** Why the cache can't keep what is buffered; `undefined`: it can. */
  readonly unkept: () => BufferRefusal | undefined;
  /** True while a synchronous write of the key is under way in this process. */
  readonly isBusy: (key: string) => boolean;
  /** Brings the row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
  readonly onJournaled: (keys: readonly { readonly key: string; readonly mark: number }[]) => void;
  readonly onRefused: (key: string, reason: BufferRefusal) => void;
}

/** `loaded`: the key's row was loaded into the cache for the write, since there was nothing to stand on. */
type Ground = 'as it is' | 'loaded';
/** `undefined`: not journaled, and it won't be. */
type Answer<Value> = Journaled<Value> | undefined;
type Write<Value> = PendingWrite<JournalWrite<Value>, Answer<Value>, Ground>;
/** With its mark in the index. */
type IndexedWrite<Value> = { readonly write: Write<Value>; readonly mark: number };

const MAX_WAITING = 10_000;
/** No bounds on waiting: `refusal` is asked before a write is submitted, and each batch has its own time-outs. */
const BOUNDS = {
  maxRows: 512,
  maxBytes: MAX_BATCH_BYTES,
  maxInFlight: 2,
  maxWaiting: Number.POSITIVE_INFINITY,
  queueTimeoutMs: Number.POSITIVE_INFINITY,
};
/** How long the cache is left alone after it could not be reached. */
const AWAY_MS = 1_000;

/**
 * Batches of buffered writes go into the cache, which acknowledges them before the store has them: two round trips,
 * index first. A write that was not journaled is answered with `undefined`, once it is certain that it won't be
 * applied any more: its caller then goes to the store.
 */
export class Journal<Value> extends GroupCommit<JournalWrite<Value>, Answer<Value>, Ground> {
  readonly #collection: CollectionContext<Value>;
  readonly #options: JournalOptions;
  #awayUntilMs = Number.NEGATIVE_INFINITY;

  constructor(collection: CollectionContext<Value>, options: JournalOptions) {
    const { clock, settings } = collection;
    super({ clock, collection: settings.name, bounds: BOUNDS });
    this.#collection = collection;
    this.#options = options;
  }

  /** Why nothing more may wait now: too much does, or the cache could not be reached a moment ago. */
  get refusal(): BufferRefusal | undefined {
    if (this.waiting >= MAX_WAITING) return 'full';
    return this.#reachable ? undefined : 'away';
  }

  get #reachable(): boolean {
    return this.#collection.clock.monotonic() >= this.#awayUntilMs;
  }

  protected override merged(_earlier: JournalWrite<Value>, later: JournalWrite<Value>): JournalWrite<Value> {
    return later;
  }

  protected override prepare(
    { key }: JournalWrite<Value>,
    before: Ground | undefined,
  ): Ground | Promise<Ground> {
    if (before === undefined) return 'as it is';
    const loaded = (): Ground => 'loaded';
    return this.#options.load(key).then(loaded, loaded);
  }

  protected override async commit(batch: readonly Write<Value>[]): Promise<void> {
    const { clock } = this.#collection;
    const { burst, isBusy, unkept } = this.#options;
    const startedAtMs = clock.monotonic();
    if (batch.some(({ request }) => request.payload instanceof Promise)) await settled(batch);
    const refusal = unkept();
    const free = batch.filter((write) => {
      if (write.request.payload === undefined) this.#refuse(write, 'unfit');
      // A later write must not be numbered before an earlier one that is on its way to the store.
      else if (isBusy(write.key)) this.#answer(write, undefined);
      else if (refusal !== undefined) this.#refuse(write, refusal);
      else if (!this.#reachable) this.#refuse(write, 'away');
      else return true;
      return false;
    });
    const { nowMs, indexed } = await this.#index(free);
    if (indexed.length === 0) return;
    const sentAtMs = clock.monotonic();
    const replies = await this.#execute(indexed, nowMs + burst.ackTimeoutMs);
    const lost: Write<Value>[] = [];
    const journaled: { key: string; mark: number }[] = [];
    indexed.forEach(({ mark, write }, i) => {
      const reply = replies[i];
      if (reply === undefined || reply instanceof Error || reply.kind !== 'buffer') lost.push(write);
      else if (reply.outcome === 'buffered') {
        journaled.push({ key: write.key, mark });
        this.#answer(write, { version: reply.version, cacheMs: clock.monotonic() - startedAtMs });
      } else if (reply.outcome === 'late') this.#refuse(write, 'late');
      // A write has to know what it stands on: write-behind loads it, once.
      else if (burst.always && write.prepared !== 'loaded') this.again(write);
      else this.#refuse(write, 'unfit');
    });
    if (journaled.length > 0) this.#options.onJournaled(journaled);
    if (lost.length > 0) await this.#lose(lost, sentAtMs);
  }

  /** The index first: it names every unflushed entry, at any instant. Answers the writes that it has taken. */
  async #index(
    writes: readonly Write<Value>[],
  ): Promise<{ readonly nowMs: number; readonly indexed: readonly IndexedWrite<Value>[] }> {
    const { burst, cache } = this.#options;
    if (writes.length === 0) return { nowMs: 0, indexed: [] };
    const keys = writes.map(({ key }) => key);
    try {
      const { marks, nowMs } = await this.#bounded(cache.index.add(keys, burst.maxUnflushed));
      const indexed = writes.flatMap((write, i) => {
        const mark = marks[i];
        if (mark !== undefined) return { write, mark };
        this.#refuse(write, 'full');
        return [];
      });
      return { nowMs, indexed };
    } catch {
      this.#away();
      for (const write of writes) this.#refuse(write, 'away');
      return { nowMs: 0, indexed: [] };
    }
  }

  async #execute(
    indexed: readonly IndexedWrite<Value>[],
    notAfterMs: number,
  ): Promise<readonly (CacheReply | Error | undefined)[]> {
    const { keyPrefix } = this.#collection;
    const { burst, cache } = this.#options;
    const { durable } = burst;
    const commands = indexed.map(({ write: { key, request } }): BufferCommand => {
      const payload = request.payload as Payload | null;
      return { kind: 'buffer', key: keyPrefix + key, payload, notAfterMs, durable };
    });
    return await this.#bounded(cache.execute(commands)).catch(() => []);
  }

  /** Unanswered, they may still be applied, up to their deadline: only after it may their callers go on. */
  async #lose(writes: readonly Write<Value>[], sentAtMs: number): Promise<void> {
    const { clock } = this.#collection;
    const { burst } = this.#options;
    this.#away();
    const deadlineMs = sentAtMs + burst.ackTimeoutMs + burst.maxClockSkewMs;
    await callerSleep(clock, Math.max(0, deadlineMs - clock.monotonic()) + 1);
    for (const write of writes) this.#refuse(write, 'away');
  }

  #away(): void {
    this.#awayUntilMs = this.#collection.clock.monotonic() + AWAY_MS;
  }

  #bounded<T>(promise: Promise<T>): Promise<T> {
    const { ackTimeoutMs } = this.#options.burst;
    return withinCacheTime(this.#collection.clock, promise, ackTimeoutMs, 'the buffer did not answer');
  }

  #refuse(write: Write<Value>, reason: BufferRefusal): void {
    this.#options.onRefused(write.key, reason);
    this.#answer(write, undefined);
  }

  #answer(write: Write<Value>, journaled: { version: Version; cacheMs: number } | undefined): void {
    this.end(write);
    if (journaled === undefined) this.answer(write, undefined);
    else {
      const { value } = write.request;
      this.answer(write, { ...journaled, value, coalesced: false }, () => {
        return { ...journaled, value: copyOf(value), coalesced: true };
      });
    }
  }
}

/** Waits for payloads that are still being compressed: in the batch, so that writes of a key keep their order. */
async function settled<Value>(batch: readonly Write<Value>[]): Promise<void> {
  const settling = batch.map(async (write) => {
    write.request = { ...write.request, payload: await write.request.payload };
  });
  await Promise.all(settling);
}
