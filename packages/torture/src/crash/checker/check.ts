import type { History } from '../history.js';
import { lostCounts } from './counters.js';
import { lostWrites } from './lost.js';
import { reorderedWrites } from './order.js';
import { staleReads } from './stale.js';

export interface CheckOptions {
  /**
   * A foreign write and one of Lockstep's that are closer than this in time are ordered by clocks alone, in µs:
   * their order is not judged.
   */
  readonly foreignSlackUs: number;
}

/** The faults of a history, in words. */
export interface Findings {
  /** Acknowledged writes whose effect is gone. */
  readonly lost: readonly string[];
  /** Writes whose versions contradict the order in time. */
  readonly reordered: readonly string[];
  /** Reads of less than an acknowledged write that was over before they began, through the cache. */
  readonly staleReads: readonly string[];
  /** The same of reads that fell back to the store, which does not have what is buffered: not promised. */
  readonly staleFallbacks: readonly string[];
}

/** Judges a history that is over: nothing is buffered any more. */
export function check(history: History, { foreignSlackUs }: CheckOptions): Findings {
  const stale = staleReads(history);
  return {
    lost: [...lostWrites(history, foreignSlackUs), ...lostCounts(history)],
    reordered: reorderedWrites(history, foreignSlackUs),
    staleReads: stale.served,
    staleFallbacks: stale.fallbacks,
  };
}
