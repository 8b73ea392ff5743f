import { setTimeout as pause } from 'node:timers/promises';
import type { Lockstep } from '@lockstep/core';
import type { Work } from '../../processes/orders.js';
import { seededRandom } from '../../random.js';
import { openViewsParty, type ViewsParty } from '../party.js';
import type { ViewsLine } from '../recorder.js';
import type { ViewsChildSettings } from '../settings.js';
import { ViewsLoad } from './load.js';

type Tell = (line: ViewsLine) => void;
type Arguments = Parameters<Work<ViewsChildSettings>>;

/** Callers at once. */
const CALLERS = 8;
const LONGEST_PAUSE_MS = 12;
const COUNT_EVERY_MS = 50;

/** Reads and writes until it is told to stop, or killed. */
export async function runApplication(tell: Tell, ...[settings, ready, stop]: Arguments): Promise<void> {
  const random = seededRandom(settings.seed);
  const party = await opened(settings);
  await ready();
  count(party.lockstep, tell);
  const load = new ViewsLoad(party, settings.name, random, tell);
  let stopped = false;
  void stop.then(() => {
    stopped = true;
  });
  const caller = async (): Promise<void> => {
    while (!stopped) {
      await load.step();
      await pause(random() * LONGEST_PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  await party.close();
}

/** Relays the feed, as a worker does. */
export async function runWorker(tell: Tell, ...[settings, ready, stop]: Arguments): Promise<void> {
  const party = await opened(settings);
  await ready();
  count(party.lockstep, tell);
  party.lockstep.startRelay();
  await stop;
  await party.close();
}

async function opened(settings: ViewsChildSettings): Promise<ViewsParty> {
  const party = await openViewsParty(settings);
  await party.store.adapter.open?.();
  await party.lockstep.cache.open?.().catch(() => undefined);
  return party;
}

/** Tells, now and then, what reads found, and what failed where nobody waited for it; a kill loses the last figures. */
function count({ events }: Lockstep, tell: Tell): void {
  let counts: Record<string, number> = {};
  const one = (name: string): void => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  events.on('hit', ({ collection }) => one(`hits of ${collection}`));
  events.on('miss', ({ collection, reason }) => one(`misses of ${collection}: ${reason}`));
  events.on('error', ({ error, where }) => {
    one(`errors at ${where}`);
    if (process.env['LOCKSTEP_CRASH_ERRORS'] === '1') console.error(where, error);
  });
  setInterval(() => {
    if (Object.keys(counts).length === 0) return;
    tell({ type: 'counts', counts });
    counts = {};
  }, COUNT_EVERY_MS).unref();
}
