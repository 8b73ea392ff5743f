import type { Clock } from '@lockstep/core';
import type { Deadline } from '@lockstep/core/kit';
import { storeDeadline } from '../wire/deadline.js';

/** The message of a feed's call that ran into its bound. */
export function tooLong(what: string, timeoutMs: number): string {
  return `feed: ${what} took more than ${timeoutMs} ms`;
}

/** The deadline of a feed's call. */
export function feedDeadline(clock: Clock, what: string, timeoutMs: number, signal?: AbortSignal): Deadline {
  return storeDeadline(clock, timeoutMs, tooLong(what, timeoutMs), signal);
}
