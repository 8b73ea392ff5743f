/**
 * A number per entity that grows with each committed write, deletes included: a hybrid logical clock
 * in microseconds, a safe integer, stamped by the store under the row's lock. Even numbers are the
 * store's, odd ones a buffered write's. `0` means "no version": nothing known, or an unversioned store.
 */
export type Version = number;

/** The version of nothing: a floor of `0` refuses no one. */
export const NO_VERSION: Version = 0;

/** True for a number that a store may hand out as a version: a positive safe integer. */
export function isVersion(value: unknown): value is Version {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

/**
 * How far above a clock a version from outside (a cache, a queue, another role) may be: clocks of one installation
 * differ by less. What is above is believed by nobody.
 */
export const MAX_VERSION_AHEAD_MS = 24 * 3_600_000;

/**
 * How far the store's clock may be ahead of the cache's without costing misses: what is further ahead in the cache
 * gives way to every change.
 */
export const MAX_LEAD_MS = 60_000;

/**
 * How long a hole is kept at most, and how far ahead of the cache's clock a lease or an intent in it may run out: four
 * days. The options allow less: a strict write may take two days and a second, and a hole's floor one more day.
 */
export const MAX_HOLE_MS = 4 * 24 * 3_600_000;

/** True for a version that a store of this time may have handed out. */
export function isBelievable(version: Version, nowMs: number): boolean {
  return version <= believedUpTo(nowMs);
}

/** The highest version that is believed at a time, in ms since the epoch by the judge's own clock. */
export function believedUpTo(nowMs: number): Version {
  return Math.trunc((nowMs + MAX_VERSION_AHEAD_MS) * 1_000);
}
