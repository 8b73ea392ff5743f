import { withinCacheTime } from '../cache/cache-time.js';
import type { CollectionContext } from '../collection/context.js';
import type { BufferRefusal } from '../contracts/events.js';
import type { FlushJob } from '../contracts/queue.js';
import type { StoreFlush } from '../contracts/store.js';
import type { Version } from '../contracts/version.js';
import { isBlind, type StoreWrite } from '../write/commands.js';
import type { Detach, MadePayload } from '../write/publish.js';
import type { Answer } from '../write/store-commit.js';
import type { BufferedWrites } from './buffers.js';
import { Flusher } from './flusher.js';
import { Journal } from './journal.js';
import { type OpenedCache, openedCache } from './opened.js';
import { OwnKeys } from './own-keys.js';
import { Pressure } from './pressure.js';
import type { BurstSettings } from './settings.js';
import { Sweeps } from './sweeps.js';

export interface BufferOptions<Value> {
  readonly burst: BurstSettings;
  /** The collection's synchronous writes. */
  readonly writes: { readonly waiting: number; readonly underWayMs: number; has(key: string): boolean };
  /** `undefined`: the value can't be cached. */
  readonly payloadOf: (
    key: string,
    value: Value | null,
    version: Version | undefined,
    mark: string | undefined,
  ) => MadePayload | Promise<MadePayload>;
  readonly detach: Detach;
  /** Brings a row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
}

const CHECK_EVERY_MS = 5_000;
const CHECK_TIMEOUT_MS = 1_000;
/** How many times what is buffered is flushed whole before writes go to the store again. */
const MAX_DRAINS = 5;

/** The buffer of one collection: which writes it takes, the way into it, and the way from it into the store. */
export class CollectionBuffer<Value> implements BufferedWrites {
  readonly #collection: CollectionContext<Value>;
  readonly #options: BufferOptions<Value>;
  readonly #cache: OpenedCache;
  readonly #flusher: Flusher<Value>;
  readonly #sweeps: Sweeps<Value>;
  readonly #journal: Journal<Value>;
  readonly #pressure: Pressure;
  /** Keys with a write that reads first under way in this process, and how many. */
  readonly #held = new Map<string, number>();
  /** Why the cache can't keep what is buffered. Until it has said that it can, it may evict. */
  #unkept: BufferRefusal | undefined = 'evicts';
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  /** Something was buffered here. */
  #dirty = false;

