import { openParty } from '../party.js';
import type { ChildSettings } from '../settings.js';
import { tally } from './journal.js';

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
  const consumer = await lockstep.queue?.consume((job) => lockstep.handleJob(job), { concurrency: 16 });
  lockstep.startRelay();
  await stop;
  await consumer?.close();
  await party.close();
}
