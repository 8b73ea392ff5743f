import type { CacheOutcome } from '@lockstep/core';
import type { Product, ProductChange, Review } from '../products.js';
import type { ProductRow, ReviewRow } from '../stores/store.js';

export interface ReadAnswer {
  /** `null`: there is no such product. */
  readonly product: Product | null;
  /** 0: an absence without a version. */
  readonly version: number;
  readonly hit: boolean;
}

export interface WriteAnswer {
  /** `null` after a delete. */
  readonly product: Product | null;
  /** 0: a delete that found nothing. */
  readonly version: number;
  readonly cache: CacheOutcome | 'pending';
  readonly coalesced: boolean;
}

/** A product and everything that is said of it. */
export interface ProductPage {
  /** `null`: there is no such product. */
  readonly product: ProductRow | null;
  readonly reviews: readonly ReviewRow[];
}

export interface ReviewAnswer extends Pick<WriteAnswer, 'cache' | 'version' | 'coalesced'> {
  /** `null` after a delete. */
  readonly review: Review | null;
}

/** The cached entry of one product. */
export interface CachedProduct {
  readonly id: number;
  readonly state: 'value' | 'hole';
  /** The value's version, or the hole's floor. */
  readonly version: number;
  /** `null`: known to be absent, or a hole. */
  readonly product: Product | null;
}

/** The way in which an application keeps cache and store in step: Lockstep, or what people write by hand. */
export interface ShopEngine {
  readonly name: 'lockstep' | 'naive';
  /** `ttlMs` 0, here and below: the collection's own. */
  read(id: number, ttlMs: number): Promise<ReadAnswer>;
  put(product: Product, ttlMs: number): Promise<WriteAnswer>;
  /** Resolves with `undefined` when there is no such product; so does `addStock`. */
  patch(id: number, change: ProductChange, ttlMs: number): Promise<WriteAnswer | undefined>;
  addStock(id: number, by: number, ttlMs: number): Promise<WriteAnswer | undefined>;
  remove(id: number): Promise<WriteAnswer>;
  /** The cheapest products of a category. */
  list(category: string): Promise<readonly ProductRow[]>;
  page(id: number): Promise<ProductPage>;
  putReview(review: Review): Promise<ReviewAnswer>;
  removeReview(id: number): Promise<ReviewAnswer>;
  /** Puts products into the cache that are not there. */
  warm(ids: readonly number[]): Promise<void>;
  /** Everything that the cache holds. */
  entries(): AsyncIterable<CachedProduct>;
  entry(id: number): Promise<CachedProduct | undefined>;
  /** Waits until nothing is under way in the background. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The hooks through which an engine reports to its owner. */
export interface EngineHooks {
  /** A statement for reads was sent for that many rows. */
  readonly storeRead: (rows: number) => void;
  /** A list or a product page was loaded from the store. */
  readonly viewLoaded: () => void;
  /** The store has committed a write; the cache does not know yet. */
  readonly committed: () => void;
  /** A write is done: how long its two halves took, in ms. */
  readonly writeTimes: (storeMs: number, cacheMs: number) => void;
  readonly breaker: (state: 'open' | 'half-open' | 'closed') => void;
  /** Something failed where no caller waits for it. */
  readonly backgroundError: (where: string, error: unknown) => void;
}