  constructor(collection: CollectionContext<Value>, options: BufferOptions<Value>) {
    const { adapter, buffers, cache: client, clock, events, keyPrefix, settings, store, tally } = collection;
    const { burst, load, writes } = options;
    tally.buffer = 'synchronous';
    const cache = openedCache(adapter, client, clock, keyPrefix);
    const flusher = new Flusher(collection, {
      committed: (storeMs) => this.#pressure.committed(storeMs),
      othersWait: (key) => buffers.hasUnflushed(store.feed, this, key),
    });
    const ownKeys = new OwnKeys(collection, flusher, cache.index);
    this.#collection = collection;
    this.#options = options;
    this.#cache = cache;
    this.#flusher = flusher;
    this.#sweeps = new Sweeps(collection, flusher, cache.index, burst.ackTimeoutMs + burst.maxClockSkewMs);
    this.#pressure = new Pressure({
      settings: burst,
      clock,
      waiting: () => writes.waiting,
      underWayMs: () => writes.underWayMs,
      drain: () => this.#drain(),
      onState: (state) => {
        tally.buffer = state;
        events.buffer.emit({ collection: settings.name, state });
      },
    });
    this.#journal = new Journal(collection, {
      burst,
      cache,
      unkept: () => this.#whyUnkept(),
      isBusy: (key) => writes.has(key),
      load,
      onJournaled: (keys) => {
        this.#dirty = true;
        ownKeys.add(keys);
      },
      onRefused: (key, reason) => this.#refused(key, reason),
    });
    buffers.add(store.feed, this);
  }

  // For the write path.

  /**
   * Takes a write, or leaves it to the store: at once, where it is not to be buffered, so that a key's writes keep
   * their order.
   */
  async submit(write: StoreWrite<Value>, toStore: () => Promise<Answer<Value>>): Promise<Answer<Value>> {
    const { command, key } = write;
    if (!isBlind(command)) return await this.holding(key, toStore);
    const value = command.kind === 'put' ? command.value : null;
    const takes = this.#takes(key);
    // A value that the table can't hold must not be acknowledged.
    if (takes && value !== null) this.#collection.store.check?.(key, value);
    const payload = takes ? this.#payloadOf(key, value) : undefined;
    // A payload that is still being compressed counts with its uncompressed size.
    const bytes = payload instanceof Promise ? write.bytes : (payload?.length ?? 0);
    const journaled =
      payload === undefined ? undefined : await this.#journal.submit({ key, value, payload, bytes });
    if (journaled === undefined) return await (value === null ? this.holding(key, toStore) : toStore());
    this.#options.detach(this.#collection.keyPrefix + key);
    const { cacheMs, coalesced, version } = journaled;
    if (!coalesced) this.#collection.tally.writes.buffered++;
    const outcome = { kind: 'written', value: journaled.value, version } as const;
    const { tags } = this.#collection;
    // Views that have it flushed before they load must do so from now on.
    const ended = tags === undefined ? 'invalidated' : await tags.end(tags.unflushed);
    const cache = ended === 'invalidated' ? 'updated' : ended;
    return { outcome, cache, store: 'buffered', coalesced, storeMs: 0, cacheMs };
  }

  #payloadOf(key: string, value: Value | null): MadePayload | Promise<MadePayload> {
    return this.#options.payloadOf(key, value, undefined, this.#collection.tags?.rows?.mark());
  }

  /** True when a blind write of the key is to be buffered. */
  #takes(key: string): boolean {
    // The write must not overtake one of its key that is on its way into the journal.
    if (this.#journal.has(key)) return true;
    // Readers would not see it.
    if (this.#collection.cacheSwitch.off || this.#collection.member?.suspended === true) return false;
    if (!this.#pressure.wants(key) || this.#held.has(key)) return false;
    const { refusal } = this.#journal;
    if (refusal !== undefined) this.#refused(key, refusal);
    return refusal === undefined;
  }

  /** A statement of the synchronous path took so long. */
  committed(storeMs: number): void {
    this.#pressure.committed(storeMs);
  }

  /** Runs a write of the store while no write of its key is buffered by this process. */
  async holding<T>(key: string, write: () => Promise<T>): Promise<T> {
    this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    try {
      return await write();
    } finally {
      const left = (this.#held.get(key) as number) - 1;
      if (left === 0) this.#held.delete(key);
      else this.#held.set(key, left);
    }
  }

  /** The key's buffered write as the store takes it, for a transaction that may hold the row itself. */
  commandOf(key: string): Promise<StoreFlush<Value> | undefined> {
    return this.#flusher.commandOf(key);
  }

  // For the rest of the engine.

  async open(): Promise<void> {
    await this.#check().catch(() => undefined);
  }

  size(): Promise<number> {
    return this.#cache.index.size();
  }

  hasUnflushed(except: string | undefined): Promise<boolean> {
    return this.#sweeps.hasUnflushed(except);
  }

  async flushKey(key: string, patienceMs?: number): Promise<void> {
    await this.#flusher.flushKey(key, patienceMs);
  }

  flush(): Promise<number> {
    return this.#sweeps.flushAll();
  }

  async flushOwn(): Promise<void> {
    if (this.#dirty) await this.flush();
    this.#dirty = false;
  }

  flushJob(job: FlushJob): Promise<void> {
    return this.#flusher.flushJob(job);
  }

  sweep(signal: AbortSignal): Promise<void> {
    return this.#sweeps.run(signal);
  }

  /** Asks the cache whether it keeps what has no expiry, and on its disk where that is asked for. */
  async #check(): Promise<void> {
    const { clock } = this.#collection;
    this.#checkedAtMs = clock.monotonic();
    const info = await withinCacheTime(clock, this.#cache.info(), CHECK_TIMEOUT_MS);
    const undurable = this.#options.burst.durable && info.appendsToFile === false;
    this.#unkept = info.evictsPersistent !== false ? 'evicts' : undurable ? 'undurable' : undefined;
  }

  #whyUnkept(): BufferRefusal | undefined {
    const { clock } = this.#collection;
    if (clock.monotonic() >= this.#checkedAtMs + CHECK_EVERY_MS) void this.open();
    return this.#unkept;
  }

  #refused(key: string, reason: BufferRefusal): void {
    const { events, settings } = this.#collection;
    const { bufferRefused } = events;
    if (bufferRefused.wanted) bufferRefused.emit({ collection: settings.name, key, reason });
  }

  async #drain(): Promise<void> {
    for (let drains = 0; drains < MAX_DRAINS; drains++) {
      if ((await this.flush()) === 0) return;
    }
  }
}
