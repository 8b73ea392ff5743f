import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { startRedis } from '@lockstep/dev-services';
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { LRUCache } from 'lru-cache';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import { median } from './bursts/turn.js';

export interface NearBenchOptions {
  readonly turns: number;
  /** How many wait for one read each, at the same time. */
  readonly readers: readonly number[];
  readonly turnMs: number;
}

export const NEAR_BENCH: NearBenchOptions = { turns: 5, readers: [1, 256], turnMs: 1_000 };

/** Reads per second of a value that is in the process, by the number of readers: medians over the turns. */
type Rates = Readonly<Record<string, number>>;

/** The benchmark's result. */
export interface NearResult {
  readonly turns: number;
  /** `near: { maxItems }` over a real Redis: every read gets an object of its own. */
  readonly ours: Rates;
  /** The memory layer of bentocache with `serialize: false`: readers share the object. */
  readonly peers: { readonly bentocache: Rates };
  /** `lru-cache` in an async function: shared, too, and of any age. */
  readonly limit: Rates;
  /** Ours ÷ bentocache's, the median of the turns' ratios. */
  readonly ratio: Rates;
  /** The share of our reads that did not ask Redis, in measured turns. */
  readonly nearShare: number;
}

type Side = 'ours' | 'bentocache' | 'limit';
const SIDES: readonly Side[] = ['ours', 'bentocache', 'limit'];
/** Reads between two looks at the clock. */
const READS_AT_ONCE = 64;

const idOf = (n: number): string => IDS[(n * 7_919) % PRODUCTS] as string;
const IDS = Array.from({ length: PRODUCTS }, (_, n) => String(n));

/** 10,000 products, each held in this process by every side; the sides one after the other, changing places. */
export async function runNear(
  { readers, turnMs, turns }: NearBenchOptions,
  progress: (line: string) => void,
): Promise<NearResult> {
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const bento = new BentoCache({
    default: 'memory',
    stores: {
      memory: bentostore().useL1Layer(memoryDriver({ maxItems: 2 * PRODUCTS, serialize: false })),
    },
  });
  const lru = new LRUCache<string, Product>({ max: 2 * PRODUCTS });
  try {
    const products = lockstep.collection({
      name: 'products',
      store: memoryStore<Product>({ name: 'products' }),
      near: { maxItems: 2 * PRODUCTS },
    });
    for (let n = 0; n < PRODUCTS; n++) {
      const value = product(n);
      await products.put(value.id, value);
      await bento.set({ key: value.id, value, ttl: '1h' });
      lru.set(value.id, value);
    }
    const reads: Readonly<Record<Side, (id: string) => Promise<Product | undefined>>> = {
      ours: (id) => products.get(id),
      bentocache: (key) => bento.get<Product>({ key }),
      limit: async (id) => lru.get(id),
    };
    const near = () => lockstep.status().near?.[0] ?? { hits: 0, misses: 0 };
    // Two rounds: the first proves the watch.
    for (let n = 0; n < 2 * PRODUCTS; n++) await products.get(idOf(n));
    const before = near();
    const rates: Record<Side, Record<string, number>> = { ours: {}, bentocache: {}, limit: {} };
    const ratio: Record<string, number> = {};
    for (const count of readers) {
      const measured: Record<Side, number[]> = { ours: [], bentocache: [], limit: [] };
      for (let round = 0; round <= turns; round++) {
        for (let i = 0; i < SIDES.length; i++) {
          const side = SIDES[(round + i) % SIDES.length] as Side;
          const perSecond = await rateOf(count, turnMs, reads[side]);
          // The first round warms up.
          if (round > 0) measured[side].push(perSecond);
        }
      }
      for (const side of SIDES) rates[side][count] = median(measured[side]);
      ratio[count] = median(measured.ours.map((ours, i) => ours / (measured.bentocache[i] as number)));
      progress(
        `readers ${count}: ${SIDES.map((side) => `${side} ${Math.round(rates[side][count] ?? 0)}/s`).join(', ')}; ratio ${ratio[count]?.toFixed(2)}`,
      );
    }
    const { hits, misses } = near();
    const nearShare = (hits - before.hits) / (hits - before.hits + misses - before.misses);
    const { bentocache, limit, ours } = rates;
    return { turns, ours, peers: { bentocache }, limit, ratio, nearShare };
  } finally {
    await Promise.all([lockstep.close(), bento.disconnectAll()]);
    await redis.stop();
  }
}

async function rateOf(
  readers: number,
  turnMs: number,
  read: (id: string) => Promise<Product | undefined>,
): Promise<number> {
  const startedAtMs = performance.now();
  const endMs = startedAtMs + turnMs;
  let calls = 0;
  const reader = async (): Promise<void> => {
    while (performance.now() < endMs) {
      for (let i = 0; i < READS_AT_ONCE; i++) {
        const id = idOf(calls++);
        const found = await read(id);
        if (found?.id !== id) throw new Error(`"${id}" was read as ${JSON.stringify(found)}`);
      }
      // A server's messages come in between, as in an application.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: readers }, reader));
  return calls / ((performance.now() - startedAtMs) / 1_000);
}
