import type { StoreKind } from '../stores/store.js';

/** The names that `--faults` knows. */
export const FAULT_NAMES = [
  'redis-freeze',
  'redis-kill',
  'queue-kill',
  'app-kill',
  'foreign-write',
  'mongo-stepdown',
  'mongo-kill',
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/** The faults that take the cache or the queue away; one at a time. */
export const REDIS_FAULTS = [
  'redis-freeze',
  'redis-kill',
  'queue-kill',
] as const satisfies readonly FaultName[];

/** The faults that take the primary of the replica set away; one at a time. */
export const MONGO_FAULTS = ['mongo-stepdown', 'mongo-kill'] as const satisfies readonly FaultName[];
export type MongoFault = (typeof MONGO_FAULTS)[number];

export function isFaultName(name: string): name is FaultName {
  return FAULT_NAMES.some((known) => known === name);
}

export function isMongoFault(name: string): name is MongoFault {
  return MONGO_FAULTS.some((known) => known === name);
}

/** The faults that a run on this store can have. */
export function faultsOf(store: StoreKind): readonly FaultName[] {
  return store === 'mongo' ? FAULT_NAMES : FAULT_NAMES.filter((name) => !isMongoFault(name));
}
