import { redisCache } from '@lockstep/cache-redis';
import { createLockstep, type Lockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { TTL_S } from './bursts/ours.js';
import { createProducts, DURABLE } from './bursts/postgres.js';
import { type ProcessorTimes, perCall, processorTimes } from './bursts/processor.js';
import { type Product, product } from './bursts/product.js';
import { median } from './bursts/turn.js';
import { collectedHeap } from './heap.js';

/** What the cache holds of the rows that somebody else changes, and how often each row is changed. */
export const BACKLOGS = {
  /** Every row is cached, and changed many times over. */
  hot: { cached: 1, changesOfEach: 24 },
  /** Each row is changed once, by one statement; the cache holds a tenth of them. */
  bulk: { cached: 0.1, changesOfEach: 1 },
} as const;
export type Backlog = keyof typeof BACKLOGS;

export interface RelayBenchOptions {
  readonly changes: number;
  readonly turns: number;
  readonly backlogs: readonly Backlog[];
  /** The relay's connections to the database. */
  readonly pool: number;
}

export const RELAY_BENCH: RelayBenchOptions = {
  changes: 240_000,
  turns: 3,
  backlogs: ['hot', 'bulk'],
  pool: 10,
};

/** How one backlog was drained. */
export interface Drain {
  readonly perSecond: number;
  /** Processor time of the relay's process and of the servers for each change, in µs. */
  readonly processorUs: ProcessorTimes;
  /** What the process held after each quarter, in bytes, beyond what it held before: collected each time. */
  readonly heldBytes: readonly number[];
  /** Entries that are older than their rows afterwards, of those that were cached: 0, unless a change was lost. */
  readonly stale: number;
}

export interface RelayBenchResult {
  readonly settings: Readonly<Record<string, unknown>>;
  /** Medians over the turns. */
  readonly drains: Readonly<Record<string, Drain>>;
}

const SAMPLES = 4;
const ROWS_AT_ONCE = 500;

/**
 * A backlog of changes that others made while no relay ran, and one relay that drains it: in a process that does nothing
 * else, through a real Postgres and a real Redis.
 */
export async function runRelay(
  { backlogs, changes, pool, turns }: RelayBenchOptions,
  progress: (line: string) => void,
): Promise<RelayBenchResult> {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: pool } });
  const processor = (): ProcessorTimes =>
    processorTimes({ postgres: postgres.process?.pid, redis: redis.process?.pid });
  const drains: Record<string, Drain> = {};
  try {
    for (const name of backlogs) {
      const { cached, changesOfEach } = BACKLOGS[name];
      const rows = Math.ceil(changes / changesOfEach);
      const table = `products_${name}`;
      const bench = await prepare(knex, redis.url, table, rows);
      try {
        const measured: Drain[] = [];
        for (let turn = 0; turn < turns; turn++) {
          const keys = Array.from({ length: Math.ceil(rows * cached) }, (_, n) => idOf(n));
          await bench.products.refreshAll(keys);
          for (let round = 0; round < changesOfEach; round++) {
            await knex.raw('UPDATE ?? SET stock = stock + 1', [table]);
          }
          measured.push(await drain(bench, keys, rows * changesOfEach, processor));
          const last = measured.at(-1) as Drain;
          progress(`${name}: ${Math.round(last.perSecond)}/s ${JSON.stringify(last)}`);
        }
        drains[name] = middle(measured);
      } finally {
        await bench.lockstep.close();
      }
    }
    return { settings: { ...DURABLE, version: postgres.version, changes, pool, turns }, drains };
  } finally {
    await knex.destroy();
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

const idOf = (n: number): string => String(n);

interface Prepared {
  readonly lockstep: Lockstep;
  readonly products: {
    /** Brings these rows into the cache as they are. */
    refreshAll(ids: readonly string[]): Promise<void>;
    /** How many of these are stale in the cache. */
    stale(ids: readonly string[]): Promise<number>;
  };
}

async function prepare(knex: Knex, redisUrl: string, name: string, rows: number): Promise<Prepared> {
  await createProducts(knex, name);
  for (let from = 0; from < rows; from += ROWS_AT_ONCE) {
    const count = Math.min(ROWS_AT_ONCE, rows - from);
    const batch = Array.from({ length: count }, (_, i) => ({ ...product(from + i), id: idOf(from + i) }));
    await knex.batchInsert(name, batch, ROWS_AT_ONCE);
  }
  const pg = postgresStore({ knex });
  const table = pg.table<Product>(name, { key: 'id' });
  await pg.attach(table);
  const lockstep = createLockstep({ cache: redisCache({ url: redisUrl }), cacheTimeoutMs: 5_000 });
  const products = lockstep.collection({ name, store: table, ttlMs: TTL_S * 1_000 });
  const parts = function* (ids: readonly string[]) {
    for (let from = 0; from < ids.length; from += ROWS_AT_ONCE) yield ids.slice(from, from + ROWS_AT_ONCE);
  };
  return {
    lockstep,
    products: {
      async refreshAll(ids) {
        for (const part of parts(ids)) await products.getMany(part);
      },
      async stale(ids) {
        let count = 0;
        for (const part of parts(ids)) {
          const stocks = await knex<Product>(name).whereIn('id', part).select('id', 'stock');
          const values = new Map((await products.getMany(part)).map((value) => [value?.id, value?.stock]));
          for (const { id, stock } of stocks) if (values.get(id) !== stock) count++;
        }
        return count;
      },
    },
  };
}

/** Starts a relay, and stops it once it has handled so many changes. */
async function drain(
  { lockstep, products }: Prepared,
  cached: readonly string[],
  changes: number,
  processor: () => ProcessorTimes,
): Promise<Drain> {
  const before = collectedHeap();
  const heldBytes: number[] = [];
  let [handled, pausedMs] = [0, 0];
  const all = Promise.withResolvers<void>();
  const count = (event: { readonly changes: number }): void => {
    handled += event.changes;
    if (handled >= ((heldBytes.length + 1) * changes) / SAMPLES) {
      const beganAt = performance.now();
      heldBytes.push(collectedHeap() - before);
      pausedMs += performance.now() - beganAt;
    }
    if (handled >= changes) all.resolve();
  };
  const stopCounting = lockstep.events.on('relay', count);
  const usedBefore = processor();
  const startedAt = performance.now();
  const relay = lockstep.startRelay();
  try {
    await all.promise;
  } finally {
    stopCounting();
  }
  const seconds = (performance.now() - startedAt - pausedMs) / 1_000;
  const processorUs = perCall(usedBefore, processor(), changes);
  await relay.stop();
  const stale = await products.stale(cached);
  return { perSecond: changes / seconds, processorUs, heldBytes, stale };
}

function middle(drains: readonly Drain[]): Drain {
  const of = (figure: (drain: Drain) => number): number => median(drains.map(figure));
  const processes = Object.keys(drains[0]?.processorUs ?? {});
  return {
    perSecond: of(({ perSecond }) => perSecond),
    processorUs: Object.fromEntries(
      processes.map((name) => [name, of(({ processorUs }) => processorUs[name] ?? Number.NaN)]),
    ),
    heldBytes: Array.from({ length: SAMPLES }, (_, quarter) =>
      of(({ heldBytes }) => heldBytes[quarter] ?? Number.NaN),
    ),
    stale: Math.max(...drains.map(({ stale }) => stale)),
  };
}
