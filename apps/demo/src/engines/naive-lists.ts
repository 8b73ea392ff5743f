import type { Redis } from 'ioredis';
import type { Review } from '../products.js';
import type { PlainStore, ProductRow, ShopWindow } from '../stores/store.js';
import type { EngineHooks, ProductPage, ReviewAnswer } from './engine.js';

interface NaiveListsOptions {
  readonly store: PlainStore;
  readonly window: ShopWindow;
  readonly redis: Redis;
  readonly prefix: string;
  readonly ttlMs: number;
}

/** Lists as people cache them by hand: until their time is over, or a member's change deletes the list that it is in now. */
export class NaiveLists {
  readonly #options: NaiveListsOptions;
  readonly #hooks: Pick<EngineHooks, 'viewLoaded' | 'committed'>;

  constructor(options: NaiveListsOptions, hooks: Pick<EngineHooks, 'viewLoaded' | 'committed'>) {
    this.#options = options;
    this.#hooks = hooks;
  }

  list(category: string): Promise<readonly ProductRow[]> {
    return this.#cached(listKey(category), () => this.#options.window.list(category));
  }

  page(id: number): Promise<ProductPage> {
    const { store, window } = this.#options;
    return this.#cached(pageKey(id), async () => {
      const [[product], reviews] = await Promise.all([store.read([id]), window.reviews(id)]);
      return { product: product ?? null, reviews };
    });
  }

  async putReview(review: Review): Promise<ReviewAnswer> {
    const row = await this.#options.window.put(review);
    this.#hooks.committed();
    return { ...row, cache: await this.#deleted(pageKey(review.product)), coalesced: false };
  }

  async removeReview(id: number): Promise<ReviewAnswer> {
    const row = await this.#options.window.remove(id);
    const cache = row === undefined ? 'invalidated' : await this.#deleted(pageKey(row.review.product));
    // Nobody tells the version of a deletion to plain SQL; it is above the row's.
    return { review: null, version: row === undefined ? 0 : row.version + 1, cache, coalesced: false };
  }

  /** A product was written. `category`: the one that it has now. */
  async changed(id: number, category: string | undefined): Promise<void> {
    await this.#deleted(pageKey(id), ...(category === undefined ? [] : [listKey(category)]));
  }

  async #cached<T>(key: string, load: () => Promise<T>): Promise<T> {
    const { prefix, redis, ttlMs } = this.#options;
    const raw = await redis.get(prefix + key).catch(() => null);
    if (raw !== null) return JSON.parse(raw) as T;
    this.#hooks.viewLoaded();
    const value = await load();
    await redis.set(prefix + key, JSON.stringify(value), 'PX', ttlMs).catch(() => undefined);
    return value;
  }

  async #deleted(...keys: string[]): Promise<'invalidated' | 'deferred'> {
    const { prefix, redis } = this.#options;
    return redis.del(keys.map((key) => prefix + key)).then(
      () => 'invalidated',
      () => 'deferred',
    );
  }
}

function listKey(category: string): string {
  return `list:${category}`;
}

function pageKey(id: number): string {
  return `page:${id}`;
}
