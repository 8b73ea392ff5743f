import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { TTL_S } from '../bursts/ours.js';
import { createProducts, DURABLE } from '../bursts/postgres.js';
import { PRODUCTS, type Product, product } from '../bursts/product.js';
import { PEERS } from './peers.js';
import type { Ground, PeerSide } from './side.js';

/** A side, with what stands behind it. */
export interface GroundedSide extends PeerSide {
  /** Rows read from the table since the last call. */
  takeLoads(): number;
  /** What the table has of a product's stock. */
  stock(id: string): Promise<number | undefined>;
}

export interface Grounds {
  readonly sides: Readonly<Record<string, GroundedSide>>;
  readonly settings: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

export interface GroundOptions {
  /** Which sides, beside `lockstep`. */
  readonly peers: readonly (keyof typeof PEERS)[];
  /** How many Locksteps or other caches of each kind, as so many processes have. */
  readonly instances: number;
  readonly pool: number;
  readonly products: number;
}

export const GROUND: GroundOptions = {
  peers: Object.keys(PEERS) as (keyof typeof PEERS)[],
  instances: 1,
  pool: 20,
  products: PRODUCTS,
};

interface Servers {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly knex: Knex;
}

/** A table of products for each side, on one Postgres and one Redis. */
export async function openGrounds(options: GroundOptions): Promise<Grounds> {
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: DURABLE, owned: true }),
    startRedis({ owned: true }),
  ]);
  const knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 4 } });
  const servers = { postgresUrl: postgres.url, redisUrl: redis.url, knex };
  const sides: Record<string, GroundedSide> = {};
  const close = async (): Promise<void> => {
    for (const side of Object.values(sides)) await side.close();
    await knex.destroy();
    await Promise.all([postgres.stop(), redis.stop()]);
  };
  try {
    sides['lockstep'] = await ours(servers, options);
    for (const name of options.peers) sides[name] = await theirs(servers, name, options);
    await knex.raw('VACUUM ANALYZE');
  } catch (error) {
    await close();
    throw error;
  }
  const { pool, products } = options;
  return { sides, close, settings: { ...DURABLE, version: postgres.version, pool, products } };
}

async function filled({ knex }: Servers, table: string, products: number): Promise<void> {
  await createProducts(knex, table);
  const rows = Array.from({ length: products }, (_, n) => product(n));
  await knex.batchInsert(table, rows, 500);
}

const connect = ({ postgresUrl }: Servers, pool: number): Knex =>
  knexPackage({ client: 'pg', connection: postgresUrl, pool: { min: 0, max: pool } });

/** Calls go round the instances, so that neighbours meet in the cache, not in the process. */
function roundRobin(sides: readonly PeerSide[]): () => PeerSide {
  let next = 0;
  return () => sides[next++ % sides.length] as PeerSide;
}

async function ours(servers: Servers, { instances, pool, products }: GroundOptions): Promise<GroundedSide> {
  const knex = connect(servers, pool);
  await filled(servers, 'lockstep', products);
  let loads = 0;
  const own: PeerSide[] = [];
  const opened: (() => Promise<void>)[] = [];
  for (let i = 0; i < instances; i++) {
    const pg = postgresStore({ knex });
    const table = pg.table<Product>('lockstep', { key: 'id' });
    if (i === 0) await pg.attach(table);
    const lockstep = createLockstep({ cache: redisCache({ url: servers.redisUrl }) });
    lockstep.events.on('load', ({ keys }) => {
      loads += keys;
    });
    const collection = lockstep.collection({ name: 'products', store: table, ttlMs: TTL_S * 1_000 });
    await collection.get('0');
    opened.push(() => lockstep.close());
    own.push({
      kind: 'ours',
      get: (id) => collection.get(id),
      put: (row) => collection.put(row.id, row),
      evict: (id) => collection.invalidate(id),
      changes: {
        increment: (id) => collection.increment(id, 'stock', 1),
        patch: (id, stock) => collection.patch(id, { stock }),
        update: (id, stock) => collection.update(id, (row) => row && { ...row, stock }),
        delete: (id) => collection.delete(id),
      },
      close: async () => {},
    });
  }
  const turn = roundRobin(own);
  return {
    kind: 'ours',
    get: (id) => turn().get(id),
    put: (row) => turn().put(row),
    evict: (id) => turn().evict(id),
    ...changesOf(own),
    ...counted(() => loads),
    stock: (id) => stockOf(knex, 'lockstep', id),
    async close() {
      for (const end of opened) await end();
      await knex.destroy();
    },
  };
}

async function theirs(
  servers: Servers,
  name: keyof typeof PEERS,
  { instances, pool, products }: GroundOptions,
): Promise<GroundedSide> {
  const knex = connect(servers, pool);
  await filled(servers, name, products);
  let loads = 0;
  const ground: Ground = {
    redisUrl: servers.redisUrl,
    async load(id) {
      loads += 1;
      return await knex<Product>(name).where({ id }).first();
    },
    async save(row) {
      await knex(name)
        .insert({ ...row, attributes: JSON.stringify(row.attributes) })
        .onConflict('id')
        .merge();
    },
    rows: () => knex<Product>(name),
  };
  const own = await Promise.all(Array.from({ length: instances }, () => PEERS[name](ground)));
  const turn = roundRobin(own);
  return {
    kind: 'peer',
    get: (id) => turn().get(id),
    put: (row) => turn().put(row),
    evict: (id) => turn().evict(id),
    ...changesOf(own),
    ...counted(() => loads),
    stock: (id) => stockOf(knex, name, id),
    async close() {
      for (const side of own) await side.close();
      await knex.destroy();
    },
  };
}

/** Of the first instance. */
function changesOf([first]: readonly PeerSide[]): Pick<PeerSide, 'changes'> {
  return first?.changes === undefined ? {} : { changes: first.changes };
}

function counted(loads: () => number): Pick<GroundedSide, 'takeLoads'> {
  let taken = 0;
  return {
    takeLoads() {
      const since = loads() - taken;
      taken = loads();
      return since;
    },
  };
}

async function stockOf(knex: Knex, table: string, id: string): Promise<number | undefined> {
  return (await knex<Product>(table).where({ id }).first())?.stock;
}
