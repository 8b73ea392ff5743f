import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import type { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import type { Product } from '../bursts/product.js';
import { collectedHeap } from '../heap.js';
import { type CaseResult, caseOf, tableOf } from './figures.js';
import { GROUND, type GroundOptions, openGrounds } from './ground.js';
import { warm } from './processes.js';
import { rowOf } from './row.js';
import { turnsOf } from './turns.js';

export interface MemoryOptions extends GroundOptions {
  /** Bytes of a row as JSON. */
  readonly sizes: readonly number[];
}

export const MEMORY: MemoryOptions = { ...GROUND, limit: true, sizes: [300, 10_000] };

/** What an entry takes in Redis, and in the process where it is kept there, in bytes: keys and all that belongs to it. */
export async function runMemory(
  { sizes, ...options }: MemoryOptions,
  progress: (line: string) => void,
): Promise<Readonly<Record<string, CaseResult>>> {
  const result: Record<string, CaseResult> = {};
  const keep = (key: string, measured: ReturnType<typeof turnsOf>): void => {
    result[key] = caseOf('bytes', 'less', measured);
    progress(tableOf(key, result[key]));
  };
  for (const valueBytes of sizes) {
    const products = Math.min(options.products, Math.floor(30_000_000 / valueBytes));
    const grounds = await openGrounds({ ...options, products, valueBytes });
    try {
      const inRedis = turnsOf(grounds.sides);
      for (const [name, side] of Object.entries(grounds.sides)) {
        const before = await usedMemory(grounds.redis);
        await warm([side], products);
        inRedis[name]?.figures.push(((await usedMemory(grounds.redis)) - before) / products);
      }
      keep(`in Redis, ${valueBytes} B`, inRedis);
      keep(`in the process, ${valueBytes} B`, await inProcess(grounds.place.redisUrl, products, valueBytes));
    } finally {
      await grounds.close();
    }
  }
  return result;
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? Number.NaN);
}

/** Near entries, the memory layer of bentocache (`serialize: false`), and `lru-cache` with the objects themselves. */
async function inProcess(redisUrl: string, products: number, valueBytes: number) {
  const measured = turnsOf({
    lockstep: { kind: 'ours' },
    bentocache: { kind: 'peer' },
    'lru-cache': { kind: 'limit' },
  });
  const measure = async (name: string, fill: () => Promise<unknown>): Promise<void> => {
    const before = collectedHeap();
    await fill();
    measured[name]?.figures.push((collectedHeap() - before) / products);
  };
  /** Nobody else's object, as what comes from a cache in Redis. */
  const ownRow = (n: number): Product => JSON.parse(JSON.stringify(rowOf(n, valueBytes))) as Product;
  const near = { maxItems: 2 * products };
  const lockstep = createLockstep({ cache: redisCache({ url: redisUrl }), prefix: 'memory' });
  const bento = new BentoCache({
    default: 'memory',
    stores: { memory: bentostore().useL1Layer(memoryDriver({ ...near, serialize: false })) },
  });
  const lru = new LRUCache<string, Product>({ max: near.maxItems });
  try {
    const store = memoryStore<Product>({ name: 'products' });
    const collection = lockstep.collection({ name: 'products', store, near });
    for (let n = 0; n < products; n += 1) await collection.put(String(n), ownRow(n));
    const ids = Array.from({ length: products }, (_, n) => String(n));
    await measure('lockstep', async () => {
      // The first round proves the watch.
      for (let round = 0; round < 2; round += 1) for (const id of ids) await collection.get(id);
    });
    await measure('bentocache', async () => {
      for (const [n, key] of ids.entries()) await bento.set({ key, value: ownRow(n), ttl: '1h' });
    });
    await measure('lru-cache', async () => {
      for (const [n, key] of ids.entries()) lru.set(key, ownRow(n));
    });
    const { items } = lockstep.status().near?.[0] ?? { items: 0 };
    if (items < products) throw new Error(`of ${products} near entries ${items} were kept`);
  } finally {
    await Promise.all([lockstep.close(), bento.disconnectAll()]);
    lru.clear();
  }
  return measured;
}
