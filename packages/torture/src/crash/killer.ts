import { setTimeout as pause } from 'node:timers/promises';
import type { Slot } from '../processes/slot.js';
import { type Random, randomChoice } from '../random.js';
import type { CacheServer } from './cache-server.js';

export type Victim = 'application' | 'worker' | 'both' | 'cache';

export interface KillerOptions {
  readonly kills: number;
  readonly slots: readonly Slot[];
  /** Killed, too, where it is given. */
  readonly cache: CacheServer | undefined;
  readonly random: Random;
  readonly signal: AbortSignal;
  readonly onKill: (kills: number, victim: Victim) => void;
}

const VICTIMS: readonly Victim[] = ['application', 'application', 'worker', 'worker', 'both'];
/** One kill in so many is the cache's server, in a run that kills it. */
const OF_WHICH_CACHE = 8;
const SHORTEST_MS = 100;
const LONGEST_MS = 300;
/** How long one who is to be killed has worked at least, in ms. */
const UNDER_LOAD_MS = 50;

/** Kills and restarts at random moments. Resolves with how many were killed of each kind. */
export async function killAll(options: KillerOptions): Promise<Record<Victim, number>> {
  const { cache, kills, onKill, random, signal, slots } = options;
  const counts = { application: 0, worker: 0, both: 0, cache: 0 };
  const ofRole = (role: Slot['role']): Slot =>
    randomChoice(
      random,
      slots.filter((slot) => slot.role === role),
    );
  for (let killed = 0; killed < kills && !signal.aborted; killed++) {
    await pause(SHORTEST_MS + random() * (LONGEST_MS - SHORTEST_MS), undefined, { signal }).catch(
      () => undefined,
    );
    const victim: Victim =
      cache !== undefined && random() < 1 / OF_WHICH_CACHE ? 'cache' : randomChoice(random, VICTIMS);
    if (victim === 'cache') await cache?.restart();
    else {
      const chosen = victim === 'both' ? [ofRole('application'), ofRole('worker')] : [ofRole(victim)];
      // The next ones are ready, so that they take over at once.
      await Promise.all(chosen.map((slot) => slot.ready));
      await pause(random() * UNDER_LOAD_MS);
      await Promise.all(chosen.map((slot) => slot.replace()));
    }
    counts[victim]++;
    onKill(killed + 1, victim);
  }
  return counts;
}
