import { messageOf, QueueUnavailableError } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';

/** The promise, or a `QueueUnavailableError` with its reason or after `ms`. */
export async function bounded<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  const late = (): Error => new QueueUnavailableError(`${what}: no answer within ${ms} ms (timeoutMs)`);
  try {
    return await new Deadline({ timeoutMs: ms, late, keepsAlive: true }).bound(promise);
  } catch (error) {
    if (error instanceof QueueUnavailableError) throw error;
    throw new QueueUnavailableError(`${what}: ${messageOf(error)}`, { cause: error });
  }
}
