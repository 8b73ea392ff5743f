import type { NearStatus } from './near.js';

/** Who has switched the cache off: this process for itself, or somebody for all processes. */
export type SwitchedOff = 'process' | 'fleet';

/** The state of the cache's use. */
export interface LockstepStatus {
  /** False: every read goes to the store. */
  readonly enabled: boolean;
  /** The sides that have switched it off; empty: none has. */
  readonly switchedOff: readonly SwitchedOff[];
  /** The near entries of each collection with `near`; absent where there is none. */
  readonly near?: readonly NearStatus[];
}
