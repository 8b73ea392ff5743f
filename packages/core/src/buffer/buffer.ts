import type { CollectionSettings } from '../collection/settings.js';
import type { BufferRefusal } from '../contracts/events.js';
import type { StoreAdapter } from '../contracts/store.js';
import { CacheUnavailableError } from '../errors.js';
import type { Membership } from '../feed/membership.js';
import { withTimeout } from '../kit/wait.js';
import type { EngineContext } from '../runtime/context.js';
import type { Codec } from '../values/codec.js';
import { Flusher } from './flusher.js';
import { Journal, type Journaled, type JournalWrite } from './journal.js';
import { type OpenedCache, openedCache } from './opened.js';
import { Pressure } from './pressure.js';
import type { BurstSettings } from './settings.js';

export interface BufferOptions<Value> {
  readonly burst: BurstSettings;
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly codec: Codec<Value>;
  readonly keyPrefix: string;
  readonly context: EngineContext;
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  /** The collection's synchronous writes. */
  readonly writes: { readonly waiting: number; readonly underWayMs: number; has(key: string): boolean };
  readonly member: Membership | undefined;
  /** Brings a row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
}

const CHECK_EVERY_MS = 5_000;
const CHECK_TIMEOUT_MS = 1_000;
/** How many times what is buffered is flushed whole before writes go to the store again. */
const MAX_DRAINS = 5;

/** The key, in the cache, of a collection's index of unflushed keys. No entry's key starts like it. */
export function unflushedIndex(keyPrefix: string): string {
  return `unflushed:${keyPrefix}`;
}

/**
 * The buffer of one collection: which writes it takes, the way into it, and the way from it into the store.
 */
export class CollectionBuffer<Value> {
  readonly flusher: Flusher<Value>;
  readonly #journal: Journal<Value>;
  readonly #pressure: Pressure;
  readonly #cache: OpenedCache;
  readonly #clock: EngineContext['clock'];
  /** Keys with a write that reads first under way in this process, and how many. */
  readonly #held = new Map<string, number>();
  readonly #onRefused: (key: string, reason: BufferRefusal) => void;
  #evicts = true;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: BufferOptions<Value>) {
    const { burst, codec, context, keyPrefix, lifetime, load, member, settings, store, writes } = options;
    const { adapter, cache: client, clock, events } = context;
    const { name: collection } = settings;
    const index = unflushedIndex(keyPrefix);
    const cache = openedCache(adapter, client, clock);
    this.#cache = cache;
    this.#clock = clock;
    this.flusher = new Flusher({
      ...context,
      settings,
      store,
      codec,
      keyPrefix,
      index,
      unflushed: cache.index,
      lifetime,
      member,
      committed: (storeMs) => this.#pressure.committed(storeMs),
      othersWait: (key) => context.unflushed.anyWaiting(store.feed, this.flusher, key),
    });
    context.unflushed.add(store.feed, this.flusher);
    this.#pressure = new Pressure({
      settings: burst,
      clock,
      waiting: () => writes.waiting,
      underWayMs: () => writes.underWayMs,
      drain: () => this.#drain(),
      onState: (state) => events.buffer.emit({ collection, state }),
    });
    this.#onRefused = (key, reason) => {
      if (events.bufferRefused.wanted) events.bufferRefused.emit({ collection, key, reason });
    };
    this.#journal = new Journal({
      collection,
      settings: burst,
      index,
      keyPrefix,
      cache,
      clock,
      fit: () => this.#fit(),
      isBusy: (key) => writes.has(key),
      load,
      onJournaled: (keys) => this.flusher.later(keys),
      onRefused: this.#onRefused,
    });
  }

  /** Is this blind write of the key to go into the buffer? */
  takes(key: string): boolean {
    // It must not overtake one that is on its way there.
    if (this.#journal.has(key)) return true;
    if (!this.#pressure.wants(key) || this.#held.has(key)) return false;
    const refusal = this.#journal.refusal;
    if (refusal !== undefined) this.#onRefused(key, refusal);
    return refusal === undefined;
  }

  /** `undefined`: it was not buffered, and won't be. */
  offer(write: JournalWrite<Value>): Promise<Journaled<Value> | undefined> {
    return this.#journal.submit(write);
  }

  /** A statement of the synchronous path took so long. */
  committed(storeMs: number): void {
    this.#pressure.committed(storeMs);
  }

  /** Nothing of this process is buffered on top of what the write reads. */
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

  /** Asks the cache whether it keeps what has no expiry. */
  async check(): Promise<void> {
    this.#checkedAtMs = this.#clock.monotonic();
    const late = (): Error => new CacheUnavailableError('the cache did not describe itself');
    const info = await withTimeout(this.#clock, this.#cache.info(), CHECK_TIMEOUT_MS, late);
    this.#evicts = info.evictsPersistent !== false;
  }

  #fit(): boolean {
    if (this.#clock.monotonic() >= this.#checkedAtMs + CHECK_EVERY_MS) this.check().catch(() => undefined);
    return !this.#evicts;
  }

  async #drain(): Promise<void> {
    for (let drains = 0; drains < MAX_DRAINS; drains++) {
      if ((await this.flusher.flushAll()) === 0) return;
    }
  }
}
