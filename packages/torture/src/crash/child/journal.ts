import type { LockstepEvents } from '@lockstep/core';
import { write } from '../../processes/orders.js';
import { encodeLine, type Line } from '../lines.js';

const EVERY_MS = 50;

export function tell(line: Line): void {
  write(encodeLine(line));
}

/** Tells, now and then, what became of buffered writes; a kill loses the last figures. */
export function tally(events: LockstepEvents): void {
  let counts: Record<string, number> = {};
  const count = (name: string): void => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  events.on('bufferRefused', ({ reason }) => count(`refused-${reason}`));
  events.on('flush', ({ outcome }) => count(`flush-${outcome}`));
  events.on('flushRefused', () => count('flush-refused'));
  events.on('cacheGeneration', () => count('generations'));
  events.on('error', ({ error, where }) => {
    count(`error-${where}`);
    if (process.env['LOCKSTEP_CRASH_ERRORS'] === '1') console.error(where, error);
  });
  setInterval(() => {
    if (Object.keys(counts).length === 0) return;
    tell({ type: 'tally', counts });
    counts = {};
  }, EVERY_MS).unref();
}
