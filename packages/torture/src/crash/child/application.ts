import { setTimeout as pause } from 'node:timers/promises';
import { seededRandom } from '../../random.js';
import { openParty, type Pressure } from '../party.js';
import type { ChildSettings } from '../settings.js';
import { tally } from './journal.js';
import { Load } from './load.js';

const PRESSURES: readonly Pressure[] = ['rate', 'rate', 'forced', 'forced', 'synchronous'];
/** Callers at once. */
const CALLERS = 16;
const LONGEST_PAUSE_MS = 20;

/** Reads and writes until it is told to stop, or killed. */
export async function runApplication(
  settings: ChildSettings,
  ready: () => Promise<void>,
  stop: Promise<void>,
): Promise<void> {
  const random = seededRandom(settings.seed);
  // One after the other, so that a short run has each: the processes of a place are numbered on from a multiple.
  const pressure = PRESSURES[settings.seed % PRESSURES.length] ?? 'rate';
  const party = await openParty(settings, pressure);
  await party.store.adapter.open?.();
  await party.lockstep.cache.open?.().catch(() => undefined);
  await ready();
  tally(party.lockstep.events);
  const load = new Load(party, settings.name, random);
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
