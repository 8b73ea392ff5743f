import { type Random, randomInt } from '@lockstep/torture';
import { type FaultName, MONGO_FAULTS, REDIS_FAULTS } from './names.js';

/** A fault that is to happen. */
export interface PlannedFault {
  readonly name: FaultName;
  /** After the load began, in ms. */
  readonly atMs: number;
  /** How long it lasts, in ms; 0 for what is over at once. */
  readonly forMs: number;
  /** For a restart: the server finds its data again. For an application: it dies inside a write. */
  readonly variant: boolean;
}

/** One fault of a lane per this much time, in ms; shorter runs get one of each kind. */
const SLOT_MS = 7_000;
/** The parts of a run in which no fault begins, so that there is a before and an after. */
const CALM = { before: 0.1, after: 0.25 };
const LONGEST_MS = 3_000;

/**
 * Plans a run's faults at seeded random times. Faults of Redis share one lane, since two of them at once are
 * one; kills of applications, and faults of the replica set, have lanes of their own and may meet them. Foreign
 * writes go on throughout and are not planned here.
 */
export function planFaults(names: readonly FaultName[], durationMs: number, random: Random): PlannedFault[] {
  const redis = REDIS_FAULTS.filter((name) => names.includes(name));
  const apps = names.includes('app-kill') ? (['app-kill'] as const) : [];
  const mongo = MONGO_FAULTS.filter((name) => names.includes(name));
  return [redis, apps, mongo]
    .flatMap((lane) => planLane(lane, durationMs, random))
    .sort((a, b) => a.atMs - b.atMs);
}

function planLane(names: readonly FaultName[], durationMs: number, random: Random): PlannedFault[] {
  if (names.length === 0) return [];
  const fromMs = durationMs * CALM.before;
  const spanMs = durationMs * (1 - CALM.before - CALM.after);
  const count = Math.max(names.length, Math.floor(spanMs / SLOT_MS));
  const slotMs = spanMs / count;
  const first = randomInt(random, 0, names.length - 1);
  return Array.from({ length: count }, (_, turn) => {
    const name = names[(first + turn) % names.length] ?? 'redis-freeze';
    const forMs = lasts(name) ? Math.min(LONGEST_MS, slotMs * (0.25 + 0.2 * random())) : 0;
    const atMs = fromMs + slotMs * turn + (slotMs * 0.95 - forMs) * random() * 0.6;
    return { name, atMs, forMs, variant: (Math.floor(turn / names.length) + (first % 2)) % 2 === 1 };
  });
}

/** The others take as long as they take: a process dies, another primary is elected. */
function lasts(name: FaultName): boolean {
  return name === 'mongo-kill' || REDIS_FAULTS.some((one) => one === name);
}
