import type { CollectionContext } from '../collection/context.js';
import type { NearMark } from '../near/entries.js';
import type { Loader } from './loader.js';

/** One entity that a caller asks for. */
export interface Lookup {
  readonly key: string;
  readonly cacheKey: string;
  readonly ttlMs: number;
  /** By the clock's `monotonic`. */
  readonly startedAtMs: number;
  /** `undefined`: what is found is not stored near. */
  readonly mark?: NearMark | undefined;
}

/** The context of one collection's read path. */
export interface ReadContext<Value> extends CollectionContext<Value> {
  readonly loader: Loader<Value>;
  /** Brings a key's buffered write into the store; `undefined`: the collection buffers none. */
  readonly flushKey: ((key: string) => Promise<void>) | undefined;
}
