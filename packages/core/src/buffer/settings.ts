import type { CacheAdapter } from '../contracts/cache.js';
import type { BurstOptions, CollectionOptions } from '../contracts/options.js';
import { InvalidOptionError } from '../errors.js';
import { checkKnown, choiceOption, numberOption } from '../kit/options.js';

/** A collection's `burst`, checked and complete. */
export interface BurstSettings {
  /** `write-behind`: every write is buffered, whatever the pressure. */
  readonly always: boolean;
  readonly storeLatencyMs: number;
  readonly waitingWrites: number;
  readonly keyRatePerSecond: number;
  readonly quietMs: number;
  readonly ackTimeoutMs: number;
  readonly maxUnflushed: number;
  readonly maxClockSkewMs: number;
  readonly durable: boolean;
}

const KNOWN = [
  'storeLatencyMs',
  'waitingWrites',
  'keyRatePerSecond',
  'quietMs',
  'ackTimeoutMs',
  'maxUnflushed',
  'maxClockSkewMs',
  'durability',
];
const HOUR_MS = 3_600_000;
const MANY = 10_000_000;

/** The buffer of a collection, or `undefined`. Throws `InvalidOptionError` where something excludes it. */
export function burstSettings(
  options: CollectionOptions<never, never, never>,
  cache: CacheAdapter,
): BurstSettings | undefined {
  const { burst, strategy } = options;
  const always = strategy === 'write-behind';
  if (burst === undefined && !always) return undefined;
  const where = `collection("${options.name}").${burst === undefined ? 'strategy' : 'burst'}`;
  const excluded = exclusion(options, cache);
  if (excluded !== undefined) throw new InvalidOptionError(where, excluded);
  return parsed(burst === undefined ? {} : burst, where, always, cache);
}

/** Why writes of this collection can't be buffered. */
function exclusion(
  { batch, consistency, store, strategy }: CollectionOptions<never, never, never>,
  cache: CacheAdapter,
): string | undefined {
  if (consistency === 'strict')
    return 'acknowledges before the store has it, which consistency "strict" excludes';
  if (strategy === 'cache-aside') return 'keeps writes in the cache, which strategy "cache-aside" excludes';
  if (batch?.coalesce === false)
    return 'flushes the newest write of a key, which batch.coalesce false excludes';
  if (!store.capabilities.versioned || !store.capabilities.flush) {
    return `needs a store that takes buffered writes with their versions, which ${store.name} does not`;
  }
  if (cache.unflushed === undefined) {
    return `needs a cache that keeps what the store does not have yet, which ${cache.name} does not`;
  }
  return undefined;
}

function parsed(burst: BurstOptions, where: string, always: boolean, cache: CacheAdapter): BurstSettings {
  checkKnown(burst, KNOWN, where);
  const number = (option: keyof BurstOptions, fallback: number, min: number, max: number): number =>
    numberOption(burst[option] as number | undefined, fallback, `${where}.${option}`, { min, max });
  const durability = choiceOption(burst.durability, 'memory', `${where}.durability`, ['memory', 'disk']);
  const durable = durability === 'disk';
  if (durable && cache.unflushed?.durable !== true) {
    throw new InvalidOptionError(
      `${where}.durability`,
      `${cache.name} can't say when a write is on its disk; with Redis Cluster, set appendfsync always instead`,
    );
  }
  return {
    always,
    storeLatencyMs: number('storeLatencyMs', 100, 1, HOUR_MS),
    waitingWrites: number('waitingWrites', 1_000, 1, MANY),
    keyRatePerSecond: number('keyRatePerSecond', 200, 1, MANY),
    quietMs: number('quietMs', 1_000, 1, HOUR_MS),
    // With `appendfsync everysec` a server syncs once a second.
    ackTimeoutMs: number('ackTimeoutMs', durable ? 2_000 : 100, 1, HOUR_MS),
    maxUnflushed: number('maxUnflushed', 100_000, 1, MANY),
    maxClockSkewMs: number('maxClockSkewMs', 250, 0, HOUR_MS),
    durable,
  };
}
