import { setTimeout as delay } from 'node:timers/promises';

/** Far more than anything here should take, on any machine. */
export const WITHIN_MS = 30_000;

/** Asks again until it holds; returns what it took, in ms. */
export async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
  withinMs = WITHIN_MS,
): Promise<number> {
  const began = performance.now();
  while (!(await holds())) {
    if (performance.now() - began > withinMs) throw new Error(`${what}: not within ${withinMs} ms`);
    await delay(10);
  }
  return performance.now() - began;
}
