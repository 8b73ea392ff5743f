import { StoreTimeoutError } from '@lockstep/core';
import { Backoff, withTimeout } from '@lockstep/core/kit';
import type { CallBound } from './bound.js';
import { isPassing } from './errors.js';

const BETWEEN_TRIES = { firstMs: 10, lastMs: 200 };

/**
 * Reads until the server answers, for as long as the call may take. The driver tries a read twice: an election, or two
 * in a row, may meet both tries, first with a closed connection and then with a server that is not yet a primary.
 *
 * A read may also stay without any answer, while others are answered. The driver (mongodb 7.9) hands out a connection that
 * its server has ended until the socket's `close` event, and waits for a `drain` that never comes when it writes to it:
 * so it goes for idle connections of a server that was killed. So the read is sent once more, on another connection, when
 * half of the call's time is over; the first answer counts.
 */
export async function readAgain<T>(bound: CallBound, read: () => Promise<T>): Promise<T> {
  const first = readThrough(bound, read);
  const unanswered = new StoreTimeoutError(`${bound.what}: no answer yet`);
  try {
    return await withTimeout(bound.clock, first, bound.remainingMs / 2, () => unanswered);
  } catch (error) {
    if (error !== unanswered) throw error;
  }
  return await Promise.race([first, readThrough(bound, read)]);
}

async function readThrough<T>(bound: CallBound, read: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(BETWEEN_TRIES);
  for (;;) {
    bound.check();
    try {
      return await read();
    } catch (error) {
      if (!isPassing(error) || !(await backoff.waitWithin(bound))) throw error;
    }
  }
}
