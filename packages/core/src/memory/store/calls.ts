import type { Clock } from '../../contracts/clock.js';
import type { StoreCallOptions } from '../../contracts/store.js';
import { StoreTimeoutError, StoreUnavailableError } from '../../errors.js';

/** The end of a call's time: rejects when its signal aborts or its time-out passes. */
export interface CallBound extends Disposable {
  readonly ended: Promise<never>;
  /** Throws when the call has ended. */
  check(): void;
}

/** Bounds a call by the store's clock. Dispose it when the call is over. */
export function boundCall(
  options: Pick<StoreCallOptions, 'timeoutMs' | 'signal'>,
  clock: Clock,
  what: string,
): CallBound {
  const { promise, reject } = Promise.withResolvers<never>();
  // The call may be over before anybody waits for its end.
  promise.catch(() => {});
  let reason: StoreTimeoutError | StoreUnavailableError | undefined;
  function end(error: StoreTimeoutError | StoreUnavailableError): void {
    reason ??= error;
    reject(reason);
  }
  const { signal, timeoutMs } = options;
  function onAbort(): void {
    end(new StoreUnavailableError(`${what}: aborted`, 'not-committed', { cause: signal?.reason }));
  }
  const late = (): void => end(new StoreTimeoutError(`${what}: no answer in ${timeoutMs} ms`));
  const cancel = clock.schedule(late, timeoutMs);
  const endsAtMs = clock.monotonic() + timeoutMs;
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  return {
    ended: promise,
    check() {
      // A process that was stopped finds its timers late.
      if (clock.monotonic() >= endsAtMs) late();
      if (reason !== undefined) throw reason;
    },
    [Symbol.dispose]() {
      cancel();
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
