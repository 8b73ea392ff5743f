import type { Knex } from 'knex';
import type { Product } from '../bursts/product.js';

/** Lockstep, another cache, or the least that has to be done: what no cache with a database behind it can beat. */
export type Kind = 'ours' | 'peer' | 'limit';

/** One way to keep products of a table in Redis. */
export interface PeerSide {
  readonly kind: Kind;
  /** A product out of the cache, or out of the table, which fills the cache. */
  get(id: string): Promise<Product | undefined>;
  /** Into the table, then into the cache, as the cache's own documentation advises. */
  put(row: Product): Promise<unknown>;
  /** Makes the next `get` a miss. */
  evict(id: string): Promise<unknown>;
  /** Absent where there is nothing but `put`. */
  readonly changes?: Changes;
  close(): Promise<void>;
}

/** One statement on one row that is there, and the cache in step with what it leaves. */
export interface Changes {
  /** Adds one to the stock. */
  increment(id: string): Promise<unknown>;
  /** Sets the stock, and nothing else. */
  patch(id: string, stock: number): Promise<unknown>;
  /** As `patch`, by a function of the row where there is such a call. */
  update(id: string, stock: number): Promise<unknown>;
  delete(id: string): Promise<unknown>;
}

/** What a side works on: a table and a pool of connections of its own, and the Redis that all share. */
export interface Ground {
  readonly redisUrl: string;
  /** The product's row as the table has it. Counted. */
  load(id: string): Promise<Product | undefined>;
  /** An upsert by knex, as people write it. */
  save(row: Product): Promise<void>;
  /** The table, for a statement. */
  rows(): Knex.QueryBuilder<Product>;
}

export type Peer = (ground: Ground) => Promise<PeerSide>;
