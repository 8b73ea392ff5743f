import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { TTL_S } from './bursts/ours.js';
import { type ProcessorTimes, processorTimes } from './bursts/processor.js';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import { median, middleTurn, TURN_MS, type Turn, turn } from './bursts/turn.js';

/** The benchmark's result. Ratios are ours ÷ theirs, medians over the turns. */
export interface ReadResult {
  readonly turns: number;
  /** Reads per second by the number of readers, but for `1`: the median latency, where less is better. */
  readonly ratio: Readonly<Record<string, number>>;
  /** Medians of both sides' turns. */
  readonly sides: Readonly<Record<string, { readonly ours: Turn; readonly theirs: Turn }>>;
}

/** Reads of the n-th product, whatever n, by either side on the same server. */
export interface ReadBench {
  ours(n: number): Promise<unknown>;
  theirs(n: number): Promise<unknown>;
  /** As `theirs`, by a client with `enableAutoPipelining`. */
  piped(n: number): Promise<unknown>;
  /** As `theirs`, by the least code that asks for all that is wanted in one tick with one MGET. */
  batched(n: number): Promise<unknown>;
  /** As `ours`, of the n-th part of so many products. */
  oursMany(n: number, rows: number): Promise<unknown>;
  theirsMany(n: number, rows: number): Promise<unknown>;
  processor(): ProcessorTimes;
  close(): Promise<void>;
}

export const READERS: readonly number[] = [1, 16, 256];

/** 10,000 products in a cache and, as JSON, under keys of the other side's. */
export async function readBench(): Promise<ReadBench> {
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const store = memoryStore<Product>({ name: 'products' });
  const products = lockstep.collection({ name: 'products', store, ttlMs: TTL_S * 1_000 });
  const client = new Redis(redis.url);
  const pipeliner = new Redis(redis.url, { enableAutoPipelining: true });
  const batchedGet = batchedGets(client);
  const idOf = (n: number): string => String((n * 7_919) % PRODUCTS);
  const idsOf = (n: number, rows: number): string[] =>
    Array.from({ length: rows }, (_, i) => idOf(n * rows + i));
  const parsed = (text: string | null): unknown => JSON.parse(text ?? 'null');
  const close = async (): Promise<void> => {
    await lockstep.close();
    client.disconnect();
    pipeliner.disconnect();
    await redis.stop();
  };
  try {
    for (let from = 0; from < PRODUCTS; from += 500) {
      const some = Array.from({ length: 500 }, (_, i) => product(from + i));
      await Promise.all(some.map((value) => products.put(value.id, value)));
      await client.mset(some.flatMap((value) => [`products:${value.id}`, JSON.stringify(value)]));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ours: (n) => products.get(idOf(n)),
    theirs: async (n) => parsed(await client.get(`products:${idOf(n)}`)),
    piped: async (n) => parsed(await pipeliner.get(`products:${idOf(n)}`)),
    batched: async (n) => parsed(await batchedGet(`products:${idOf(n)}`)),
    oursMany: (n, rows) => products.getMany(idsOf(n, rows)),
    theirsMany: async (n, rows) =>
      (await client.mget(idsOf(n, rows).map((id) => `products:${id}`))).map(parsed),
    processor: () => processorTimes({ redis: redis.process?.pid }),
    close,
  };
}

const MGET_KEYS = 128;

/** Gets of one tick in one MGET, or in some of them. Nothing is bounded, timed or taken apart when it fails. */
function batchedGets(client: Redis): (key: string) => Promise<string | null> {
  let keys: string[] = [];
  let callers: ((text: string | null) => void)[] = [];
  const send = (): void => {
    const [sent, waiting] = [keys, callers];
    keys = [];
    callers = [];
    for (let from = 0; from < sent.length; from += MGET_KEYS) {
      void client.mget(sent.slice(from, from + MGET_KEYS)).then((texts) => {
        for (const [i, text] of texts.entries()) waiting[from + i]?.(text);
      });
    }
  };
  return (key) =>
    new Promise((resolve) => {
      if (keys.length === 0) process.nextTick(send);
      keys.push(key);
      callers.push(resolve);
    });
}

/**
 * Hits on 10,000 keys against the bare client's `GET` and `JSON.parse`, the sides one after the other and changing
 * places.
 */
export async function runReads(turns: number, progress: (line: string) => void): Promise<ReadResult> {
  const bench = await readBench();
  const ratio: Record<string, number> = {};
  const sides: Record<string, { ours: Turn; theirs: Turn }> = {};
  try {
    for (const readers of READERS) {
      const measured = { ours: [] as Turn[], theirs: [] as Turn[] };
      for (let round = 0; round <= turns; round++) {
        for (const name of round % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const)) {
          const result = await turn(readers, { ms: TURN_MS }, bench[name]);
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
    await bench.close();
  }
  return { turns, ratio, sides };
}

function line({ p50Ms, p99Ms, perSecond }: Turn): string {
  return `${Math.round(perSecond)}/s p50 ${p50Ms.toFixed(3)} p99 ${p99Ms.toFixed(3)} ms`;
}
