import { writeSync } from 'node:fs';
import type { Identity } from './slot.js';

const STDOUT = 1;
const FULL_WAIT_MS = 1;
const waiting = new Int32Array(new SharedArrayBuffer(4));

/** To the parent, at once: what is written here survives this process. Waits while the pipe is full. */
export function write(text: string): void {
  let left = Buffer.from(text);
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(STDOUT, left));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(waiting, 0, 0, FULL_WAIT_MS);
    }
  }
}

/** What a process of a run does: it gets ready, says so, and works until it is told to stop. */
export type Work<Settings> = (
  settings: Settings,
  /** Says that it is ready; resolves when it may go on. */
  ready: () => Promise<void>,
  stop: Promise<void>,
) => Promise<void>;

/**
 * Runs a process that is there to be killed. It gets ready, says so, waits for `go`, works until `stop`, and ends
 * with its parent, however that went.
 *
 * @param sayReady tells the parent
 */
export async function obey<Settings extends Identity>(
  work: Readonly<Record<Identity['role'], Work<Settings>>>,
  sayReady: () => void,
): Promise<never> {
  const settings = JSON.parse(process.argv[2] ?? '{}') as Settings;
  const orders = new Map<string, () => void>();
  const heard = (order: string): Promise<void> =>
    new Promise((resolve) => {
      orders.set(order, resolve);
    });
  const go = heard('go');
  const stop = heard('stop');
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (text: string) => {
    for (const order of text.split('\n')) orders.get(order)?.();
  });
  process.stdin.on('end', () => process.exit(0));
  // A terminal sends Ctrl-C to everybody: the parent says when to end.
  process.on('SIGINT', () => undefined);
  const ready = (): Promise<void> => {
    sayReady();
    return go;
  };
  await work[settings.role](settings, ready, stop);
  process.exit(0);
}
