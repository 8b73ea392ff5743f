import { QueueUnavailableError } from '@lockstep/core';

/** The promise, or a `QueueUnavailableError` with its reason or after `ms`. */
export async function bounded<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new QueueUnavailableError(`${what}: no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    if (error instanceof QueueUnavailableError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new QueueUnavailableError(`${what}: ${message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
