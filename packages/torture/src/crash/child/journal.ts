import { writeSync } from 'node:fs';
import type { LockstepEvents } from '@lockstep/core';
import { encodeLine, type Line } from '../lines.js';

const STDOUT = 1;
const EVERY_MS = 50;

const FULL_WAIT_MS = 1;
const waiting = new Int32Array(new SharedArrayBuffer(4));

/** To the parent, at once: what is written here survives this process. Waits while the pipe is full. */
export function tell(line: Line): void {
  let left = Buffer.from(encodeLine(line));
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(STDOUT, left));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(waiting, 0, 0, FULL_WAIT_MS);
    }
  }
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
