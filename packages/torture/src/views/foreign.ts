import { setTimeout as pause } from 'node:timers/promises';
import { type Random, randomChoice } from '../random.js';
import type { ViewsRecorder } from './recorder.js';
import { CATEGORIES, KEYS, SHELVES } from './rows.js';
import type { ViewsStore } from './stores/store.js';

const LONGEST_PAUSE_MS = 300;

/** Another program that writes to the same rows, past Lockstep, until the signal aborts. */
export async function writeForeign(
  { foreign }: ViewsStore,
  recorder: ViewsRecorder,
  random: Random,
  signal: AbortSignal,
): Promise<void> {
  for (let number = 0; !signal.aborted; number++) {
    const _id = randomChoice(random, KEYS);
    const row = {
      _id,
      category: randomChoice(random, CATEGORIES),
      shelf: randomChoice(random, SHELVES),
      ref: randomChoice(random, KEYS),
      token: `foreign:${number}`,
    };
    const dice = random();
    try {
      if (dice < 0.4) await foreign.update(row);
      else if (dice < 0.7) await foreign.put(row);
      else if (dice < 0.85) await foreign.remove(_id);
      else if (dice < 0.98) await foreign.move(row.category, randomChoice(random, CATEGORIES), `:${number}`);
      else await foreign.removeAll();
      recorder.count('foreign writes');
    } catch {
      recorder.count('foreign writes that failed');
    }
    await pause(random() * LONGEST_PAUSE_MS);
  }
}
