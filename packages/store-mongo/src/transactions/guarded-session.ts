import { UnsupportedError } from '@lockstep/core';
import type { ClientSession } from 'mongodb';

/** Calls that end the transaction, so that later statements run on their own, or begin another one. */
const ENDS: ReadonlySet<unknown> = new Set<keyof ClientSession>([
  'abortTransaction',
  'commitTransaction',
  'endSession',
  'startTransaction',
  'withTransaction',
]);

/**
 * The session as those see it who must not use it once its transaction is over. The driver asks `hasEnded` when it
 * builds a command: past the end of its transaction a session would have it run on its own, and committed.
 * The transaction is ended by whoever began it alone.
 */
export function guardedSession(session: ClientSession, isOver: () => boolean): ClientSession {
  return new Proxy(session, {
    get: (target, property) => {
      if (property === 'hasEnded') return isOver() || target.hasEnded;
      return ENDS.has(property) ? () => refuse(String(property)) : Reflect.get(target, property, target);
    },
  });
}

function refuse(call: string): Promise<never> {
  const error = new UnsupportedError(
    `${call}: the transaction of this session is Lockstep's: its body returns to commit it, and throws to roll it back`,
  );
  if (call === 'startTransaction') throw error;
  return Promise.reject(error);
}
