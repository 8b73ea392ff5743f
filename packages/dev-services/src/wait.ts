import { setTimeout as delay } from 'node:timers/promises';
import { DevServicesError, messageOf } from './errors.js';

/** Asks again and again until the answer is true; an error counts as "not yet". Rejects after `timeoutMs`. */
export async function waitFor(
  what: string,
  timeoutMs: number,
  holds: () => Promise<boolean>,
  intervalMs = 25,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await holds()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const reason = last === undefined ? '' : `: ${messageOf(last)}`;
      throw new DevServicesError('DEV_SERVICES_TIMEOUT', `Waited ${timeoutMs} ms for ${what}${reason}`, {
        cause: last,
      });
    }
    await delay(intervalMs);
  }
}
