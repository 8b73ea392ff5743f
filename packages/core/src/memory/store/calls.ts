import type { Clock } from '../../contracts/clock.js';
import type { StoreCallOptions } from '../../contracts/store.js';
import { StoreTimeoutError, StoreUnavailableError } from '../../errors.js';
import { Deadline } from '../../kit/wait.js';

/** A call's deadline by the store's clock. */
export function callDeadline(
  { signal, timeoutMs }: Pick<StoreCallOptions, 'timeoutMs' | 'signal'>,
  clock: Clock,
  what: string,
): Deadline {
  return new Deadline({
    clock,
    timeoutMs,
    signal,
    late: () => new StoreTimeoutError(`${what}: no answer in ${timeoutMs} ms`),
    aborted: (cause) => new StoreUnavailableError(`${what}: aborted`, 'not-committed', { cause }),
  });
}
