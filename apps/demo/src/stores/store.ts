import type { FeedStatus, StoreAdapter } from '@lockstep/core';
import type { Product, ProductChange, Review } from '../products.js';

export type StoreKind = 'postgres' | 'mongo';

export const STORE_KINDS = ['postgres', 'mongo'] as const satisfies readonly StoreKind[];

/** How to reach the store. */
export interface StoreAddress {
  readonly kind: StoreKind;
  readonly url: string;
}

/** A row and its version. */
export interface ProductRow {
  readonly product: Product;
  readonly version: number;
}

/** A review and its version. */
export interface ReviewRow {
  readonly review: Review;
  readonly version: number;
}

/** The most products of a category's list. */
export const LIST_LENGTH = 12;

/** What the shop shows of many rows at once, as the primary has it. */
export interface ShopWindow {
  /** For Lockstep. */
  readonly adapter: StoreAdapter<Review, number>;
  /** Whether the store is asked to tell which values rows had and get; otherwise lists depend on all rows. */
  readonly byValue: boolean;
  /** The cheapest products of a category. */
  list(category: string): Promise<ProductRow[]>;
  reviews(product: number): Promise<ReviewRow[]>;
  review(id: number): Promise<ReviewRow | undefined>;
  /** Statements as any other program would send them. */
  put(review: Review): Promise<ReviewRow>;
  /** The review that is gone; `undefined`: there was none. */
  remove(id: number): Promise<ReviewRow | undefined>;
}

/** A table's or collection's names, for whoever looks at it from outside. */
export interface StoreNames {
  readonly table: string;
  readonly keyColumn: string;
  readonly versionColumn: string;
  /** The text that the store puts before an id in a cache key. */
  readonly keyStart: string;
}

/** A write by a program that knows nothing of Lockstep. */
export interface ForeignWrite {
  /** The version that it has, once it has one; `undefined` when the row is gone before. */
  version(): Promise<number | undefined>;
}

/**
 * The shop's database as the supervisor and the applications use it. Another database is another
 * implementation of this.
 */
export interface ShopStore {
  readonly names: StoreNames;
  /** The adapter for Lockstep. */
  readonly adapter: StoreAdapter<Product, number>;
  readonly window: ShopWindow;
  /** The driver's plain statements, which know nothing of Lockstep. */
  readonly plain: PlainStore;
  /** The product in a value of the adapter's, without what only the store needs. */
  productOf(value: Product): Product;
  /** Changes a product as another program would; resolves once that is committed, `undefined`: there is none. */
  foreignUpdate(id: number, change: ProductChange): Promise<ForeignWrite | undefined>;
  /** Changes a product by the user's own statement inside a transaction of the adapter's; false: there is none. */
  updateIn(tx: unknown, id: number, change: ProductChange): Promise<boolean>;
  /** Creates the table, fills it and attaches the versions and the change feed. */
  prepare(products: readonly Product[]): Promise<void>;
  /** The server's version in words. */
  serverVersion(): Promise<string>;
  /** Changes that nobody has dealt with. */
  feedStatus(): Promise<FeedStatus>;
  close(): Promise<void>;
}

/** Statements as any other program would send them. */
export interface PlainStore {
  /** Position by position; `undefined` where there is none. */
  read(ids: readonly number[]): Promise<(ProductRow | undefined)[]>;
  upsert(product: Product): Promise<ProductRow>;
  /** `undefined`: there is no such row; so do the others. */
  update(id: number, change: ProductChange): Promise<ProductRow | undefined>;
  addStock(id: number, by: number): Promise<ProductRow | undefined>;
  /** The version of the row that is gone. */
  remove(id: number): Promise<number | undefined>;
}
