import type { CacheOutcome } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { NAIVE_LISTS_PREFIX } from '../naming.js';
import type { Product, ProductChange, Review } from '../products.js';
import type { PlainStore, ProductRow, ShopWindow } from '../stores/store.js';
import type {
  CachedProduct,
  EngineHooks,
  ProductPage,
  ReadAnswer,
  ReviewAnswer,
  ShopEngine,
  WriteAnswer,
} from './engine.js';
import { NaiveLists } from './naive-lists.js';

export interface NaiveEngineOptions {
  readonly store: PlainStore;
  readonly window: ShopWindow;
  readonly redis: Redis;
  /** The start of its keys. */
  readonly prefix: string;
  readonly ttlMs: number;
}

/**
 * The cache that people write by hand: commit, then `SETEX`, and a `DEL` if that fails; a miss loads and
 * `SETEX`es. The cached value carries its row's version, so that the checker can judge it; nothing here
 * looks at it.
 */
export class NaiveEngine implements ShopEngine {
  readonly name = 'naive';
  readonly #store: PlainStore;
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #ttlMs: number;
  readonly #hooks: EngineHooks;
  readonly #lists: NaiveLists;
  /** Reads of one turn of the event loop, which share an `MGET`. */
  #waiting: { readonly id: number; readonly answer: (raw: string | null) => void }[] = [];

  constructor(options: NaiveEngineOptions, hooks: EngineHooks) {
    this.#store = options.store;
    this.#redis = options.redis;
    this.#prefix = options.prefix;
    this.#ttlMs = options.ttlMs;
    this.#hooks = hooks;
    this.#lists = new NaiveLists({ ...options, prefix: NAIVE_LISTS_PREFIX }, hooks);
  }

  async read(id: number, ttlMs: number): Promise<ReadAnswer> {
    const cached = parse(await this.#get(id));
    if (cached !== undefined) return { ...cached, hit: true };
    this.#hooks.storeRead(1);
    const [row] = await this.#store.read([id]);
    if (row === undefined) return { product: null, version: 0, hit: false };
    await this.#set(row, ttlMs).catch(() => undefined);
    return { ...row, hit: false };
  }

  put(product: Product, ttlMs: number): Promise<WriteAnswer> {
    return this.#write(product.id, ttlMs, () => this.#store.upsert(product)) as Promise<WriteAnswer>;
  }

  patch(id: number, change: ProductChange, ttlMs: number): Promise<WriteAnswer | undefined> {
    return this.#write(id, ttlMs, () => this.#store.update(id, change));
  }

  addStock(id: number, by: number, ttlMs: number): Promise<WriteAnswer | undefined> {
    return this.#write(id, ttlMs, () => this.#store.addStock(id, by));
  }

  async remove(id: number): Promise<WriteAnswer> {
    const startMs = performance.now();
    const version = await this.#store.remove(id);
    const storeMs = performance.now() - startMs;
    if (version === undefined) return { product: null, version: 0, cache: 'invalidated', coalesced: false };
    this.#hooks.committed();
    const cache = await this.#del(id);
    await this.#lists.changed(id, undefined);
    this.#hooks.writeTimes(storeMs, performance.now() - startMs - storeMs);
    // Nobody tells the version of a deletion to plain SQL; it is above the row's.
    return { product: null, version: version + 1, cache, coalesced: false };
  }

  list(category: string): Promise<readonly ProductRow[]> {
    return this.#lists.list(category);
  }

  page(id: number): Promise<ProductPage> {
    return this.#lists.page(id);
  }

  putReview(review: Review): Promise<ReviewAnswer> {
    return this.#lists.putReview(review);
  }

  removeReview(id: number): Promise<ReviewAnswer> {
    return this.#lists.removeReview(id);
  }

  async warm(ids: readonly number[]): Promise<void> {
    const cached = await this.#redis.mget(ids.map((id) => this.#key(id)));
    const missing = ids.filter((_, position) => cached[position] === null);
    if (missing.length === 0) return;
    this.#hooks.storeRead(missing.length);
    const rows = await this.#store.read(missing);
    const pipeline = this.#redis.pipeline();
    for (const row of rows) {
      if (row === undefined) continue;
      pipeline.set(this.#key(row.product.id), JSON.stringify(row), 'PX', this.#ttlMs);
    }
    await pipeline.exec();
  }

  async *entries(): AsyncGenerator<CachedProduct> {
    let cursor = '0';
    do {
      const [next, keys] = await this.#redis.scan(cursor, 'MATCH', `${this.#prefix}*`, 'COUNT', 1_000);
      cursor = next;
      const values = keys.length === 0 ? [] : await this.#redis.mget(keys);
      for (const [position, key] of keys.entries()) {
        const row = parse(values[position] ?? null);
        if (row !== undefined) yield { id: Number(key.slice(this.#prefix.length)), state: 'value', ...row };
      }
    } while (cursor !== '0');
  }

  async entry(id: number): Promise<CachedProduct | undefined> {
    const row = parse(await this.#redis.get(this.#key(id)));
    return row === undefined ? undefined : { id, state: 'value', ...row };
  }

  async drain(): Promise<void> {}

  async close(): Promise<void> {
    this.#redis.disconnect();
  }

  async #write(
    id: number,
    ttlMs: number,
    statement: () => Promise<ProductRow | undefined>,
  ): Promise<WriteAnswer | undefined> {
    const startMs = performance.now();
    const row = await statement();
    if (row === undefined) return undefined;
    const storeMs = performance.now() - startMs;
    this.#hooks.committed();
    let cache: CacheOutcome;
    try {
      await this.#set(row, ttlMs);
      cache = 'updated';
    } catch {
      cache = await this.#del(id);
    }
    await this.#lists.changed(id, row.product.category);
    this.#hooks.writeTimes(storeMs, performance.now() - startMs - storeMs);
    return { ...row, cache, coalesced: false };
  }

  async #set(row: ProductRow, ttlMs: number): Promise<void> {
    await this.#redis.set(
      this.#key(row.product.id),
      JSON.stringify(row),
      'PX',
      ttlMs > 0 ? ttlMs : this.#ttlMs,
    );
  }

  async #del(id: number): Promise<CacheOutcome> {
    try {
      await this.#redis.del(this.#key(id));
      return 'invalidated';
    } catch {
      return 'deferred';
    }
  }

  #get(id: number): Promise<string | null> {
    return new Promise((answer) => {
      if (this.#waiting.length === 0) setImmediate(() => void this.#mget());
      this.#waiting.push({ id, answer });
    });
  }

  async #mget(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    // A cache that does not answer is a miss.
    const values = await this.#redis.mget(waiting.map(({ id }) => this.#key(id))).catch(() => []);
    for (const [position, { answer }] of waiting.entries()) answer(values[position] ?? null);
  }

  #key(id: number): string {
    return `${this.#prefix}${id}`;
  }
}

function parse(raw: string | null): ProductRow | undefined {
  return raw === null ? undefined : (JSON.parse(raw) as ProductRow);
}
