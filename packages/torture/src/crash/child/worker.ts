import { setTimeout as pause } from 'node:timers/promises';
import type { QueueJob } from '@lockstep/core';
import { seededRandom } from '../../random.js';
import { openParty } from '../party.js';
import type { ChildSettings } from '../settings.js';
import { tally } from './journal.js';

/** The longest wait of the slower jobs before they begin, in ms, so that entries stay unflushed for a while. */
const LONGEST_WAIT_MS = 150;

/** Consumes the queue and relays the feed, as a worker does. */
export async function runWorker(
  settings: ChildSettings,
  ready: () => Promise<void>,
  stop: Promise<void>,
): Promise<void> {
  const party = await openParty(settings, 'synchronous');
  const { lockstep, store } = party;
  await store.adapter.open?.();
  await lockstep.cache.open?.().catch(() => undefined);
  await ready();
  tally(lockstep.events);
  const random = seededRandom(settings.seed);
  const handle = async (job: QueueJob): Promise<void> => {
    if (random() < 0.5) await pause(random() * LONGEST_WAIT_MS);
    await lockstep.handleJob(job);
  };
  const consumer = await lockstep.queue?.consume(handle, { concurrency: 32 });
  lockstep.startRelay();
  await stop;
  await consumer?.close();
  await party.close();
}
