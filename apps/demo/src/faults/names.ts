/** What `--faults` knows. */
export const FAULT_NAMES = ['redis-freeze', 'redis-kill', 'queue-kill', 'app-kill', 'foreign-write'] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/** The faults that take the cache or the queue away; one at a time. */
export const REDIS_FAULTS = [
  'redis-freeze',
  'redis-kill',
  'queue-kill',
] as const satisfies readonly FaultName[];

export function isFaultName(name: string): name is FaultName {
  return FAULT_NAMES.some((known) => known === name);
}
