// The entry of a worker process: Lockstep's worker on the shop's servers, and its figures for the page.
import { subscribe } from 'node:diagnostics_channel';
import type { LockstepEventMap } from '@lockstep/core';
import { systemMs } from '@lockstep/torture';
import { endWithParent } from '../child.js';
import { Peer } from '../ipc.js';
import type { Nothing, RelayedBatch, WorkerCalls, WorkerTells } from '../messages.js';
import { openWorker, type RunningWorker } from './open.js';

const REPORT_MS = 100;
/** Batches and errors kept until the next report; there are a few a second. */
const MAX_WAITING = 10_000;

const supervisor = new Peer<Nothing, WorkerTells, WorkerCalls, Nothing>(process);
let worker: RunningWorker | undefined;
let batches: RelayedBatch[] = [];
let errors: { where: string; message: string }[] = [];

endWithParent(async () => {
  await worker?.stop();
});

subscribe('lockstep:relay', (message) => {
  const { changes, lagMs } = message as LockstepEventMap['relay'];
  if (changes > 0 && batches.length < MAX_WAITING) batches.push({ changes, lagMs, atMs: systemMs() });
});
subscribe('lockstep:error', (message) => {
  const { where, error } = message as LockstepEventMap['error'];
  if (errors.length < MAX_WAITING) errors.push({ where, message: String(error) });
});

function report(): void {
  if (batches.length > 0 || errors.length > 0) supervisor.tell('report', { batches, errors });
  batches = [];
  errors = [];
}

supervisor.answer('start', async (config) => {
  worker = await openWorker(config);
  setInterval(report, REPORT_MS);
  return { url: worker.url };
});
supervisor.answer('stop', async () => {
  await worker?.stop();
  report();
  return null;
});
