import type { NearStatus } from './near.js';

/** Who has switched the cache off: this process for itself, or somebody for all processes. */
export type SwitchedOff = 'process' | 'fleet';

/** Whether the cache is used. */
export interface LockstepStatus {
  /** False: every read goes to the store. */
  readonly enabled: boolean;
  /** Empty: nobody has. */
  readonly switchedOff: readonly SwitchedOff[];
  /** Of each collection with `near`; absent where there is none. */
  readonly near?: readonly NearStatus[];
}
