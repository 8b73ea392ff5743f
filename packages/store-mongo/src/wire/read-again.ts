import { Backoff } from '@lockstep/core/kit';
import type { CallBound } from './bound.js';
import { isPassing } from './errors.js';

const BETWEEN_TRIES = { firstMs: 10, lastMs: 200 };

/**
 * Reads until the server answers, for as long as the call may take. The driver tries a read twice: an election, or two
 * in a row, may meet both tries, first with a closed connection and then with a server that is not yet a primary.
 */
export async function readAgain<T>(bound: CallBound, read: () => Promise<T>): Promise<T> {
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
