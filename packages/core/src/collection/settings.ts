import type { StandardSchemaV1 } from '@standard-schema/spec';
import { BURST, type BurstSettings, burstSettings } from '../buffer/settings.js';
import type { CacheAdapter } from '../contracts/cache.js';
import { MAX_NAME_LENGTH } from '../contracts/job-problem.js';
import type { BatchOptions, CollectionOptions } from '../contracts/options.js';
import type { Serializer } from '../contracts/serializer.js';
import type { StoreAdapter } from '../contracts/store.js';
import { InvalidOptionError } from '../errors.js';
import { DECLARED_SETS } from '../kit/declared-sets.js';
import { DAY_MS, HOUR_MS, type OptionsOf, option, type Settings, withDefaults } from '../kit/options.js';
import { NEAR, type NearSettings, nearSettings } from '../near/settings.js';
import { lookupName, MAX_LOOKUP_NAME_LENGTH } from '../protocol/lookup.js';
import { COMPRESSION, checkCompression } from '../values/compression.js';

type AnyStore = StoreAdapter<never, never, never>;
type AnyOptions = CollectionOptions<never, never, never>;

/** Ten years: longer is a mistake in the unit. */
export const MAX_TTL_MS = 3_650 * DAY_MS;
export const DEFAULT_STORE_TIMEOUT_MS = 10_000;
export const DEFAULT_TRANSACTION_TIMEOUT_MS = 10_000;
/** With the longest write it stays below `MAX_HOLE_MS`. */
export const MAX_HOLE_TTL_MS = DAY_MS;
const IN_FLIGHT = 2;
/** A store that takes one command a call gets more calls at once instead. */
const UNBATCHED_IN_FLIGHT = 32;

/** A name that becomes a part of keys. */
export const NAME = option.is<string, never>(
  `a string of 1 to ${MAX_NAME_LENGTH} characters`,
  (name) => typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH && name.isWellFormed(),
);

export const TTL = option.integer(HOUR_MS, 1, MAX_TTL_MS);
export const TIMEOUT = option.integer(DEFAULT_STORE_TIMEOUT_MS, 1, DAY_MS);
export const SERIALIZER = option.having<Serializer>('a serializer', 'serialize', 'deserialize');

const STORE = option.is<AnyStore>(
  'a table or collection of a store adapter',
  (store) =>
    option.having<AnyStore>('', 'read', 'write').fits(store) &&
    typeof (store as AnyStore).capabilities === 'object',
);

const TAGS = option.is<readonly (string | readonly string[])[]>(
  `${DECLARED_SETS.range}, each once`,
  (tags) => DECLARED_SETS.fits(tags) && areDistinct(tags as readonly (string | readonly string[])[]),
);

/** No two sets are of the same properties. */
function areDistinct(sets: readonly (string | readonly string[])[]): boolean {
  return new Set(sets.map((set) => JSON.stringify([set].flat().sort()))).size === sets.length;
}

export const BATCH = {
  maxRows: option.integer(128, 1, 10_000),
  maxBytes: option.integer(4 * 2 ** 20, 1, 2 ** 30),
  maxInFlight: option.integer(undefined, 1, 1_000),
  maxWaiting: option.integer(10_000, 1, 10_000_000),
  queueTimeoutMs: option.integer(5_000, 1, DAY_MS),
  coalesce: option.flag(true),
} satisfies OptionsOf<BatchOptions>;

