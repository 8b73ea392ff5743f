import type { Version } from '@lockstep/core';
import { atLeast, atMost, bitAnd, bitOr, equal, minus, modulo, operator, plus, times } from './operators.js';

/**
 * How a statement tells the stamping trigger what it wants, through the version column itself: a
 * negative number marks the write as Lockstep's. Even: "stamp above this". Odd: "this very version".
 * A number that is not negative is a foreign writer's and is ignored.
 */
export function stampAbove(above: Version): string {
  return above === 0 ? '-2' : String(-2n * BigInt(above) - 2n);
}

/** {@link stampAbove} of an SQL expression. */
export const stampAboveSql = (above: string): string => minus(times('-2', above), '2');

/** "This very version", of an SQL expression. */
export const stampExactlySql = (version: string): string => minus(times('-2', version), '1');

/** The server's clock in µs; `now` may be `pg_catalog.now()` where an index is to be used. */
export const microsSql = (now = 'pg_catalog.clock_timestamp()'): string =>
  `${times(`pg_catalog.date_part('epoch', ${now})`, '1e6')}::pg_catalog.int8`;

/**
 * How far above the store's clock a version is believed. More than any clock is off by, or a buffered write is
 * stamped ahead; whoever says more (a cache that was tampered with, a row from before that was bounded) is not
 * believed, since what is stamped above it could never go down again.
 */
const MAX_AHEAD_US = 24 * 3600 * 1_000_000;

/** The highest version that is believed, by the transaction's start: no row asks the system for the time for it. */
export const limitSql = (): string => plus(microsSql('pg_catalog.now()'), String(MAX_AHEAD_US));

/**
 * {@link limitSql} without whole numbers, whose rounding costs each row two more calls than a bound of a day needs.
 */
export const highestSql = (): string =>
  plus(times("pg_catalog.date_part('epoch', pg_catalog.now())", '1e6'), String(MAX_AHEAD_US));

/** True of a version that is not ahead of what is believed. */
export const notAheadSql = (version: string, highest = highestSql()): string => atMost(version, highest);

/** True of a version that may be believed. */
export const believedSql = (version: string, highest = highestSql()): string =>
  `(${atLeast(version, '1')} AND ${notAheadSql(version, highest)})`;

/** The version where it is believed, NULL elsewhere: `greatest` passes over it. */
export const ifBelievedSql = (version: string, highest = highestSql()): string =>
  `CASE WHEN ${believedSql(version, highest)} THEN ${version} END`;

/** In an answer, in place of a version that is not believed. */
export const UNBELIEVED = -1;

/** The version as it is told: {@link UNBELIEVED} where it is not believed, NULL where there is none. */
export const toldSql = (version: string): string =>
  `CASE WHEN ${version} IS NULL OR ${believedSql(version)} THEN ${version} ELSE (${UNBELIEVED}) END`;

/**
 * The next version of a write of ours above `base`: 2 modulo 4 (here 6 modulo 8). Even, so never a buffered write's,
 * and told apart from a foreign write's (0 modulo 4): consumers leave ours alone for a while, since its writer normally
 * deals with it.
 */
export const nextOwnSql = (base: string): string => plus(bitOr(base, '7'), '7');

/**
 * The version of a delete of ours above `base`: the next that is 2 modulo 4, in every release. The statement tells its
 * caller what the trigger records, and one of them may be of another release than the other.
 */
export const nextDeletedSql = (base: string): string => minus(bitOr(plus(base, '2'), '3'), '1');

/**
 * As {@link nextOwnSql}, in a statement that stamps and records its own rows: 2 modulo 8, where triggers stamp our
 * writes with 6. Whoever may not run such a statement meets the trigger, which stamps anew.
 */
export const nextStampedSql = (base: string): string => plus(bitOr(base, '7'), '3');

/** True of a version that {@link nextStampedSql} has made. */
export const isStampedSql = (version: string): string => equal(bitAnd(version, '7'), '2');

/** The opposite, as few words as can be of a condition that the server reads anew for each statement. */
export const isNotStampedSql = (version: string): string =>
  operator(bitAnd(version, "'7'::pg_catalog.int8"), '<>', '2');

/** The next version of a foreign write above `base`: 0 modulo 4. */
export const nextForeignSql = (base: string): string => plus(bitOr(base, '3'), '1');

/** True of a foreign write's version, in SQL. */
export const isForeignSql = (version: string): string => equal(modulo(version, '4'), '0');

/**
 * The path of whatever runs with the rights of another, or looks at what others made. `pg_temp` is named, since
 * types would be looked for there first otherwise: anybody may create some.
 */
export const SAFE_PATH = 'pg_catalog, pg_temp';

/** Sets {@link SAFE_PATH} for a transaction that fires no triggers of the user's. */
export const SET_SAFE_PATH = `pg_catalog.set_config('search_path', '${SAFE_PATH}', true)`;

/** The schema that holds what Lockstep installs. */
export const SCHEMA = 'lockstep';

/** The channel that foreign writes notify. */
export const CHANNEL = 'lockstep';

/** `own` inside a transaction of the store, so that the user's own statements in it count as ours. */
export const SETTING_TX = 'lockstep.tx';
/** Inside a statement that stamps and records its own puts: the table that it does so for. */
export const SETTING_STAMPED = 'lockstep.stamped';
/** `yes` inside a transaction that has changed a row's key. */
export const SETTING_MOVED = 'lockstep.moved';
/** `yes` inside a transaction that has inserted rows which are recorded together. */
export const SETTING_INSERTED = 'lockstep.inserted';
/** `yes` between the trigger that finds a row below its tombstone and the one that has it stamped anew. */
export const SETTING_BELOW = 'lockstep.below';
/** The version that a delete of ours is stamped above; empty for a foreign one. */
export const SETTING_DELETE_BASE = 'lockstep.delete_base';
/** The versions that buffered deletes carry: a JSON object by key. */
export const SETTING_DELETE_EXACT = 'lockstep.delete_exact';

/** When writes of the transaction are refused, in µs by the server's clock; empty: never. */
export const SETTING_DEADLINE = 'lockstep.deadline';

/** The SQLSTATE of a write that came after its deadline. */
export const LATE_STATE = 'LSEND';

/** The SQLSTATE with which the insert trigger refuses a buffered write below a tombstone. */
export const SUPERSEDED_STATE = 'LSSUP';

/** The SQLSTATE with which it has a statement of ours run again: it was stamped below a concurrent delete. */
export const RETRY_STATE = 'LSTRY';

/** The SQLSTATE with which a write of ours is refused whose row's or own version is not believed. */
export const UNBELIEVED_STATE = 'LSVER';
