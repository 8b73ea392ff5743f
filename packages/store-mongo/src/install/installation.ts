import type { Db } from 'mongodb';
import type { SourceRecords } from './records.js';

/** The database that collections are installed in, and what they share there. */
export interface Installation {
  readonly db: Db;
  readonly replicated: boolean;
  readonly sharded: boolean;
  readonly tombstones: string;
  readonly tombstoneTtlMs: number;
  /** The collections of positions and consumers, and of what is recorded of each source. */
  readonly feed: string;
  readonly consumers: string;
  readonly sources: string;
  readonly records: SourceRecords;
}