export const COLLECTION = {
  name: option.required(NAME),
  store: option.required(STORE),
  additional: option.flag(false),
  schema: option.is<StandardSchemaV1<unknown, never>>(
    'a Standard Schema',
    (schema) => typeof (schema as StandardSchemaV1 | null)?.['~standard']?.validate === 'function',
  ),
  ttlMs: TTL,
  ttlJitter: option.decimal(0.1, 0, 0.5),
  negativeTtlMs: option.integer(30_000, 0, MAX_TTL_MS),
  staleWhileRevalidateMs: option.integer(0, 0, MAX_TTL_MS),
  staleIfErrorMs: option.integer(0, 0, MAX_TTL_MS),
  tags: TAGS,
  strategy: option.choice(['write-through', 'write-behind', 'cache-aside'], 'write-through'),
  consistency: option.choice(['available', 'strict'], 'available'),
  serializer: SERIALIZER,
  maxPayloadBytes: option.integer(2 ** 20, 1, 512 * 2 ** 20),
  compression: option.optionalGroup(COMPRESSION),
  storeTimeoutMs: TIMEOUT,
  leaseMs: option.integer(3_000, 1, DAY_MS),
  leaseWaitMs: option.integer(2_000, 0, DAY_MS),
  holeTtlMs: option.integer(60_000, 1, MAX_HOLE_TTL_MS),
  maxConcurrentLoads: option.integer(64, 1, 100_000),
  maxQueuedLoads: option.integer(10_000, 1, 10_000_000),
  batch: option.group(BATCH),
  burst: option.optionalGroup(BURST),
  near: option.optionalGroup(NEAR),
  unique: DECLARED_SETS,
} satisfies OptionsOf<AnyOptions>;

export interface BatchSettings extends Settings<typeof BATCH> {
  readonly maxInFlight: number;
}

/** A collection's options, checked and complete. */
export interface CollectionSettings
  extends Omit<Settings<typeof COLLECTION>, 'batch' | 'burst' | 'near' | 'unique'> {
  readonly batch: BatchSettings;
  /** `undefined`: every write is in the store before it is acknowledged. */
  readonly burst: BurstSettings | undefined;
  /** `undefined`: every read asks the cache. */
  readonly near: NearSettings | undefined;
  /** Unique indexes, each as a list of properties. */
  readonly unique: readonly (readonly string[])[];
}

/** Checks every option of a collection. Throws `InvalidOptionError` naming the first that is wrong. */
export function collectionSettings(options: AnyOptions, cache: CacheAdapter): CollectionSettings {
  const where = NAME.fits(options?.name) ? `collection("${options.name}")` : 'collection';
  const settings = withDefaults(options, COLLECTION, where);
  for (const stale of ['staleWhileRevalidateMs', 'staleIfErrorMs'] as const) {
    if (settings.consistency !== 'strict' || settings[stale] === 0) continue;
    const problem = 'serves old values, which consistency "strict" excludes';
    throw new InvalidOptionError(`${where}.${stale}`, problem);
  }
  checkCompression(settings.compression, where);
  const { batching } = settings.store.capabilities;
  const maxRows = batching ? settings.batch.maxRows : 1;
  const maxInFlight = settings.batch.maxInFlight ?? (batching ? IN_FLIGHT : UNBATCHED_IN_FLIGHT);
  const batch = { ...settings.batch, maxRows, maxInFlight };
  const burst = burstSettings(settings, cache, where);
  const near = nearSettings(settings, cache, where);
  return { ...settings, batch, burst, near, unique: uniqueSettings(settings, burst, where) };
}

/** A time to live with jitter, so that what was cached together does not expire together. */
export function jittered(
  ttlMs: number,
  { ttlJitter }: Pick<CollectionSettings, 'ttlJitter'>,
  random: () => number,
): number {
  return Math.max(1, Math.round(ttlMs * (1 + ttlJitter * (2 * random() - 1))));
}

function uniqueSettings(
  { name, store, unique: given = [] }: Pick<Settings<typeof COLLECTION>, 'name' | 'store' | 'unique'>,
  burst: BurstSettings | undefined,
  where: string,
): readonly (readonly string[])[] {
  const refuse = (problem: string): never => {
    throw new InvalidOptionError(`${where}.unique`, problem);
  };
  const unique = given.map((set) => (typeof set === 'string' ? [set] : [...set]));
  if (unique.length === 0) return unique;
  if (burst !== undefined) return refuse('excludes a buffer, whose writes the store has not judged yet');
  const { declared } = store;
  if (declared === undefined)
    return refuse(`needs a store that tells values of columns, which ${store.name} does not`);
  if (!areDistinct(unique)) return refuse('names an index twice');
  const tooLong = unique.find(
    (set) =>
      lookupName(
        name,
        set.map((each) => declared.columnOf(each)),
      ).length > MAX_LOOKUP_NAME_LENGTH,
  );
  return tooLong === undefined ? unique : refuse(`has too long names: ${tooLong.join(', ').slice(0, 100)}`);
}
