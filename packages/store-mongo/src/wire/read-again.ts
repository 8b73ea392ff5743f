import { setTimeout as delay } from 'node:timers/promises';
import type { CallBound } from './bound.js';
import { isPassing } from './errors.js';

const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 200;

/**
 * Reads until the server answers, for as long as the call may take. The driver tries a read twice: an election, or two
 * in a row, may meet both tries, first with a closed connection and then with a server that is not yet a primary.
 */
export async function readAgain<T>(bound: CallBound, read: () => Promise<T>): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
    bound.check();
    try {
      return await read();
    } catch (error) {
      if (!isPassing(error) || bound.remainingMs <= pauseMs) throw error;
    }
    await delay(pauseMs);
  }
}
