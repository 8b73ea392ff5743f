import { NO_VERSION, type Version } from '../contracts/version.js';

/** A writer's place in the cache between its preparation and its put. */
export interface Reservation {
  /** The store stamps above this. */
  readonly above: Version;
  /** `undefined`: the cache could not be asked, or the key is thought to hold a value. */
  readonly token: string | undefined;
  /** True when the token is an intent's: the entry is a hole until it is given back. */
  readonly intent: boolean;
  /** How far ahead of its clock the store stamps a blind write, in ms: the cache may hold a buffered one. */
  readonly aheadMs: number;
  /** When the store refuses the write, by its own clock; `undefined`: no intent of it can run out before its commit. */
  readonly notAfterMs?: number | undefined;
  /** False: the cache may have lost the intents of others, so that this write's value must not be placed. Never rejects. */
  readonly placeable?: Promise<boolean> | undefined;
  /** Where rows have tags: what the row's entry notes. `undefined`: not known, so that nothing is placed. */
  readonly mark?: string | undefined;
}

/** The reservation of a write that the cache was not asked for. */
export const NOTHING: Reservation = { above: NO_VERSION, token: undefined, intent: false, aheadMs: 0 };
