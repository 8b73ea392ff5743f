import { Deadline } from '@lockstep/core/kit';

/** The promise, or a rejection that says what did not answer within `ms`. */
export function bounded<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  const late = (): Error => new Error(`${what}: no answer within ${ms} ms`);
  return new Deadline({ timeoutMs: ms, late, keepsAlive: true }).bound(promise);
}
