import { setTimeout as pause } from 'node:timers/promises';
import { nowUs } from '../clock.js';
import type { Slot } from '../processes/slot.js';
import { type Random, randomChoice } from '../random.js';
import type { BreakableCache, CacheFault } from './breaker.js';

export type BlowKind = 'application' | 'worker' | 'workers' | 'all' | CacheFault;

export interface Blow {
  readonly what: BlowKind;
  /** When it began, in µs of the machine's monotonic clock. */
  readonly atUs: number;
}

export interface BlowsOptions {
  readonly kills: number;
  readonly slots: readonly Slot[];
  readonly cache: BreakableCache;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onBlow: (done: number, what: BlowKind) => void;
}

const PROCESSES: readonly BlowKind[] = ['application', 'application', 'worker', 'workers', 'all'];
const SHORTEST_MS = 100;
const LONGEST_MS = 400;

/** Kills processes, and breaks the cache, at random moments. Resolves with what it did. */
export async function strikeAll(options: BlowsOptions): Promise<Blow[]> {
  const { cache, kills, onBlow, random, signal, slots } = options;
  const blows: Blow[] = [];
  for (let done = 0; done < kills && !signal.aborted; ) {
    const waitMs = SHORTEST_MS + random() * (LONGEST_MS - SHORTEST_MS);
    await pause(waitMs, undefined, { signal }).catch(() => undefined);
    // One after the other at first, so that a short run has each.
    const fault = cache.faults[done >> 1] ?? randomChoice(random, cache.faults);
    const what: BlowKind = done % 2 === 0 ? fault : randomChoice(random, PROCESSES);
    const chosen = chosenBy(what, slots, random);
    const atUs = nowUs();
    if (chosen === undefined) await cache.break(what as CacheFault, random);
    else {
      // The next ones are ready, so that they take over at once.
      await Promise.all(chosen.map((slot) => slot.ready));
      await Promise.all(chosen.map((slot) => slot.replace()));
    }
    blows.push({ what, atUs });
    onBlow(++done, what);
  }
  return blows;
}

/** `undefined`: no process is meant. */
function chosenBy(what: BlowKind, slots: readonly Slot[], random: Random): readonly Slot[] | undefined {
  const workers = slots.filter(({ role }) => role === 'worker');
  const applications = slots.filter(({ role }) => role === 'application');
  switch (what) {
    case 'application':
      return [randomChoice(random, applications)];
    case 'worker':
      return [randomChoice(random, workers)];
    case 'workers':
      return workers;
    case 'all':
      return slots;
    default:
      return undefined;
  }
}
