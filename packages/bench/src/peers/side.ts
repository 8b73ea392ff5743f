import type { Product } from '../bursts/product.js';

/** Lockstep, another cache, or the least that has to be done: what no cache with a database behind it can beat. */
export type Kind = 'ours' | 'peer' | 'limit';

/** One way to keep products of a table in Redis, with the table. */
export interface Side {
  readonly kind: Kind;
  /** A product out of the cache, or out of the table, which fills the cache. */
  get(id: string): Promise<Product | undefined>;
  /** Into the table, then into the cache. */
  put(row: Product): Promise<unknown>;
  /** One more of a product's stock. */
  increment(id: string): Promise<unknown>;
  /** Sets the stock, and nothing else. */
  patch(id: string, stock: number): Promise<unknown>;
  /** As `patch`, by a function of the row where there is such a call. */
  update(id: string, stock: number): Promise<unknown>;
  delete(id: string): Promise<unknown>;
  /** Several rows in one transaction, then into the cache. */
  transact(rows: readonly Product[]): Promise<unknown>;
  /** Makes the next `get` a miss. */
  evict(id: string): Promise<unknown>;
  /** Rows read from the table since the last call. */
  takeLoads(): number;
  close(): Promise<void>;
}

/** What another cache works on: a table's rows, and the Redis that all share. */
export interface Ground {
  /** The side's own. */
  readonly name: string;
  readonly redisUrl: string;
  readonly ttlS: number;
  load(id: string): Promise<Product | undefined>;
}

/** Another cache, as its documentation advises. */
export interface PeerCache {
  get(id: string): Promise<Product | undefined>;
  /** After the row was written. */
  written(row: Product): Promise<unknown>;
  evict(id: string): Promise<unknown>;
  close(): Promise<void>;
}

export type Peer = (ground: Ground) => Promise<PeerCache>;
