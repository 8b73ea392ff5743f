import type { LockstepError } from '../errors.js';

/**
 * How rows travel through a cache where the serializer would not carry them exactly, or where what a driver makes of a
 * row depends on its process. `unpack(pack(row))`, serialized in between, is what the driver of the process that
 * unpacks would have given for the row, deeply equal.
 */
export interface RowCarrier<Value> {
  /**
   * The value for the serializer: for a row as `read` and `write` gave it (the same object), or for a caller's value
   * that is measured, or to be buffered.
   */
  pack(value: Value): unknown;
  /** Another object that is deeply equal to a row: it packs as the row does. */
  copied?(row: Value, copy: Value): void;
  /** Throws where it can't tell; the engine counts that as a miss. May take `packed` over. */
  unpack(packed: unknown): Value;
}

/**
 * A process's knowledge of a store's rows. It travels with what the process caches, so that processes that know
 * different columns of one table can share a cache. Compared by identity: one that changed is another object.
 */
export interface RowShape {
  /** The later of two shapes has the higher number. Whole, not negative. */
  readonly order: number;
  /** Types by property. */
  readonly properties?: ReadonlyMap<string, string> | undefined;
  /**
   * Instead of `properties`, where nobody knows them: letters, digits, `_`, `.`, `-`. A later one sorts behind, numbers
   * as numbers. Empty, with the order 0: nobody gave it one; it is earlier than any, and payloads stay as they are.
   */
  readonly name?: string | undefined;
}

/** How a store tells the shape of its rows. */
export interface StoreShape {
  /** Synchronous, after `open`. `undefined`: not known at the moment, so that nothing is taken from the cache. */
  current(): RowShape | undefined;
  /** Asks the store for the shape of now. Does not reject: what can't be learnt stays. */
  renew(): Promise<void>;
}

/** A row that is to be created, and the key that it gets. */
export interface NewRow<Value> {
  readonly key: string;
  /** With its key's properties, where rows have them. */
  readonly value: Value;
}

/** For each value the row that it becomes, or why it becomes none. */
export type NewRows<Value> = readonly (NewRow<Value> | LockstepError)[];
