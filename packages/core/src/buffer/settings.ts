import type { CacheAdapter } from '../contracts/cache.js';
import type { BurstOptions, Consistency, Strategy } from '../contracts/options.js';
import type { StoreAdapter } from '../contracts/store.js';
import { InvalidOptionError } from '../errors.js';
import { HOUR_MS, type OptionsOf, option, type Settings, withDefaults } from '../kit/options.js';

const MANY = 10_000_000;
/** With `appendfsync everysec` a server syncs once a second. */
const DURABLE_ACK_MS = 2_000;
const ACK_MS = 100;

export const BURST = {
  storeLatencyMs: option.integer(100, 1, HOUR_MS),
  waitingWrites: option.integer(1_000, 1, MANY),
  keyRatePerSecond: option.integer(200, 1, MANY),
  quietMs: option.integer(1_000, 1, HOUR_MS),
  ackTimeoutMs: option.integer(undefined, 1, HOUR_MS),
  maxUnflushed: option.integer(100_000, 1, MANY),
  maxClockSkewMs: option.integer(250, 0, HOUR_MS),
  durability: option.choice(['memory', 'disk'], 'memory'),
} satisfies OptionsOf<BurstOptions>;

/** A collection's `burst`, checked and complete. */
export interface BurstSettings extends Settings<typeof BURST> {
  readonly ackTimeoutMs: number;
  /** `write-behind`: every write is buffered, whatever the pressure. */
  readonly always: boolean;
  readonly durable: boolean;
}

/** The options that decide whether writes can be buffered. */
interface BufferedCollection {
  readonly strategy: Strategy;
  readonly consistency: Consistency;
  readonly store: StoreAdapter<never, never>;
  readonly batch: { readonly coalesce: boolean };
  readonly burst: Settings<typeof BURST> | undefined;
}

/** The buffer of a collection, or `undefined`. Throws `InvalidOptionError` where something excludes it. */
export function burstSettings(
  collection: BufferedCollection,
  cache: CacheAdapter,
  where: string,
): BurstSettings | undefined {
  const always = collection.strategy === 'write-behind';
  const { burst } = collection;
  if (burst === undefined && !always) return undefined;
  const excluded = exclusion(collection, cache);
  if (excluded !== undefined) {
    throw new InvalidOptionError(`${where}.${burst === undefined ? 'strategy' : 'burst'}`, excluded);
  }
  const settings = burst ?? withDefaults({}, BURST, where);
  const durable = settings.durability === 'disk';
  if (durable && cache.unflushed?.durable !== true) {
    throw new InvalidOptionError(
      `${where}.burst.durability`,
      `${cache.name} can't say when a write is on its disk; with Redis Cluster, set appendfsync always instead`,
    );
  }
  const ackTimeoutMs = settings.ackTimeoutMs ?? (durable ? DURABLE_ACK_MS : ACK_MS);
  return { ...settings, ackTimeoutMs, always, durable };
}

/** Why writes of this collection can't be buffered. */
function exclusion(
  { batch, consistency, store, strategy }: BufferedCollection,
  cache: CacheAdapter,
): string | undefined {
  if (consistency === 'strict')
    return 'acknowledges before the store has it, which consistency "strict" excludes';
  if (strategy === 'cache-aside') return 'keeps writes in the cache, which strategy "cache-aside" excludes';
  if (!batch.coalesce) return 'flushes the newest write of a key, which batch.coalesce false excludes';
  if (!store.capabilities.versioned || !store.capabilities.flush) {
    return `needs a store that takes buffered writes with their versions, which ${store.name} does not`;
  }
  if (cache.unflushed === undefined) {
    return `needs a cache that keeps what the store does not have yet, which ${cache.name} does not`;
  }
  return undefined;
}
