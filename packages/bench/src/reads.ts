import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { TTL_S } from './bursts/ours.js';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import { median, middleTurn, TURN_MS, type Turn, turn } from './bursts/turn.js';

/** What the benchmark writes. Ratios are ours ÷ theirs, medians over the turns. */
export interface ReadResult {
  readonly turns: number;
  /** Reads per second by the number of readers, but for `1`: the median latency, where less is better. */
  readonly ratio: Readonly<Record<string, number>>;
  /** Medians of both sides' turns. */
  readonly sides: Readonly<Record<string, { readonly ours: Turn; readonly theirs: Turn }>>;
}

type Read = (id: string) => Promise<unknown>;

const READERS = [1, 16, 256];

/** Hits on 10,000 keys against the bare client's `GET` and `JSON.parse`, the sides one after the other and changing places. */
export async function runReads(turns: number, progress: (line: string) => void): Promise<ReadResult> {
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const store = memoryStore<Product>({ name: 'products' });
  const products = lockstep.collection({ name: 'products', store, ttlMs: TTL_S * 1_000 });
  const client = new Redis(redis.url);
  const reads: Readonly<Record<'ours' | 'theirs', Read>> = {
    ours: (id) => products.get(id),
    theirs: async (id) => JSON.parse((await client.get(`products:${id}`)) ?? 'null') as unknown,
  };
  const ratio: Record<string, number> = {};
  const sides: Record<string, { ours: Turn; theirs: Turn }> = {};
  try {
    for (let from = 0; from < PRODUCTS; from += 500) {
      const some = Array.from({ length: 500 }, (_, i) => product(from + i));
      await Promise.all(some.map((value) => products.put(value.id, value)));
      await client.mset(some.flatMap((value) => [`products:${value.id}`, JSON.stringify(value)]));
    }
    for (const readers of READERS) {
      const measured = { ours: [] as Turn[], theirs: [] as Turn[] };
      for (let round = 0; round <= turns; round++) {
        for (const name of round % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const)) {
          const result = await turn(readers, { ms: TURN_MS }, (n) =>
            reads[name](String((n * 7_919) % PRODUCTS)),
          );
          // The first round warms up.
          if (round > 0) measured[name].push(result);
        }
      }
      const middle = { ours: middleTurn(measured.ours), theirs: middleTurn(measured.theirs) };
      sides[readers] = middle;
      ratio[readers] = median(
        measured.ours.map((ours, i) => {
          const theirs = measured.theirs[i] as Turn;
          return readers === 1 ? ours.p50Ms / theirs.p50Ms : ours.perSecond / theirs.perSecond;
        }),
      );
      progress(
        `readers ${readers}: ratio ${ratio[readers]?.toFixed(2)}\n  ours   ${line(middle.ours)}\n  theirs ${line(middle.theirs)}`,
      );
    }
  } finally {
    await lockstep.close();
    client.disconnect();
    await redis.stop();
  }
  return { turns, ratio, sides };
}

function line({ p50Ms, p99Ms, perSecond }: Turn): string {
  return `${Math.round(perSecond)}/s p50 ${p50Ms.toFixed(3)} p99 ${p99Ms.toFixed(3)} ms`;
}
