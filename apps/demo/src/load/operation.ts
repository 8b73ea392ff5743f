/**
 * An operation of the generator on a product. `put` stores it whole, `patch` is a compare-and-set of some
 * fields, `stock` adds to a number, `delete` removes it.
 */
export type OperationKind = 'read' | 'put' | 'patch' | 'stock' | 'delete';

/** One thing to do. */
export interface Operation {
  readonly kind: OperationKind;
  /** The product, 0 to `products - 1`; its id is one more. */
  readonly index: number;
  /** The size that its description is to have, in bytes; 0: as it comes. */
  readonly valueBytes: number;
  /** The time to live of what it leaves in the cache, in ms; 0: the collection's. */
  readonly ttlMs: number;
}

/** The cache commands of the Twitter traces, in the shop's words. */
export const CACHE_COMMANDS: ReadonlyMap<string, OperationKind> = new Map([
  ['get', 'read'],
  ['gets', 'read'],
  ['set', 'put'],
  ['add', 'put'],
  ['replace', 'put'],
  ['append', 'patch'],
  ['prepend', 'patch'],
  ['cas', 'patch'],
  ['incr', 'stock'],
  ['decr', 'stock'],
  ['delete', 'delete'],
]);
