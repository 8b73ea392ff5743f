import { setTimeout as pause } from 'node:timers/promises';
import { nowUs } from '../clock.js';
import { type Random, randomChoice } from '../random.js';
import type { Recorder } from './recorder.js';
import { COOL, FOREIGN_ONLY, HOT, seedRow } from './rows.js';
import type { CrashStore } from './stores/store.js';

const LONGEST_PAUSE_MS = 24;

/** Another program that writes to the same rows, past Lockstep, until the signal aborts. */
export async function writeForeign(
  store: CrashStore,
  recorder: Recorder,
  random: Random,
  signal: AbortSignal,
): Promise<void> {
  for (let number = 0; !signal.aborted; number++) {
    const plain = random() < 0.15;
    const key = randomChoice(random, plain ? FOREIGN_ONLY : random() < 0.6 ? HOT : COOL);
    const row = { ...seedRow(key), token: `foreign:${number}` };
    const write = recorder.foreignBegin(row, nowUs());
    try {
      const version = await (plain ? store.foreignPlainUpdate(row) : store.foreignUpdate(row));
      if (version === undefined) recorder.foreignNothing(write);
      else recorder.foreignEnd(write, nowUs(), version);
    } catch {
      recorder.count('foreign-unanswered');
    }
    await pause(random() * LONGEST_PAUSE_MS);
  }
}
