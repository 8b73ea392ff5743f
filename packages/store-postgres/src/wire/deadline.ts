import { type Clock, StoreTimeoutError } from '@lockstep/core';
import { Deadline } from '@lockstep/core/kit';

/** A deadline after which calls reject with a `StoreTimeoutError` of the message. */
export function storeDeadline(
  clock: Clock,
  timeoutMs: number,
  message: string,
  signal?: AbortSignal | undefined,
): Deadline {
  return new Deadline({ clock, timeoutMs, signal, late: () => new StoreTimeoutError(message) });
}
