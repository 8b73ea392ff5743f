import { MAX_VERSION_AHEAD_MS, NO_VERSION, type Version } from '@lockstep/core';
import { type Document, Long } from 'mongodb';

/** A number in the version field that is further ahead of the server's clock is somebody's mistake, and counts as none. */
const MAX_AHEAD_US = Long.fromNumber(MAX_VERSION_AHEAD_MS * 1_000);

/** The store's versions are even, a buffered write's odd. Leaves a number between that no row ever has. */
export function nextEven(version: Version): Version {
  return version + 2 + (version % 2);
}

/** A version as it is stored: always 64 bits, whatever its size. */
export function toStored(version: Version): Long {
  return Long.fromNumber(version);
}

/** A stored version as a number; `0` for anything that is not a version. */
export function fromStored(stored: unknown): Version {
  const number =
    typeof stored === 'number'
      ? stored
      : typeof stored === 'bigint' || Long.isLong(stored)
        ? Number(stored)
        : 0;
  return Number.isSafeInteger(number) && number > 0 ? number : NO_VERSION;
}

/** The server's clock in µs. */
const CLOCK: Document = { $multiply: [{ $toLong: '$$NOW' }, 1000] };

/**
 * The expression of a new version, evaluated by the server under the document's lock: its clock in µs,
 * above the old version in `field` and above `above`. It travels with each document, and the server parses
 * it for each, so it is short: what is no number compares above all numbers or below zero, and so does what is
 * beyond belief; null is left out by `$max`.
 *
 * `$$NOW` has a resolution of 1 ms and stands still within a command, hence "old + 2" on a hot key.
 */
export function stampExpression(field: string, above: Version, clock: Document | string = CLOCK): Document {
  const old = `$${field}`;
  const next = { $add: [old, 2, { $mod: [old, 2] }] };
  const believable = { $and: [{ $gt: [old, 0] }, { $lte: [old, { $add: [clock, MAX_AHEAD_US] }] }] };
  const room = { $cond: [believable, next, null] };
  const lowest = above === NO_VERSION ? [clock, room] : [clock, room, toStored(nextEven(above))];
  // Whatever type of number another program has left there.
  return { $toLong: { $max: lowest } };
}

/** A variable for `let`, so that a bulk of many stamps asks the clock, and the deadline, once. */
export const CLOCK_VARIABLE = '$$at';

export function clockVariable(deadline: Date | undefined): Document {
  return { at: before(deadline, CLOCK) };
}

/** The text in the error of a statement that was run too late. */
export const TOO_LATE = 'lockstep: too late at';

/**
 * The expression, unless the server's clock is past the deadline: then the statement fails and changes
 * nothing. `maxTimeMS` bounds only how long it runs, not when it starts: a server that was frozen, or a
 * retry after an election, would run it long after its caller has gone.
 */
export function before(deadline: Date | undefined, expression: Document | Long): Document | Long {
  if (deadline === undefined) return expression;
  const fail = { $toLong: { $concat: [`${TOO_LATE} `, { $toString: '$$NOW' }] } };
  return { $cond: [{ $lte: ['$$NOW', deadline] }, expression, fail] };
}

/** Gives the document a new version and changes nothing else. */
export function restampPipeline(field: string, above: Version, deadline?: Date): Document[] {
  return [{ $set: { [field]: before(deadline, stampExpression(field, above)) } }];
}

/**
 * Replaces the document whole. The user's data is a literal: strings that start with `$` and names with
 * dots are data, never expressions. An existing document keeps its `_id`, and with it the BSON type.
 */
export function replacePipeline(field: string, value: Document, version: Document | Long): Document[] {
  return [{ $replaceWith: { $mergeObjects: [{ $literal: value }, { _id: '$_id', [field]: version }] } }];
}
