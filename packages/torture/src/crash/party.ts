import { redisCache } from '@lockstep/cache-redis';
import { type BurstOptions, type Collection, createLockstep, type Lockstep } from '@lockstep/core';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { controlledCache } from './controls/cache.js';
import { controlledStore } from './controls/store.js';
import { type CrashRow, TABLE } from './rows.js';
import { MAX_CLOCK_SKEW_MS, type PartySettings } from './settings.js';
import { openStore } from './stores/open.js';
import type { CrashStore } from './stores/store.js';

/** Lockstep as every process of the run composes it. */
export interface Party {
  readonly lockstep: Lockstep;
  readonly rows: Collection<CrashRow, string>;
  readonly store: CrashStore;
  close(): Promise<void>;
}

/** Well above what a busy machine takes: a cache that is slow is not one that is away. */
const CACHE_TIMEOUT_MS = 1_000;

/** When an application buffers: `rate` those of hot keys, `forced` nearly all, `synchronous` none. */
export type Pressure = 'rate' | 'forced' | 'synchronous';

const HOUR_MS = 3_600_000;
const NEVER = 10_000_000;

const BURSTS: Readonly<Record<Pressure, BurstOptions>> = {
  rate: { keyRatePerSecond: 10, storeLatencyMs: HOUR_MS, waitingWrites: NEVER },
  forced: { keyRatePerSecond: 10, storeLatencyMs: 1, waitingWrites: 2, quietMs: 200 },
  synchronous: { keyRatePerSecond: NEVER, storeLatencyMs: HOUR_MS, waitingWrites: NEVER },
};

export async function openParty(settings: PartySettings, pressure: Pressure): Promise<Party> {
  const { cacheUrl, control, durability, queueUrl } = settings;
  const store = await openStore(settings.store, settings.storeUrl);
  const cache = controlledCache(redisCache({ url: cacheUrl, commandTimeoutMs: 2_500 }), cacheUrl, control);
  const queue = bullmqQueue({ connection: { url: queueUrl }, lockMs: 2_000 });
  const lockstep = createLockstep({ cache, queue, cacheTimeoutMs: CACHE_TIMEOUT_MS });
  const rows = lockstep.collection<CrashRow>({
    name: TABLE,
    store: controlledStore(store.adapter, control),
    ttlMs: 60_000,
    leaseMs: 500,
    leaseWaitMs: 300,
    storeTimeoutMs: 5_000,
    burst: {
      ...BURSTS[pressure],
      durability,
      maxClockSkewMs: control === 'no-skew-wait' ? 0 : MAX_CLOCK_SKEW_MS,
    },
  });
  return {
    lockstep,
    rows,
    store,
    async close() {
      await lockstep.close();
      await store.close();
    },
  };
}
