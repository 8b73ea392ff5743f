import type { Version } from './version.js';

/** A change that a feed still holds. */
export interface KeptChange {
  readonly version: Version;
  readonly op: 'put' | 'delete';
  /** In ms since the epoch, by the store's clock. */
  readonly changedAtMs: number;
  /** Consumers that have dealt with it. */
  readonly done: readonly string[];
  /** True where it tells values of declared columns, too, not the key alone. */
  readonly tellsValues: boolean;
}

/** The records that a store keeps of one row beside the row. */
export interface KeptOfRow {
  /** The oldest first; at most 100. */
  readonly changes: readonly KeptChange[];
  /** The version of a deletion that is remembered, with the key; `undefined`: none is. */
  readonly tombstone: Version | undefined;
}

/** The repairs of a store in one source. */
export interface StoreRepair {
  readonly source: string;
  /** Rows that got a new version. */
  readonly rows: number;
  /** Tombstones that were removed. */
  readonly tombstones: number;
  /** Changes of the feed that were recorded anew; 0 where the feed can't hold such versions. */
  readonly changes: number;
  /** The keys of them; the store may leave some out where there are very many. */
  readonly keys: readonly string[];
}

/** Something that a store was asked about before a deployment. */
export interface StoreFinding {
  readonly what: string;
  readonly isWell: boolean;
  /** The finding; where something is wrong, with its remedy. */
  readonly says: string;
}
