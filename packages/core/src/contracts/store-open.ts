import type { LockstepError } from '../errors.js';

/** Whom a store tells of its state. */
export interface StoreOpenOptions {
  /** Told of what works, and should be mended all the same. */
  readonly onWarning?: (warning: LockstepError) => void;
  /**
   * Told when the store does not keep the rows in step any more (`kept` false, with the reason): changes of them are not
   * recorded, and versions order nothing. Nothing of them may be cached until it is told that they are kept again. Calls
   * of the store go on. Before an answer that the store gives in the new state.
   */
  readonly onKept?: (kept: boolean, reason: string) => void;
}
