import {
  type CacheAdapter,
  type CacheHit,
  type Collection,
  type CollectionInfo,
  createLockstep,
  type Lockstep,
  LockstepError,
  type QueueAdapter,
  type View,
  type WriteResult,
} from '@lockstep/core';
import { REVIEWS } from '../naming.js';
import type { Product, ProductChange, Review } from '../products.js';
import type { ProductRow, ShopStore } from '../stores/store.js';
import { countingStore } from './counting-store.js';
import type {
  CachedProduct,
  EngineHooks,
  ProductPage,
  ReadAnswer,
  ReviewAnswer,
  ShopEngine,
  WriteAnswer,
} from './engine.js';

export interface LockstepEngineOptions {
  readonly store: ShopStore;
  readonly cache: CacheAdapter;
  readonly queue: QueueAdapter | undefined;
  readonly prefix: string;
  /** The collection's name. */
  readonly name: string;
  /** True: no worker runs, and this process runs the relay. */
  readonly embeddedRelay: boolean;
}

/**
 * A product on sale is written hundreds of times a second, and a compare-and-set may lose for ever: after this
 * many tries a change waits for the row's lock instead.
 */
const OPTIMISTIC_RETRIES = 3;

/** How long a write may wait for its turn: elections of a replica set take longer on a busy machine than the default. */
const QUEUE_TIMEOUT_MS = 20_000;

/** The shop on Lockstep. */
export class LockstepEngine implements ShopEngine {
  readonly name = 'lockstep';
  readonly #lockstep: Lockstep;
  readonly #products: Collection<Product, number>;
  readonly #reviews: Collection<Review, number>;
  readonly #lists: View<string, readonly ProductRow[]>;
  readonly #pages: View<number, ProductPage>;
  readonly #info: CollectionInfo;
  readonly #store: ShopStore;

