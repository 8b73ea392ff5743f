import { type Clock, StoreTimeoutError } from '@lockstep/core';

export interface Bound {
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The work's result; or a `StoreTimeoutError` with the message after `timeoutMs`, or the signal's reason once it
 * aborts. What was under way goes on unheard.
 */
export async function bounded<T>(
  { clock, signal }: Bound,
  work: PromiseLike<T>,
  timeoutMs: number,
  message: string,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = clock.schedule(() => reject(new StoreTimeoutError(message)), Math.max(0, timeoutMs));
  const abort = (): void => reject(signal?.reason);
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    stop();
    signal?.removeEventListener('abort', abort);
  }
}
