import type { Clock } from '../contracts/clock.js';
import { CacheUnavailableError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';

/** The answer of the cache, or `CacheUnavailableError` after `ms`. `silence`: its message, without the time. */
export function withinCacheTime<T>(
  clock: Clock,
  answer: Promise<T>,
  ms: number,
  silence = 'the cache did not answer',
): Promise<T> {
  return withTimeout(clock, answer, ms, () => new CacheUnavailableError(`${silence} within ${ms} ms`));
}
