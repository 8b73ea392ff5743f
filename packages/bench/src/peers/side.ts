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
  close(): Promise<void>;
}

/** What a side works on: a table and a pool of connections of its own, and the Redis that all share. */
export interface Ground {
  readonly redisUrl: string;
  /** The product's row as the table has it. Counted. */
  load(id: string): Promise<Product | undefined>;
  /** An upsert by knex, as people write it. */
  save(row: Product): Promise<void>;
}

export type Peer = (ground: Ground) => Promise<PeerSide>;
