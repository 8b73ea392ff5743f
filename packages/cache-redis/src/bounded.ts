import { CacheUnavailableError, systemClock } from '@lockstep/core';
import { withTimeout } from '@lockstep/core/kit';

/** The promise, or a `CacheUnavailableError` after `ms`; what was under way goes on unheard. */
export function bounded<T>(promise: Promise<T>, ms: number): Promise<T> {
  return withTimeout(systemClock, promise, ms, () => unanswered(ms));
}

export function unanswered(ms: number): CacheUnavailableError {
  return new CacheUnavailableError(`Redis did not answer within ${ms} ms`);
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
