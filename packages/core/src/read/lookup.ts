import type { CollectionContext } from '../collection/context.js';
import type { Loader } from './loader.js';

/** One entity that a caller asks for. */
export interface Lookup {
  readonly key: string;
  readonly cacheKey: string;
  readonly ttlMs: number;
  /** By the clock's `monotonic`. */
  readonly startedAtMs: number;
}

/** What the read path of one collection works with. */
export interface ReadContext<Value> extends CollectionContext<Value> {
  readonly loader: Loader<Value>;
  /** Where writes may be buffered: brings a key's buffered write into the store. */
  readonly flushKey: ((key: string) => Promise<void>) | undefined;
}
