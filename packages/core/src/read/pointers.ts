import type { CollectionContext } from '../collection/context.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { RecordedCollection } from '../contracts/registry.js';
import type { Serializer } from '../contracts/serializer.js';
import type { StoreAdapter, StoreReadOptions, StoreRow } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { UnsupportedError } from '../errors.js';
import type { Membership } from '../feed/membership.js';
import { MAX_KEY_LENGTH } from '../protocol/key.js';
import { lookupKey, lookupName, lookupPrefix, textsOfKey } from '../protocol/lookup.js';
import { jsonSerializer } from '../serializers/json.js';
import { Compression } from '../values/compression.js';
import { codecOf } from '../values/signed-codec.js';
import { Loader } from './loader.js';
import { Reader } from './reader.js';

/** Refuses a payload that is no key, since others may write to the cache. */
const POINTER: Serializer = {
  ...jsonSerializer(),
  deserialize(payload) {
    const key = jsonSerializer().deserialize(payload);
    if (typeof key === 'string' && key.length <= MAX_KEY_LENGTH) return key;
    throw new TypeError('a pointer must be the key of a row');
  },
};

type Declared = NonNullable<StoreAdapter<never, never>['declared']>;

/**
 * The pointers of one unique index: what it holds, to the key of the row that holds it. They are cached like the entries of a
 * store without versions, since versions order one row, not the two that may have had a value: a lease's fill writes one,
 * loaded from the primary; each change of a row that had or gets the value makes it a hole, whatever was there, and
 * ends the lease. A pointer is believed only if the row that it leads to holds the value.
 */
export class Pointers {
  readonly properties: readonly string[];
  readonly recorded: RecordedCollection;
  readonly reader: Reader<string>;
  readonly #declared: Declared;
  readonly #collection: CollectionContext<never>;

  /** @param join records the lookup, and tells who fills it */
  constructor(
    collection: CollectionContext<never>,
    declared: Declared,
    properties: readonly string[],
    join: (recorded: RecordedCollection) => Membership | undefined,
  ) {
    const { integrity, prefix, settings: parent, store } = collection;
    this.properties = properties;
    this.#collection = collection;
    this.#declared = declared;
    const columns = properties.map((property) => declared.columnOf(property));
    const name = lookupName(parent.name, columns);
    const keyPrefix = lookupPrefix(prefix, name, columns) as string;
    const { holeTtlMs } = parent;
    this.recorded = { name, source: store.source, keyPrefix, holeTtlMs, holeOnEmpty: false, lookup: columns };
    // A pointer leads to a row, and the row's own read keeps the collection's consistency.
    const negativeTtlMs = parent.consistency === 'strict' ? 0 : parent.negativeTtlMs;
    const settings = { ...parent, name, consistency: 'available', negativeTtlMs } as const;
    const compression = new Compression(undefined, settings.maxPayloadBytes);
    const bounds = { maxBytes: settings.maxPayloadBytes, compression };
    const plain = { serializer: POINTER, schema: undefined, shapes: undefined };
    const codec = codecOf<string>({ collection: name, ...plain, ...bounds }, integrity, keyPrefix);
    const context = {
      ...collection,
      settings,
      store: pointerStore(collection.store, declared, properties),
      keyPrefix,
      codec,
      member: join(this.recorded),
      tags: undefined,
      near: undefined,
    };
    this.reader = new Reader<string>({ ...context, loader: new Loader(context), flushKey: undefined });
  }

  /** The pointer's key; `undefined`: the store has no text of some value, or a long one. Throws `InvalidIdError`. */
  keyOf(value: Readonly<Record<string, unknown>>): string | undefined {
    return lookupKey(this.properties.map((property) => this.#declared.textOf(property, value[property])));
  }

  /** Makes what is cached of a key unreadable, by whichever way is left. Never rejects. */
  async invalidate(key: string): Promise<CacheOutcome> {
    const { cache, handover } = this.#collection;
    const { holeOnEmpty, holeTtlMs, keyPrefix } = this.recorded;
    const cacheKey = keyPrefix + key;
    const pointer = { key: cacheKey, version: NO_VERSION, holeTtlMs, holeOnEmpty };
    try {
      return await handover.invalidate(cache, { kind: 'invalidate', ...pointer });
    } finally {
      this.reader.detach(cacheKey);
    }
  }

  /** True of a row that has the value of the key. */
  isOf(row: unknown, key: string): boolean {
    if (typeof row !== 'object' || row === null) return false;
    try {
      return this.keyOf(row as Readonly<Record<string, unknown>>) === key;
    } catch {
      // A value without a key can't be looked up, so it is not the one that was asked for.
      return false;
    }
  }
}

/** The store of an index's pointers: one statement on the primary reads many, and none is ever written. */
function pointerStore(
  { name, source }: StoreAdapter<never, never>,
  declared: Declared,
  properties: readonly string[],
): StoreAdapter<string, never> {
  return {
    name,
    source,
    capabilities: {
      versioned: false,
      compareAndSet: false,
      transactions: false,
      changeFeed: false,
      increment: false,
      restamp: false,
      flush: false,
      replicaReads: false,
      batching: true,
    },
    keyOf: String,
    async read(
      keys: readonly string[],
      options: StoreReadOptions,
    ): Promise<(StoreRow<string> | undefined)[]> {
      const found = await declared.find(properties, keys.map(textsOfKey), options);
      return keys.map((key, i) => {
        const value = found[i];
        return value === undefined ? undefined : { key, value, version: NO_VERSION };
      });
    },
    write: () => Promise.reject(new UnsupportedError(`${name}: pointers are not written`)),
    close: () => Promise.resolve(),
  };
}
