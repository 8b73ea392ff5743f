import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import type { Product } from '../bursts/product.js';
import { type Database, OWN_TABLE, type Style, type Table } from './database.js';
import { mongoDatabase } from './mongo.js';
import { bareClients, LIMIT, PEERS, type PeerName } from './peers.js';
import { postgresDatabase } from './postgres.js';
import type { Peer, Side } from './side.js';

export const OURS = OWN_TABLE;

export const DATABASES = { postgres: postgresDatabase, mongo: mongoDatabase } satisfies Record<
  string,
  (url: string) => Database
>;
export type StoreName = keyof typeof DATABASES;

/** Where sides are opened: the same in every process. */
export interface Place {
  readonly store: StoreName;
  readonly storeUrl: string;
  readonly redisUrl: string;
  readonly pool: number;
  readonly ttlS: number;
}

export type SideName = typeof OURS | typeof LIMIT | PeerName;

/** Those of these peers that the database has a style for. */
export function possible(store: StoreName, peers: readonly PeerName[]): PeerName[] {
  return peers.filter((name) => store === 'postgres' || name !== 'tuned by hand');
}

/** A side on its table, which is there. */
export async function openSide(database: Database, place: Place, name: SideName): Promise<Side> {
  if (name === OURS) return await openOurs(database, place);
  if (name === LIMIT) return await openPeer(database, place, LIMIT, bareClients, 'named');
  return await openPeer(database, place, name, PEERS[name], name === 'tuned by hand' ? 'tuned' : 'plain');
}

async function openOurs(database: Database, { pool, redisUrl, ttlS }: Place): Promise<Side> {
  const table = database.own(OURS, pool);
  const lockstep = createLockstep({ cache: redisCache({ url: redisUrl }) });
  const loads = counter();
  lockstep.events.on('load', ({ keys }) => loads.add(keys));
  const products = lockstep.collection({ name: 'products', store: table.store, ttlMs: ttlS * 1_000 });
  return {
    kind: 'ours',
    async get(id) {
      const row = await products.get(id);
      return row === undefined ? undefined : table.productOf(row);
    },
    put: (row) => products.put(row.id, table.rowOf(row)),
    increment: (id) => products.increment(id, 'stock' as never, 1),
    patch: (id, stock) => products.patch(id, { stock } as never),
    update: (id, stock) => products.update(id, (row) => row && ({ ...(row as object), stock } as never)),
    delete: (id) => products.delete(id),
    transact: (rows) =>
      lockstep.transaction(async (tx) => {
        for (const row of rows) await products.put(row.id, table.rowOf(row), { tx });
      }),
    evict: (id) => products.invalidate(id),
    takeLoads: loads.take,
    async close() {
      await lockstep.close();
      await table.close();
    },
  };
}

async function openPeer(
  database: Database,
  { pool, redisUrl, ttlS }: Place,
  name: SideName,
  open: Peer,
  style: Style,
): Promise<Side> {
  const table = database.table(name, pool, style) as Table;
  const loads = counter();
  const load = (id: string): Promise<Product | undefined> => {
    loads.add(1);
    return table.load(id);
  };
  const cache = await open({ name, redisUrl, ttlS, load });
  const changed = async (change: Promise<Product | undefined>): Promise<void> => {
    const row = await change;
    if (row !== undefined) await cache.written(row);
  };
  return {
    kind: name === LIMIT ? 'limit' : 'peer',
    get: cache.get,
    async put(row) {
      await table.save(row);
      await cache.written(row);
    },
    increment: (id) => changed(table.add(id, 1)),
    patch: (id, stock) => changed(table.patch(id, stock)),
    update: (id, stock) => changed(table.patch(id, stock)),
    async delete(id) {
      await table.remove(id);
      await cache.evict(id);
    },
    async transact(rows) {
      await table.saveAll(rows);
      await Promise.all(rows.map(cache.written));
    },
    evict: cache.evict,
    takeLoads: loads.take,
    async close() {
      await cache.close();
      await table.close();
    },
  };
}

function counter(): { add(count: number): void; take(): number } {
  let count = 0;
  return {
    add(more) {
      count += more;
    },
    take() {
      const taken = count;
      count = 0;
      return taken;
    },
  };
}
