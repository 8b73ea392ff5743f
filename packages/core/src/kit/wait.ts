import type { Clock } from '../contracts/clock.js';

/**
 * The promise, or a rejection with `makeError()` after `ms`. What was under way goes on; its late
 * outcome is dropped.
 */
export function withTimeout<T>(
  clock: Clock,
  promise: Promise<T>,
  ms: number,
  makeError: () => Error,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.schedule(() => reject(makeError()), ms);
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}

/** The promise, or a rejection with the signal's reason once it aborts. */
export function withSignal<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) {
      promise.catch(() => undefined);
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Resolves after `ms`, or once the signal aborts. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const wake = (): void => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.schedule(wake, ms);
    signal?.addEventListener('abort', wake, { once: true });
  });
}

/** As `sleep`, for a wait that a caller waits for: it keeps the process alive, as a call to a server does. */
export async function callerSleep(clock: Clock, ms: number): Promise<void> {
  const alive = setInterval(() => undefined, 2 ** 30);
  try {
    await sleep(clock, ms);
  } finally {
    clearInterval(alive);
  }
}
