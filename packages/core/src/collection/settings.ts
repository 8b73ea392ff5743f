import { type BurstSettings, burstSettings } from '../buffer/settings.js';
import type { CacheAdapter } from '../contracts/cache.js';
import { MAX_NAME_LENGTH } from '../contracts/job-problem.js';
import type { CollectionOptions, Consistency, Strategy } from '../contracts/options.js';
import { InvalidOptionError } from '../errors.js';
import { checkKnown, choiceOption, numberOption } from '../kit/options.js';

/** A collection's options, checked and complete. */
export interface CollectionSettings {
  readonly name: string;
  readonly ttlMs: number;
  readonly ttlJitter: number;
  readonly negativeTtlMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly strategy: Strategy;
  readonly consistency: Consistency;
  readonly maxPayloadBytes: number;
  readonly storeTimeoutMs: number;
  readonly leaseMs: number;
  readonly leaseWaitMs: number;
  readonly holeTtlMs: number;
  readonly maxConcurrentLoads: number;
  readonly maxQueuedLoads: number;
  readonly batch: BatchSettings;
  /** `undefined`: every write is in the store before it is acknowledged. */
  readonly burst: BurstSettings | undefined;
}

export interface BatchSettings {
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  readonly queueTimeoutMs: number;
  readonly coalesce: boolean;
}

/** Ten years: longer is a mistake in the unit. */
export const MAX_TTL_MS = 10 * 365 * 24 * 3_600_000;
export const DEFAULT_STORE_TIMEOUT_MS = 10_000;
export const DEFAULT_TRANSACTION_TIMEOUT_MS = 10_000;
const DAY_MS = 24 * 3_600_000;
/** With the longest write it stays below `MAX_HOLE_MS`. */
export const MAX_HOLE_TTL_MS = DAY_MS;

const KNOWN = [
  'name',
  'store',
  'schema',
  'ttlMs',
  'ttlJitter',
  'negativeTtlMs',
  'staleWhileRevalidateMs',
  'strategy',
  'consistency',
  'serializer',
  'maxPayloadBytes',
  'storeTimeoutMs',
  'leaseMs',
  'leaseWaitMs',
  'holeTtlMs',
  'maxConcurrentLoads',
  'maxQueuedLoads',
  'batch',
  'burst',
];

/** Checks every option of a collection. Throws `InvalidOptionError` naming the first that is wrong. */
export function collectionSettings(
  options: CollectionOptions<never, never, never>,
  cache: CacheAdapter,
): CollectionSettings {
  checkKnown(options, KNOWN, 'collection');
  const name = nameOption(options.name, 'collection.name');
  const number = (
    option: keyof CollectionOptions<never, never, never>,
    fallback: number,
    min: number,
    max: number,
    integer = true,
  ): number =>
    numberOption(options[option] as number | undefined, fallback, `collection("${name}").${option}`, {
      min,
      max,
      integer,
    });
  const { capabilities, read, write } = options.store ?? {};
  if (typeof read !== 'function' || typeof write !== 'function' || typeof capabilities !== 'object') {
    throw new InvalidOptionError(`collection("${name}").store`, 'must be a store adapter');
  }
  const consistency = choiceOption(options.consistency, 'available', `collection("${name}").consistency`, [
    'available',
    'strict',
  ]);
  const staleWhileRevalidateMs = number('staleWhileRevalidateMs', 0, 0, MAX_TTL_MS);
  if (consistency === 'strict' && staleWhileRevalidateMs > 0) {
    throw new InvalidOptionError(
      `collection("${name}").staleWhileRevalidateMs`,
      'serves old values, which consistency "strict" excludes',
    );
  }
  const strategy = choiceOption(options.strategy, 'write-through', `collection("${name}").strategy`, [
    'write-through',
    'write-behind',
    'cache-aside',
  ]);
  return {
    name,
    ttlMs: number('ttlMs', 3_600_000, 1, MAX_TTL_MS),
    ttlJitter: number('ttlJitter', 0.1, 0, 0.5, false),
    negativeTtlMs: number('negativeTtlMs', 30_000, 0, MAX_TTL_MS),
    staleWhileRevalidateMs,
    strategy,
    consistency,
    maxPayloadBytes: number('maxPayloadBytes', 2 ** 20, 1, 512 * 2 ** 20),
    storeTimeoutMs: number('storeTimeoutMs', DEFAULT_STORE_TIMEOUT_MS, 1, DAY_MS),
    leaseMs: number('leaseMs', 3_000, 1, DAY_MS),
    leaseWaitMs: number('leaseWaitMs', 2_000, 0, DAY_MS),
    holeTtlMs: number('holeTtlMs', 60_000, 1, MAX_HOLE_TTL_MS),
    maxConcurrentLoads: number('maxConcurrentLoads', 64, 1, 100_000),
    maxQueuedLoads: number('maxQueuedLoads', 10_000, 1, 10_000_000),
    batch: batchSettings(options.batch ?? {}, `collection("${name}").batch`, capabilities.batching),
    burst: burstSettings(options, cache),
  };
}

/** A store that takes one command a call gets more calls at once instead. */
const UNBATCHED_IN_FLIGHT = 32;

function batchSettings(
  batch: NonNullable<CollectionOptions<never>['batch']>,
  where: string,
  batching: boolean,
): BatchSettings {
  checkKnown(
    batch,
    ['maxRows', 'maxBytes', 'maxInFlight', 'maxWaiting', 'queueTimeoutMs', 'coalesce'],
    where,
  );
  if (batch.coalesce !== undefined && typeof batch.coalesce !== 'boolean') {
    throw new InvalidOptionError(`${where}.coalesce`, `must be true or false, got ${String(batch.coalesce)}`);
  }
  return {
    maxRows: batching ? numberOption(batch.maxRows, 128, `${where}.maxRows`, { min: 1, max: 10_000 }) : 1,
    maxBytes: numberOption(batch.maxBytes, 4 * 2 ** 20, `${where}.maxBytes`, { min: 1, max: 2 ** 30 }),
    maxInFlight: numberOption(batch.maxInFlight, batching ? 2 : UNBATCHED_IN_FLIGHT, `${where}.maxInFlight`, {
      min: 1,
      max: 1_000,
    }),
    maxWaiting: numberOption(batch.maxWaiting, 10_000, `${where}.maxWaiting`, { min: 1, max: 10_000_000 }),
    queueTimeoutMs: numberOption(batch.queueTimeoutMs, 5_000, `${where}.queueTimeoutMs`, {
      min: 1,
      max: DAY_MS,
    }),
    coalesce: batch.coalesce ?? true,
  };
}

/** A name of 1 to 128 characters. Throws `InvalidOptionError`. */
export function nameOption(name: unknown, option: string): string {
  if (
    typeof name !== 'string' ||
    name.length === 0 ||
    name.length > MAX_NAME_LENGTH ||
    !name.isWellFormed()
  ) {
    throw new InvalidOptionError(option, `must be a string of 1 to ${MAX_NAME_LENGTH} characters`);
  }
  return name;
}
