import type { ProcessorTimes } from './processor.js';
import type { Product } from './product.js';

/** One way to write products to a database and a cache. */
export interface Side {
  put(product: Product): Promise<unknown>;
  /** Adds to the stock of one product. */
  increment(id: string, by: number): Promise<unknown>;
  stock(id: string): Promise<number>;
}

/** Both sides on the same servers, and what was counted below them. */
export interface Bench {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly ours: Side;
  readonly theirs: Side;
  /** Rows written and statements sent by our store adapter since the last call. */
  takeWrites(): { readonly commands: number; readonly statements: number };
  /** The processor time of this process and the servers, so far. */
  processor(): ProcessorTimes;
  close(): Promise<void>;
}
