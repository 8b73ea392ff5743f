import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage from 'knex';
import { TTL_S } from './bursts/ours.js';
import { DURABLE } from './bursts/postgres.js';
import { type Product, product } from './bursts/product.js';
import { median, middleTurn, TURN_MS, type Turn, turn } from './bursts/turn.js';
import { type TagPeer, tagPeers } from './peers/tags.js';

/** The benchmark's result: medians over the turns. */
export interface ViewsResult {
  readonly turns: number;
  /**
   * Hits by the number of readers: of a collection's row, of a view with one tag, of a row with a tag, and of the peers
   * with one tag. `ratio`: against the row's, times as long; of many readers, in calls per second.
   */
  readonly reads: Readonly<Record<string, Readonly<Record<string, Hits>>>>;
  /** Writes to Postgres, by the number of tags, and the writers. */
  readonly writes: Readonly<Record<string, { readonly alone: Turn; readonly many: Turn }>>;
  /** A write that ends the tag of so many views, and the first read behind it, in ms; and the same of the peers. */
  readonly endedTag: Readonly<Record<string, EndedTag>>;
}

interface Hits extends Turn {
  readonly ratio: number;
}

interface EndedTag {
  readonly views: number;
  readonly writeMs: number;
  readonly readMs: number;
}

/** A product with the values that tags are made of. */
interface Tagged extends Product {
  readonly a: string;
  readonly b: string;
  readonly c: string;
  readonly d: string;
}

const READERS = [1, 256];
const WRITERS = 64;
const ROWS = 10_000;
/** The most that hang on a peer's tag: what it takes to end one does not depend on it, and to fill them does. */
const PEER_VIEWS = 10_000;
const GROUPS = 100;
const TAGS = { none: undefined, '1': ['a'], '4': ['a', 'b', 'c', 'd'] } as const;

function tagged(n: number): Tagged {
  const of = (letter: string): string => `${letter}${n % GROUPS}`;
  return { ...product(n), a: of('a'), b: of('b'), c: of('c'), d: of('d') };
}

export async function runViews(
  turns: number,
  views: number,
  progress: (line: string) => void,
): Promise<ViewsResult> {
  const reads = await measureReads(turns);
  progress(`reads: ${JSON.stringify(reads)}`);
  const writes = await measureWrites(turns);
  progress(`writes: ${JSON.stringify(writes)}`);
  const endedTag = await measureTag(views);
  progress(`ended tag: ${JSON.stringify(endedTag)}`);
  return { turns, reads, writes, endedTag };
}

/** Products, and a view of each that depends on its group: the same value either way. */
async function open() {
  const redis = await startRedis({ owned: true });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }), cacheTimeoutMs: 5_000 });
  const store = memoryStore<Tagged>({ name: 'products' });
  const products = lockstep.collection({ name: 'products', store, ttlMs: TTL_S * 1_000, tags: ['a'] });
  const plain = lockstep.collection({
    name: 'plain',
    store: memoryStore<Tagged>({ name: 'plain' }),
    ttlMs: TTL_S * 1_000,
  });
  const pages = lockstep.view<{ n: number }, Tagged>({
    name: 'pages',
    load: ({ n }) => tagged(n),
    dependsOn: ({ n }) => products.where({ a: `a${n % GROUPS}` }),
    ttlMs: TTL_S * 1_000,
  });
  const { hostname, port } = new URL(redis.url);
  const peers = tagPeers<Tagged>({
    redis: { host: hostname, port: Number(port), url: redis.url },
    load: tagged,
    tagOf: (n) => `a${n % GROUPS}`,
    ttlMs: TTL_S * 1_000,
  });
  const close = async (): Promise<void> => {
    await Promise.all(peers.map((peer) => peer.close()));
    await lockstep.close();
    await redis.stop();
  };
  return { lockstep, plain, products, pages, peers, close };
}

