import { type RedisCacheOptions, redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { TTL_S } from './bursts/ours.js';
import { createProducts, DURABLE } from './bursts/postgres.js';
import { PRODUCTS, type Product, product } from './bursts/product.js';
import { median } from './bursts/turn.js';

/** The parts of a put: what the application's sockets divide it into. */
export const PARTS = [
  'until the statement is written',
  'Postgres',
  'until the cache is written',
  'the cache',
  'until the caller has the answer',
] as const;

export type Part = (typeof PARTS)[number];

export interface LoneOptions {
  /** Puts of each side. */
  readonly calls: number;
  readonly products: number;
}

export const LONE: LoneOptions = { calls: 10_000, products: PRODUCTS };

/** In µs, medians. */
export interface LoneResult {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly ours: Readonly<Record<Part | 'all', number>>;
  readonly theirs: Readonly<Record<Part | 'all', number>>;
  /** Ours ÷ theirs. */
  readonly ratio: number;
}

/** The part of a socket that is watched. */
interface Watched {
  write(...args: unknown[]): unknown;
  prependListener(name: 'data', listener: () => void): unknown;
}

/** The times at which one put met its sockets: when it wrote, and when the last of the answer came. */
class Marks {
  times: number[] = [];
  /** Whose answer the last time is of. */
  #answering: Watched | undefined;

  watch(stream: Watched): void {
    const { write } = stream;
    let written = false;
    stream.write = (...args) => {
      // The messages of one pipeline are one.
      if (!written) this.times.push(performance.now());
      written = true;
      this.#answering = undefined;
      return write.apply(stream, args);
    };
    stream.prependListener('data', () => {
      // A row comes before its commit.
      if (this.#answering === stream) this.times.pop();
      if (written || this.#answering === stream) {
        this.times.push(performance.now());
        this.#answering = stream;
      }
      written = false;
    });
  }
}

/**
 * The parts of one writer's time: puts of both sides, one after the other, call by call, so that whatever else the machine
 * does meets both. A put that shared its way with something else (an acknowledgement, a second read) is left out.
 */
export async function runLone({ calls, products }: LoneOptions): Promise<LoneResult> {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const marks = new Marks();
  const afterCreate = (
    client: { readonly connection: { readonly stream: Watched } },
    done: (error: unknown, client: unknown) => void,
  ): void => {
    marks.watch(client.connection.stream);
    done(undefined, client);
  };
  const connect = (): Knex =>
    knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 20, afterCreate } });
  const [knex, knexOfTheirs] = [connect(), connect()];
  const [own, client] = [new Redis(redis.url), new Redis(redis.url)];
  const lockstep = createLockstep({ cache: redisCache({ client: own } as RedisCacheOptions) });
  try {
    for (const table of ['ours', 'theirs']) await createProducts(knex, table);
    const pg = postgresStore({ knex });
    const table = pg.table<Product>('ours', { key: 'id' });
    await pg.attach(table);
    const collection = lockstep.collection({ name: 'products', store: table, ttlMs: TTL_S * 1_000 });
    const sides = {
      ours: (row: Product): Promise<unknown> => collection.put(row.id, row),
      async theirs(row: Product): Promise<void> {
        const columns = { ...row, attributes: JSON.stringify(row.attributes) };
        await knexOfTheirs('theirs').insert(columns).onConflict('id').merge();
        await client.setex(`products:${row.id}`, TTL_S, JSON.stringify(row));
      },
    };
    for (let from = 0; from < products; from += 500) {
      const rows = Array.from({ length: Math.min(500, products - from) }, (_, i) => product(from + i));
      for (const put of Object.values(sides)) await Promise.all(rows.map(put));
    }
    for (const { stream } of [own, client]) marks.watch(stream as unknown as Watched);
    const taken = { ours: [] as number[][], theirs: [] as number[][] };
    // The first tenth warms up.
    for (let n = -calls / 10; n < calls; n++) {
      for (const name of n % 2 === 0 ? (['ours', 'theirs'] as const) : (['theirs', 'ours'] as const)) {
        const row = { ...product((Math.floor(n + calls) * 7_919) % products), stock: Math.floor(n + calls) };
        marks.times = [performance.now()];
        await sides[name](row);
        const times = [...marks.times, performance.now()];
        if (n >= 0 && times.length === PARTS.length + 1) taken[name].push(times);
      }
    }
    const [ours, theirs] = [partsOf(taken.ours), partsOf(taken.theirs)];
    return {
      settings: { ...DURABLE, version: postgres.version },
      ours,
      theirs,
      ratio: ours.all / theirs.all,
    };
  } finally {
    await lockstep.close();
    own.disconnect();
    client.disconnect();
    await Promise.all([knex.destroy(), knexOfTheirs.destroy()]);
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

function partsOf(taken: readonly (readonly number[])[]): Record<Part | 'all', number> {
  const between = (from: number, to: number): number =>
    Math.round(
      median(taken.map((times) => ((times[to] ?? Number.NaN) - (times[from] ?? Number.NaN)) * 1_000)),
    );
  const parts = PARTS.map((part, place) => [part, between(place, place + 1)] as const);
  return { ...(Object.fromEntries(parts) as Record<Part, number>), all: between(0, PARTS.length) };
}
