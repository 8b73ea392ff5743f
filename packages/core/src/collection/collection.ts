import type { CacheOutcome, Collection, Versioned, WriteResult } from '../contracts/api.js';
import type {
  CollectionOptions,
  DeleteOptions,
  InvalidateOptions,
  PutOptions,
  ReadOptions,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { StoreAdapter, TransactionMode } from '../contracts/store.js';
import { keyPrefix } from '../protocol/key.js';
import { Loader } from '../read/loader.js';
import { Reader } from '../read/reader.js';
import type { EngineContext } from '../runtime/context.js';
import { jsonSerializer } from '../serializers/json.js';
import { Codec } from '../values/codec.js';
import { SignedCodec } from '../values/signed-codec.js';
import { WritePath } from '../write/write-path.js';
import { Checks } from './checks.js';
import type { CollectionContext } from './context.js';
import { Opening } from './open.js';
import { CollectionReads } from './reads.js';
import { type CollectionSettings, collectionSettings } from './settings.js';
import type { RowChange } from './update.js';
import { CollectionWrites } from './writes.js';

/** One collection: joins the calls, the read path and the write path. */
export class CollectionEngine<Value, Id, Tx> implements Collection<Value, Id, Tx> {
  readonly name: string;
  readonly store: StoreAdapter<Value, Id, Tx>;
  readonly settings: CollectionSettings;
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly writes: WritePath<Value>;
  readonly #context: EngineContext;
  readonly #reading: CollectionReads<Value, Id>;
  readonly #writing: CollectionWrites<Value, Id>;

  constructor(options: CollectionOptions<Value, Id, Tx>, context: EngineContext) {
    const { integrity } = context;
    const checked = collectionSettings(
      options as unknown as CollectionOptions<never, never, never>,
      context.adapter,
    );
    // That a row is known to be absent has no payload that could carry a signature.
    const settings = integrity === undefined ? checked : { ...checked, negativeTtlMs: 0 };
    const { schema, store } = options;
    const { name } = settings;
    const prefix = keyPrefix(context.prefix, name);
    const serializer = options.serializer ?? store.serializer ?? jsonSerializer();
    const codec =
      integrity === undefined
        ? new Codec(name, serializer, schema, settings.maxPayloadBytes)
        : new SignedCodec(integrity, prefix, name, serializer, schema, settings.maxPayloadBytes);
    this.name = name;
    this.store = store;
    this.settings = settings;
    this.keyPrefix = prefix;
    this.codec = codec;
    this.#context = context;

    const untyped = store as unknown as StoreAdapter<Value, never>;
    const loader = new Loader(untyped, {
      collection: name,
      timeoutMs: settings.storeTimeoutMs,
      maxConcurrent: settings.maxConcurrentLoads,
      maxQueued: settings.maxQueuedLoads,
      local: context.local,
      clock: context.clock,
      events: context.events,
    });
    const consumer = store.feed && context.consumerOf(store.feed);
    const member = consumer?.join({
      name,
      source: store.source,
      keyPrefix: prefix,
      holeTtlMs: settings.holeTtlMs,
      holeOnEmpty: store.capabilities.replicaReads,
    });
    const lifetime = (ttlMs: number): { ttlMs: number; staleAtMs: number } => this.#lifetime(ttlMs);
    const flushKey =
      settings.burst === undefined ? undefined : (key: string): Promise<void> => this.writes.flushKey(key);
    const own = { settings, store: untyped, keyPrefix: prefix, codec, lifetime, member };
    const collection: CollectionContext<Value> = { ...context, ...own };
    const reader = new Reader({ ...collection, loader, flushKey });
    const writes = new WritePath<Value>(collection, {
      detach: (cacheKey) => reader.detach(cacheKey),
      load: async (key) => {
        await reader.read(key, settings.ttlMs);
        // The fill goes on behind the reader; what follows it on the same key comes after it.
        await context.cache.run({ kind: 'release', key: prefix + key, token: context.nextToken() });
      },
    });
    this.writes = writes;
    const checks = new Checks(settings, store as StoreAdapter<unknown, Id>, context);
    const opening = new Opening(untyped, settings, context, consumer, writes.buffer);
    const shared = { store: untyped, settings, keyPrefix: prefix, codec, context };
    const parts = { ...shared, checks, opening, reader, writes };
    this.#reading = new CollectionReads(parts);
    this.#writing = new CollectionWrites(parts, this.#reading);
  }

  get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    return this.#reading.get(id, options);
  }

  getVersioned(id: Id, options?: ReadOptions): Promise<Versioned<Value>> {
    return this.#reading.getVersioned(id, options);
  }

  getMany(ids: readonly Id[], options?: ReadOptions): Promise<(Value | undefined)[]> {
    return this.#reading.getMany(ids, options);
  }

  refresh(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    return this.#reading.get(id, { ...options, fresh: true });
  }

  put(id: Id, value: Value, options?: PutOptions): Promise<WriteResult<Value>> {
    return this.#writing.put(id, value, options);
  }

  putMany(entries: Iterable<readonly [Id, Value]>, options?: WriteOptions): Promise<WriteResult<Value>[]> {
    return this.#writing.putMany(entries, options);
  }

  delete(id: Id, options?: DeleteOptions): Promise<WriteResult<Value>> {
    return this.#writing.delete(id, options);
  }

  deleteMany(ids: Iterable<Id>, options?: WriteOptions): Promise<WriteResult<Value>[]> {
    return this.#writing.deleteMany(ids, options);
  }

  increment(
    id: Id,
    field: keyof Value & string,
    by: number,
    options?: WriteOptions,
  ): Promise<WriteResult<Value>> {
    return this.#writing.increment(id, field, by, options);
  }

  update(id: Id, change: RowChange<Value>, options?: UpdateOptions): Promise<WriteResult<Value>> {
    return this.#writing.update(id, change, options);
  }

  write<T>(
    id: Id,
    body: (tx: Tx) => Promise<T>,
    options?: WriteOptions & TransactionMode,
  ): Promise<WriteResult<Value> & { readonly returned: T }> {
    return this.#writing.write(id, (client) => body(client as Tx), options);
  }

  invalidate(id: Id | readonly Id[], options?: InvalidateOptions): Promise<CacheOutcome> {
    return this.#writing.invalidate(id, options);
  }

  invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<CacheOutcome> {
    return this.#writing.invalidateMany(ids, options);
  }

  flush(): Promise<number> {
    return this.#writing.flush();
  }

  /** Says how many keys may hold a buffered write. @internal */
  get unflushed(): (() => Promise<number>) | undefined {
    const { buffer } = this.writes;
    return buffer && (() => buffer.size());
  }

  /** Jittered, so that what was cached together does not expire together. */
  #lifetime(ttlMs: number): { ttlMs: number; staleAtMs: number } {
    const { staleWhileRevalidateMs, ttlJitter } = this.settings;
    const { clock, random } = this.#context;
    const jittered = Math.max(1, Math.round(ttlMs * (1 + ttlJitter * (2 * random() - 1))));
    if (staleWhileRevalidateMs === 0) return { ttlMs: jittered, staleAtMs: 0 };
    return { ttlMs: jittered + staleWhileRevalidateMs, staleAtMs: clock.now() + jittered };
  }
}