async function measureReads(turns: number): Promise<ViewsResult['reads']> {
  const { close, lockstep, pages, peers, plain, products } = await open();
  try {
    const all = Array.from({ length: ROWS }, (_, n) => n);
    for (let from = 0; from < ROWS; from += 500) {
      for (const rows of [plain, products]) {
        await rows.putMany(all.slice(from, from + 500).map((n) => [String(n), tagged(n)]));
      }
    }
    for (let from = 0; from < ROWS; from += 500) {
      await pages.getMany(all.slice(from, from + 500).map((n) => ({ n })));
      await lockstep.drain();
      for (const peer of peers) await Promise.all(all.slice(from, from + 500).map((n) => peer.get(n)));
    }
    const sides: readonly (readonly [string, (n: number) => Promise<unknown>])[] = [
      ['row', (n) => plain.get(String(n))],
      ['view', (n) => pages.get({ n })],
      ['tagged row', (n) => products.get(String(n))],
      ...peers.map((peer) => [peer.name, (n: number) => peer.get(n)] as const),
    ];
    const result: Record<string, Record<string, Hits>> = {};
    for (const readers of READERS) {
      const measured = sides.map(() => [] as Turn[]);
      for (let round = 0; round <= turns; round++) {
        const order = sides.map((_, i) => i);
        for (const i of round % 2 === 0 ? order : order.toReversed()) {
          const [, get] = sides[i] as (typeof sides)[number];
          const one = await turn(readers, { ms: TURN_MS }, (n) => get((n * 7_919) % ROWS));
          // The first round warms up.
          if (round > 0) measured[i]?.push(one);
        }
      }
      const [rows = []] = measured;
      const hits = sides.map(([name], i): [string, Hits] => {
        const own = measured[i] ?? [];
        const ratios = own.map((one, k) => {
          const row = rows[k] as Turn;
          return readers === 1 ? one.p50Ms / row.p50Ms : row.perSecond / one.perSecond;
        });
        return [name, { ratio: median(ratios), ...middleTurn(own) }];
      });
      result[readers] = Object.fromEntries(hits);
    }
    return result;
  } finally {
    await close();
  }
}

async function measureWrites(turns: number): Promise<ViewsResult['writes']> {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 20 } });
  const pg = postgresStore({ knex });
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }) });
  try {
    const subjects = [];
    for (const [name, tags] of Object.entries(TAGS)) {
      const table = `tags_${name}`;
      await knex.raw(`CREATE TABLE ${table} (id text PRIMARY KEY, name text, stock int, price float8, attributes jsonb,
        a text, b text, c text, d text)`);
      const store = pg.table<Tagged, string>(table, { key: 'id' });
      await pg.attach(store, tags === undefined ? {} : { tags });
      const products = lockstep.collection({ name: table, store, ...(tags === undefined ? {} : { tags }) });
      subjects.push({ name, products, alone: [] as Turn[], many: [] as Turn[] });
    }
    for (let round = 0; round <= turns; round++) {
      for (const { alone, many, products } of round % 2 === 0 ? subjects : subjects.toReversed()) {
        const put = (n: number) => products.put(String((n * 7_919) % ROWS), tagged((n * 7_919) % ROWS));
        const [one, all] = [await turn(1, { ms: TURN_MS }, put), await turn(WRITERS, { ms: TURN_MS }, put)];
        if (round === 0) continue;
        alone.push(one);
        many.push(all);
      }
    }
    return Object.fromEntries(
      subjects.map(({ name, alone, many }) => [name, { alone: middleTurn(alone), many: middleTurn(many) }]),
    );
  } finally {
    await lockstep.close();
    await knex.destroy();
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

/** All views hang on one tag. */
async function measureTag(views: number): Promise<ViewsResult['endedTag']> {
  const { close, lockstep, pages, peers, products } = await open();
  try {
    await products.put('0', tagged(0));
    const lockstepViews = {
      get: (n: number) => pages.get({ n }),
      endTag: () => products.put('0', tagged(0)),
    };
    const ended: [string, EndedTag][] = [
      ['view', await endTag(views, lockstepViews, () => lockstep.drain())],
    ];
    for (const peer of peers) ended.push([peer.name, await endTag(Math.min(views, PEER_VIEWS), peer)]);
    return Object.fromEntries(ended);
  } finally {
    await close();
  }
}

async function endTag(
  views: number,
  { endTag, get }: Pick<TagPeer<unknown>, 'endTag' | 'get'>,
  drain: () => Promise<void> = async () => undefined,
): Promise<EndedTag> {
  for (let from = 0; from < views; from += 500) {
    const some = Array.from({ length: Math.min(500, views - from) }, (_, i) => (from + i) * GROUPS);
    await Promise.all(some.map(get));
    await drain();
  }
  const startedAt = performance.now();
  await endTag(0);
  const writtenAt = performance.now();
  await get(0);
  return { views, writeMs: writtenAt - startedAt, readMs: performance.now() - writtenAt };
}