  constructor(options: LockstepEngineOptions, hooks: EngineHooks) {
    this.#store = options.store;
    this.#lockstep = createLockstep({
      cache: options.cache,
      prefix: options.prefix,
      announce: { name: 'application' },
      ...(options.queue === undefined ? {} : { queue: options.queue }),
    });
    this.#products = this.#lockstep.collection<Product, number>({
      name: options.name,
      store: countingStore(options.store.adapter, hooks),
      batch: { queueTimeoutMs: QUEUE_TIMEOUT_MS },
      tags: productTags(options.store),
    });
    const { plain, window } = options.store;
    const { byValue } = window;
    this.#reviews = this.#lockstep.collection<Review, number>({
      name: REVIEWS,
      store: window.adapter,
      batch: { queueTimeoutMs: QUEUE_TIMEOUT_MS },
      tags: reviewTags(options.store),
    });
    this.#lists = this.#lockstep.view({
      name: 'category-list',
      load: async (category: string) => {
        hooks.viewLoaded();
        return await window.list(category);
      },
      dependsOn: (category) => (byValue ? this.#products.where({ category }) : this.#products.any()),
    });
    this.#pages = this.#lockstep.view({
      name: 'product-page',
      load: async (id: number) => {
        hooks.viewLoaded();
        const [[product], reviews] = await Promise.all([plain.read([id]), window.reviews(id)]);
        return { product: product ?? null, reviews };
      },
      dependsOn: (id) => [
        this.#products.id(id),
        byValue ? this.#reviews.where({ product: id }) : this.#reviews.any(),
      ],
    });
    const info = this.#lockstep.collections.find((one) => one.name === options.name);
    if (info === undefined) throw new Error(`collection ${options.name} is not there`);
    this.#info = info;
    const { events } = this.#lockstep;
    events.on('write', (event) => hooks.writeTimes(event.storeMs, event.cacheMs));
    events.on('breaker', (event) => hooks.breaker(event.state));
    events.on('error', (event) => hooks.backgroundError(event.where, event.error));
    if (options.embeddedRelay) this.#lockstep.startRelay();
  }

  async read(id: number, ttlMs: number): Promise<ReadAnswer> {
    const { value, version, from } = await this.#products.getVersioned(id, ttlOption(ttlMs));
    return { product: this.#clean(value), version, hit: from === 'cache' };
  }

  async put(product: Product, ttlMs: number): Promise<WriteAnswer> {
    return this.#answer(await this.#products.put(product.id, product, ttlOption(ttlMs)));
  }

  async patch(id: number, change: ProductChange, ttlMs: number): Promise<WriteAnswer | undefined> {
    try {
      let missing = false;
      const options = { ...ttlOption(ttlMs), retries: OPTIMISTIC_RETRIES };
      const result = await this.#products.update(
        id,
        (current) => {
          missing = current === undefined;
          return current === undefined ? undefined : { ...current, ...change };
        },
        options,
      );
      return missing ? undefined : this.#answer(result);
    } catch (error) {
      if (!(error instanceof LockstepError) || error.code !== 'LOCKSTEP_CONFLICT') throw error;
      const body = (tx: unknown) => this.#store.updateIn(tx, id, change);
      const result = await this.#products.write(id, body, ttlOption(ttlMs));
      return result.returned ? this.#answer(result) : undefined;
    }
  }

  async addStock(id: number, by: number, ttlMs: number): Promise<WriteAnswer | undefined> {
    try {
      return this.#answer(await this.#products.increment(id, 'stock', by, ttlOption(ttlMs)));
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'LOCKSTEP_STORE_REFUSED') return undefined;
      throw error;
    }
  }

  async remove(id: number): Promise<WriteAnswer> {
    return this.#answer(await this.#products.delete(id));
  }

  list(category: string): Promise<readonly ProductRow[]> {
    return this.#lists.get(category);
  }

  page(id: number): Promise<ProductPage> {
    return this.#pages.get(id);
  }

  async putReview(review: Review): Promise<ReviewAnswer> {
    const { value, ...rest } = await this.#reviews.put(review.id, review);
    return { ...rest, review: value };
  }

  async removeReview(id: number): Promise<ReviewAnswer> {
    const { value, ...rest } = await this.#reviews.delete(id);
    return { ...rest, review: value };
  }

  async warm(ids: readonly number[]): Promise<void> {
    await this.#products.getMany(ids);
  }

  async *entries(): AsyncGenerator<CachedProduct> {
    const { keyPrefix, serializer } = this.#info;
    for await (const entry of this.#lockstep.cache.scan(keyPrefix, serializer.encoding)) {
      yield {
        id: Number(entry.key.slice(keyPrefix.length + this.#store.names.keyStart.length)),
        state: entry.state,
        version: entry.version,
        product: await this.#productOf(entry, entry.key),
      };
    }
  }

  async entry(id: number): Promise<CachedProduct | undefined> {
    const { keyPrefix, serializer } = this.#info;
    const key = keyPrefix + this.#store.adapter.keyOf(id);
    const [hit] = await this.#lockstep.cache.read([key], serializer.encoding);
    if (hit instanceof Error) throw hit;
    if (hit !== undefined && hit.version > 0) {
      return { id, state: 'value', version: hit.version, product: await this.#productOf(hit, key) };
    }
    // A read does not tell a hole from an empty key; the audit's scan does.
    for await (const entry of this.#lockstep.cache.scan(key, serializer.encoding)) {
      if (entry.key === key) {
        const product = await this.#productOf(entry, key);
        return { id, state: entry.state, version: entry.version, product };
      }
    }
    return undefined;
  }

  async drain(): Promise<void> {
    await this.#lockstep.drain();
  }

  async close(): Promise<void> {
    await this.#lockstep.close();
  }

  async #productOf(entry: Pick<CacheHit, 'payload' | 'version'>, cacheKey: string): Promise<Product | null> {
    const key = cacheKey.slice(this.#info.keyPrefix.length);
    return this.#clean((await this.#info.decode(entry, key)) as Product | null);
  }

  #clean(value: Product | null): Product | null {
    return value === null ? null : this.#store.productOf(value);
  }

  #answer({ value, version, cache, coalesced }: WriteResult<Product>): WriteAnswer {
    return { product: this.#clean(value), version, cache, coalesced };
  }
}

/** What lists of products depend on. */
export function productTags({ window }: ShopStore): ['category'] | [] {
  return window.byValue ? ['category'] : [];
}

export function reviewTags({ window }: ShopStore): ['product'] | [] {
  return window.byValue ? ['product'] : [];
}

function ttlOption(ttlMs: number): { ttlMs: number } | undefined {
  return ttlMs > 0 ? { ttlMs } : undefined;
}
