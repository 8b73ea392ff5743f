import { setTimeout as delay } from 'node:timers/promises';
import type { InvalidateJob } from '@lockstep/core';

/** Asks again until it holds. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const giveUpAt = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within 60 s`);
    await delay(10);
  }
}

export function invalidation(key: string, version: number): InvalidateJob {
  return { kind: 'invalidate', key, version };
}
