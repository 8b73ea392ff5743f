import type { ClientSession } from 'mongodb';
import type { CallBound } from './bound.js';

/** A call's deadline, and its transaction's session. */
export interface Call {
  readonly bound: CallBound;
  readonly session: ClientSession | undefined;
}

/** The part of a call's remaining time that a write may take; the rest is for its way to the server. */
const RUNNING = 3 / 4;

/**
 * How long a write may run. A server counts from when it begins: one that begins within the rest is over when the call
 * is, however long it waited for a connection or for the row.
 */
export function writeMs({ bound, session }: Call): number {
  // A transaction waits for no row, and what it has done counts from its commit.
  if (session !== undefined) return bound.serverMs;
  return Math.max(1, Math.floor(bound.remainingMs * RUNNING));
}

/** A statement of less would hardly get to the server. */
const LEAST_MS = 10;

/** Times that a statement is sent: where the servers' clock is not known any more, all of them are late. */
const SENDS = 4;

/**
 * True where a statement that changed nothing, and was sent so many times, can be sent again. Throws what a call that
 * was aborted rejects with. A deadline by the server's clock stays what it was.
 */
export function canBegin({ bound, session }: Call, sent: number): boolean {
  if (session !== undefined || bound.notAfterMs !== undefined) return false;
  if (sent === SENDS || bound.remainingMs <= LEAST_MS) return false;
  bound.check();
  return true;
}

/** The options of a write that begins by `lastStart`. */
export function writeOptions(call: Call): ReturnType<typeof statementOptions> {
  return { ...statementOptions(call), maxTimeMS: writeMs(call) };
}

/** The options that bind a statement to its call. */
export function statementOptions(call: Call): { session?: ClientSession; maxTimeMS: number } {
  const { serverMs: maxTimeMS } = call.bound;
  return call.session === undefined ? { maxTimeMS } : { session: call.session, maxTimeMS };
}
