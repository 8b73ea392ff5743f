import type { ClientSession } from 'mongodb';

/**
 * The session as those see it who must not use it once its transaction is over. The driver asks `hasEnded` when it
 * builds a command: past the end of its transaction a session would have it run on its own, and committed.
 */
export function guardedSession(session: ClientSession, isOver: () => boolean): ClientSession {
  return new Proxy(session, {
    get: (target, property) =>
      property === 'hasEnded' ? isOver() || target.hasEnded : Reflect.get(target, property, target),
  });
}
