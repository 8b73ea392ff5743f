import type { Collection } from '../contracts/api.js';
import type { CollectionOptions } from '../contracts/options.js';
import type { RecordedCollection } from '../contracts/registry.js';
import type { StoreAdapter } from '../contracts/store.js';
import { NearEntries } from '../near/entries.js';
import { keyPrefix } from '../protocol/key.js';
import { Loader } from '../read/loader.js';
import { Pointers } from '../read/pointers.js';
import { Reader } from '../read/reader.js';
import type { EngineContext } from '../runtime/context.js';
import { carrying } from '../serializers/carrying.js';
import { jsonSerializer } from '../serializers/json.js';
import { Compression } from '../values/compression.js';
import { Shapes } from '../values/shapes.js';
import { codecOf } from '../values/signed-codec.js';
import { CollectionTags } from '../views/tags.js';
import { WritePath } from '../write/write-path.js';
import type { CallContext } from './call-context.js';
import { Checks } from './checks.js';
import type { CollectionContext } from './context.js';
import { Opening } from './open.js';
import { type CollectionSettings, collectionSettings, jittered, MAX_TTL_MS } from './settings.js';
import { CollectionCalls } from './writes.js';

/** One collection: its parts, and the calls that its users have. */
export interface CollectionEngine<Value, Id, Tx> extends CallContext<Value, Id> {
  readonly calls: Collection<Value, Id, Tx>;
}

/** Makes a collection's parts and joins them. Throws `InvalidOptionError`. */
export function collectionEngine<Value, Id, Tx>(
  options: CollectionOptions<Value, Id, Tx>,
  context: EngineContext,
): CollectionEngine<Value, Id, Tx> {
  const { integrity } = context;
  const checked = collectionSettings(
    options as unknown as CollectionOptions<never, never, never>,
    context.adapter,
  );
  // The known absence of a row has no payload, so nothing could carry its signature.
  const settings = integrity === undefined ? checked : { ...checked, negativeTtlMs: 0 };
  const { maxPayloadBytes, name } = settings;
  const { schema } = options;
  const store = options.store as unknown as StoreAdapter<Value, never>;
  const prefix = keyPrefix(context.prefix, name);
  const serializer = carrying(options.serializer ?? store.serializer ?? jsonSerializer(), store.carrier);
  const shapes = store.shape && new Shapes(store.shape);
  const compression = new Compression(settings.compression ?? context.compression, maxPayloadBytes);
  const consumer = store.feed && context.consumerOf(store.feed);
  const tags =
    settings.tags && new CollectionTags({ ...context, settings, sets: settings.tags, store, consumer });
  // Strict collections have no near entries: these serve what others have changed a moment ago.
  if (tags !== undefined && settings.consistency !== 'strict') context.nearWatch.addTags(tags.keyPrefix);
  const values = {
    ...{ collection: name, serializer, schema, maxBytes: maxPayloadBytes, shapes, compression },
    tags: tags?.rows,
  };
  const codec = codecOf(values, integrity, prefix);
  const recorded = {
    name,
    source: store.source,
    keyPrefix: prefix,
    holeTtlMs: settings.holeTtlMs,
    holeOnEmpty: store.capabilities.replicaReads,
  };
  const member = consumer?.join(recorded, settings.additional);
  const { declared } = store;
  const { versioned } = store.capabilities;
  const lifetime = (ttlMs: number) => lifetimeOf(ttlMs, versioned, settings, context);
  const shared: CollectionContext<Value> = {
    ...context,
    settings,
    store,
    keyPrefix: prefix,
    codec,
    lifetime,
    member,
    near: nearOf({ settings, codec, keyPrefix: prefix, store, tags }, context),
    tags,
    tally: context.announced.add('collection', settings),
  };
  const lookups = settings.unique.flatMap((set) => {
    if (declared === undefined) return [];
    const join = (lookup: RecordedCollection) => consumer?.join(lookup, settings.additional);
    const unversioned = (ttlMs: number) => lifetimeOf(ttlMs, false, settings, context);
    const like = { ...shared, lifetime: unversioned } as unknown as CollectionContext<never>;
    return new Pointers(like, declared, set, join);
  });
  const loader = new Loader(shared);
  const flushKey =
    settings.burst === undefined ? undefined : (key: string): Promise<void> => writes.flushKey(key);
  const reader = new Reader({ ...shared, loader, flushKey });
  const writes = new WritePath<Value>(shared, {
    detach: (cacheKey) => reader.detach(cacheKey),
    load: async (key) => {
      await reader.read(key, settings.ttlMs);
      await reader.sent(prefix + key);
      // The fill goes on behind the reader; what follows it on the same key comes after it.
      await context.cache.run({ kind: 'release', key: prefix + key, token: context.nextToken() });
    },
  });
  const untyped = shared as unknown as CollectionContext<unknown>;
  const checks = new Checks<Id>(untyped);
  const opening = new Opening(untyped, consumer, writes.buffer, lookups);
  const parts = { ...shared, checks, opening, reader, writes, tags, lookups };
  return { ...parts, calls: new CollectionCalls<Value, Id, Tx>(parts) };
}

/** The near entries of a collection that has them. Throws `InvalidOptionError`. */
function nearOf<Value>(
  {
    codec,
    keyPrefix,
    settings,
    store,
    tags,
  }: Pick<CollectionContext<Value>, 'codec' | 'keyPrefix' | 'settings' | 'store' | 'tags'>,
  { cache, clock, nearWatch }: EngineContext,
): NearEntries<Value> | undefined {
  if (settings.near === undefined) return undefined;
  const { name, near, negativeTtlMs, ttlMs } = settings;
  const entries = new NearEntries<Value>({
    ...{ collection: name, keyPrefix, settings: near, ttlMs, negativeTtlMs, cache, clock },
    watch: nearWatch,
    listKey: tags?.rows?.key,
    shape: store.shape,
    measure: (value, key) => codec.measure(value, key),
  });
  nearWatch.add(entries, `collection("${name}")`);
  cache.onChange ??= (key) => nearWatch.changed(key);
  return entries;
}

/**
 * The lifetime of a new entry. One without a version that never gets stale is given a time to do so that no other has,
 * long after its end: a reader's refresh knows the entry again by that.
 */
function lifetimeOf(
  givenMs: number,
  versioned: boolean,
  settings: CollectionSettings,
  { clock, random }: EngineContext,
): { readonly ttlMs: number; readonly staleAtMs: number } {
  const ttlMs = jittered(givenMs, settings, random);
  const keptMs = settings.staleWhileRevalidateMs + settings.staleIfErrorMs;
  if (keptMs > 0) return { ttlMs: ttlMs + keptMs, staleAtMs: clock.now() + ttlMs };
  if (versioned) return { ttlMs, staleAtMs: 0 };
  return { ttlMs, staleAtMs: Math.ceil(clock.now() + MAX_TTL_MS * (2 + 8 * random())) };
}
