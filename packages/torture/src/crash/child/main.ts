import type { ChildSettings } from '../settings.js';
import { runApplication } from './application.js';
import { tell } from './journal.js';
import { runWorker } from './worker.js';

/**
 * A process that is there to be killed. It gets ready, says so, waits for `go`, works until `stop`, and ends
 * with its parent, however that went.
 */
const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings;
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
  tell({ type: 'ready' });
  return go;
};
await (settings.role === 'worker' ? runWorker(settings, ready, stop) : runApplication(settings, ready, stop));
process.exit(0);
