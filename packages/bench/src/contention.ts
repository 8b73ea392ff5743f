import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { TTL_S } from './bursts/ours.js';
import { createProducts, DURABLE } from './bursts/postgres.js';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import { median, middleTurn, TURN_MS, type Turn, turn } from './bursts/turn.js';

/** All callers change one row of a table of 10,000: each takes one unit of its stock. */
const HOT = '0';
/** More than any turn sells. */
const STOCK = 1_000_000_000;

/** The ways to do it; what is written by hand locks the row in each. */
export const WAYS = ['update', 'incrementWithin', 'write'] as const;
export type Way = (typeof WAYS)[number];

export const CALLERS: readonly number[] = [1, 8, 32, 256];

export interface ContentionOptions {
  readonly turns: number;
  readonly callers: readonly number[];
  readonly ways: readonly Way[];
  readonly turnMs: number;
  /** Connections to the database, of each side. */
  readonly pool: number;
}

export const CONTENTION: ContentionOptions = {
  turns: 5,
  callers: CALLERS,
  ways: WAYS,
  turnMs: TURN_MS,
  pool: 20,
};

interface Middle {
  readonly ours: Turn;
  readonly theirs: Turn;
}

/** Ratios are ours ÷ theirs of calls per second, medians over the turns; by way and number of callers. */
export interface ContentionResult {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly turns: number;
  readonly ratio: Readonly<Record<string, number>>;
  readonly sides: Readonly<Record<string, Middle>>;
  /** Calls that failed, of either side. */
  readonly failed: { readonly ours: number; readonly theirs: number };
  /** Units that were taken, less units that are missing from the stock: 0, unless changes were lost. */
  readonly lost: { readonly ours: number; readonly theirs: number };
}

type Sides = Record<'ours' | 'theirs', (way: Way) => Promise<unknown>>;

/** Both sides on one Postgres and one Redis, a table and a pool of connections each. */
async function contentionBench(pool: number) {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const connect = () => knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: pool } });
  const [knex, knexOfTheirs] = [connect(), connect()];
  const pg = postgresStore({ knex });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  const client = new Redis(redis.url);
  async function close(): Promise<void> {
    await lockstep.close();
    client.disconnect();
    await Promise.all([knex.destroy(), knexOfTheirs.destroy()]);
    await Promise.all([postgres.stop(), redis.stop()]);
  }
  try {
    const rows = Array.from({ length: PRODUCTS }, (_, n) => ({ ...product(n), stock: STOCK }));
    for (const table of ['ours', 'theirs']) {
      await createProducts(knex, table);
      await knex.batchInsert(table, rows, 500);
    }
    const table = pg.table<Product>('ours', { key: 'id' });
    await pg.attach(table);
    const products = lockstep.collection({ name: 'products', store: table, ttlMs: TTL_S * 1_000 });
    const sold = (row: Product | undefined): Product => {
      if (row === undefined || row.stock === 0) throw new Error('sold out');
      return { ...row, stock: row.stock - 1 };
    };
    const sell = async (trx: Knex.Transaction, name: string): Promise<Product> => {
      const row = sold(await trx<Product>(name).where({ id: HOT }).forUpdate().first());
      await trx<Product>(name).where({ id: HOT }).update({ stock: row.stock });
      return row;
    };
    const sides: Sides = {
      ours: (way) => {
        if (way === 'update') return products.update(HOT, sold);
        if (way === 'incrementWithin') return products.increment(HOT, 'stock', -1, { min: 0 });
        return products.write(HOT, (trx) => sell(trx, 'ours'));
      },
      async theirs() {
        const row = await knexOfTheirs.transaction((trx) => sell(trx, 'theirs'));
        await client.setex(`products:${HOT}`, TTL_S, JSON.stringify(row));
      },
    };
    const left = async (name: string): Promise<number> =>
      (await knex<Product>(name).where({ id: HOT }).first())?.stock ?? Number.NaN;
    await products.get(HOT);
    return { sides, left, settings: { ...DURABLE, version: postgres.version, pool }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Callers of one process that all change one row, against `SELECT … FOR UPDATE` by hand and `SETEX`, in turn. */
export async function runContention(
  { callers, pool, turnMs, turns, ways }: ContentionOptions,
  progress: (line: string) => void,
): Promise<ContentionResult> {
  const bench = await contentionBench(pool);
  const ratio: Record<string, number> = {};
  const sides: Record<string, Middle> = {};
  const done = { ours: 0, theirs: 0 };
  const failed = { ours: 0, theirs: 0 };
  async function measure(side: 'ours' | 'theirs', way: Way, count: number): Promise<Turn> {
    return await turn(count, { ms: turnMs }, async () => {
      try {
        await bench.sides[side](way);
        done[side]++;
      } catch {
        failed[side]++;
      }
    });
  }
  try {
    for (const way of ways) {
      for (const count of callers) {
        const measured = { ours: [] as Turn[], theirs: [] as Turn[] };
        for (let round = 0; round <= turns; round++) {
          const order = round % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const);
          for (const side of order) {
            const result = await measure(side, way, count);
            // The first round warms up.
            if (round > 0) measured[side].push(result);
          }
        }
        const name = `${way} ${count}`;
        const middle = { ours: middleTurn(measured.ours), theirs: middleTurn(measured.theirs) };
        sides[name] = middle;
        ratio[name] = median(
          measured.ours.map((ours, i) => ours.perSecond / (measured.theirs[i] as Turn).perSecond),
        );
        progress(
          `${name}: ratio ${ratio[name]?.toFixed(2)}\n  ours   ${line(middle.ours)}\n  theirs ${line(middle.theirs)}`,
        );
      }
    }
    const lost = {
      ours: done.ours - (STOCK - (await bench.left('ours'))),
      theirs: done.theirs - (STOCK - (await bench.left('theirs'))),
    };
    return { settings: bench.settings, turns, ratio, sides, failed, lost };
  } finally {
    await bench.close();
  }
}

function line({ p50Ms, p99Ms, perSecond }: Turn): string {
  return `${Math.round(perSecond)}/s p50 ${p50Ms.toFixed(3)} p99 ${p99Ms.toFixed(3)} ms`;
}
