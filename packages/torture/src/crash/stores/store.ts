import type { StoreAdapter, Version } from '@lockstep/core';
import type { FinalRow } from '../history.js';
import type { CrashRow } from '../rows.js';

/** A database as the crash test uses it. */
export interface CrashStore {
  readonly adapter: StoreAdapter<CrashRow, string>;
  /** Creates the table, attaches it, and puts the rows; resolves with their versions. */
  prepare(rows: readonly CrashRow[]): Promise<Map<string, FinalRow>>;
  /**
   * Another program's update of an existing row. Resolves with its version (`0` where nothing has stamped it),
   * or `undefined` when there is no such row.
   */
  foreignUpdate(row: CrashRow): Promise<Version | undefined>;
  /** The same without a version, where the store leaves stamping to its writers. */
  foreignPlainUpdate(row: CrashRow): Promise<Version | undefined>;
  /** Every row, read past Lockstep. */
  rows(): Promise<Map<string, FinalRow>>;
  /** Changes that no relay has dealt with. */
  pending(): Promise<number>;
  close(): Promise<void>;
}
