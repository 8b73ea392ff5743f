import { CacheUnavailableError } from '@lockstep/core';

/** The promise, or a `CacheUnavailableError` after `ms`; what was under way goes on unheard. */
export function bounded<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(unanswered(ms));
    }, ms);
    timer.unref();
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

export function unanswered(ms: number): CacheUnavailableError {
  return new CacheUnavailableError(`Redis did not answer within ${ms} ms`);
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
