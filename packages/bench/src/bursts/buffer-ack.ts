import { redisCache } from '@lockstep/cache-redis';
import { type BurstOptions, createLockstep } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { fill, TTL_S } from './ours.js';
import { PRODUCTS, product } from './product.js';
import { OPEN_STORES } from './stores.js';
import { median, turn } from './turn.js';

/** How long a write waits for its acknowledgement with a slow store behind the buffer, in ms. */
export interface BufferAck {
  readonly p50: number;
  readonly p99: number;
  /** The delay of each statement. */
  readonly storeDelayMs: number;
  readonly perSecond: number;
  /** The share of the writes that the buffer took; the others tried the store, and waited for it. */
  readonly buffered: number;
  /** True when the store had the newest of every key afterwards. */
  readonly flushedExact: boolean;
}

const STORE_DELAY_MS = 50;
const WRITERS = 32;
const WRITES = 20_000;
const BURST: BurstOptions = { storeLatencyMs: 20 };

/** Writes to 10,000 keys through the buffer while each answer of the store comes 50 ms late. */
export async function bufferAck(
  name: keyof typeof OPEN_STORES,
  turns: number,
  progress: (line: string) => void,
): Promise<BufferAck> {
  const slow = await OPEN_STORES[name](true);
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const collection = lockstep.collection({
    name: 'products',
    store: await slow.table('products'),
    ttlMs: TTL_S * 1_000,
    burst: BURST,
  });
  const counts = { buffered: 0, committed: 0 };
  lockstep.events.on('write', ({ store }) => {
    counts[store]++;
  });
  try {
    const side = slow.side(collection);
    await fill([side]);
    slow.delay(STORE_DELAY_MS);
    const measured: { p50Ms: number; p99Ms: number; perSecond: number }[] = [];
    const newest = new Map<string, number>();
    for (let round = 0; round <= turns; round++) {
      if (round === 1) Object.assign(counts, { buffered: 0, committed: 0 });
      const result = await turn(WRITERS, { calls: WRITES }, (n) => {
        const value = { ...product((n * 7_919) % PRODUCTS), stock: round * WRITES + n };
        newest.set(value.id, value.stock);
        return side.put(value);
      });
      if (round > 0) measured.push(result);
    }
    const { buffered, committed } = counts;
    slow.delay(0);
    await collection.flush();
    const stocks = await Promise.all(
      [...newest].map(async ([id, stock]) => (await side.stock(id)) === stock),
    );
    const result = {
      p50: median(measured.map((one) => one.p50Ms)),
      p99: median(measured.map((one) => one.p99Ms)),
      storeDelayMs: STORE_DELAY_MS,
      perSecond: median(measured.map((one) => one.perSecond)),
      buffered: buffered / (buffered + committed),
      flushedExact: stocks.every(Boolean),
    };
    progress(
      `bufferAck: p50 ${result.p50.toFixed(2)} p99 ${result.p99.toFixed(2)} ms, ${Math.round(result.perSecond)}/s, ${(result.buffered * 100).toFixed(2)} % buffered`,
    );
    return result;
  } finally {
    await lockstep.close();
    await Promise.all([slow.close(), redis.stop()]);
  }
}
