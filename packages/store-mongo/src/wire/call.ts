import type { ClientSession } from 'mongodb';
import type { CallBound } from './bound.js';

/** A call's deadline, and its transaction's session. */
export interface Call {
  readonly bound: CallBound;
  readonly session: ClientSession | undefined;
}

/** The options that bind a statement to its call. */
export function statementOptions(call: Call): { session?: ClientSession; maxTimeMS: number } {
  const { serverMs: maxTimeMS } = call.bound;
  return call.session === undefined ? { maxTimeMS } : { session: call.session, maxTimeMS };
}
