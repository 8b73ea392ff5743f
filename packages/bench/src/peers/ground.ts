import { startMongo, startPostgres, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { TTL_S } from '../bursts/ours.js';
import { DURABLE } from '../bursts/postgres.js';
import { type ProcessorTimes, processorTimes } from '../bursts/processor.js';
import { PRODUCTS, type Product } from '../bursts/product.js';
import type { Database, Table } from './database.js';
import { LIMIT, PEERS, type PeerName } from './peers.js';
import { rowOf } from './row.js';
import type { Side } from './side.js';
import { DATABASES, OURS, openSide, type Place, possible, type SideName, type StoreName } from './sides.js';

export interface GroundOptions {
  readonly store: StoreName;
  /** Which sides, beside Lockstep. */
  readonly peers: readonly PeerName[];
  /** With the bare clients, which nobody can beat. */
  readonly limit: boolean;
  readonly pool: number;
  readonly products: number;
  /** A row as JSON has about so many bytes. */
  readonly valueBytes: number;
  readonly ttlS: number;
}

export const GROUND: GroundOptions = {
  store: 'postgres',
  peers: Object.keys(PEERS) as PeerName[],
  limit: false,
  pool: 20,
  products: PRODUCTS,
  valueBytes: 300,
  ttlS: TTL_S,
};

/** A side, with its table as nobody caches it. */
export interface GroundedSide extends Side {
  readonly table: Table;
}

export interface Grounds {
  readonly sides: Readonly<Record<string, GroundedSide>>;
  readonly place: Place;
  readonly database: Database;
  readonly redis: Redis;
  readonly settings: Readonly<Record<string, unknown>>;
  /** A row of these tables. */
  row(n: number): Product;
  /** Processor time of this process, the store and the cache, so far. */
  processor(): ProcessorTimes;
  close(): Promise<void>;
}

/** A table of products for each side, on one database and one Redis. */
export async function openGrounds(options: GroundOptions): Promise<Grounds> {
  const { limit, peers, pool, products, store, ttlS, valueBytes } = options;
  const [service, cache] = await Promise.all([startStore(store), startRedis({ owned: true })]);
  const place: Place = { store, storeUrl: service.url, redisUrl: cache.url, pool, ttlS };
  const database = DATABASES[store](service.url);
  const redis = new Redis(cache.url);
  const sides: Record<string, GroundedSide> = {};
  const close = async (): Promise<void> => {
    for (const side of Object.values(sides)) {
      await side.close();
      await side.table.close();
    }
    redis.disconnect();
    await database.close();
    await Promise.all([service.stop(), cache.stop()]);
  };
  try {
    const names: SideName[] = [OURS, ...possible(store, peers), ...(limit ? [LIMIT] : [])] as SideName[];
    for (const name of names) await database.create(name, products, valueBytes);
    await database.attach(OURS);
    await database.settle();
    for (const name of names) {
      const side = await openSide(database, place, name);
      sides[name] = { ...side, table: database.table(name, 1, 'plain') as Table };
      // Its connections, and what it finds out about its table.
      await side.get('0');
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    sides,
    place,
    database,
    redis,
    settings: { ...service.settings, pool, products, valueBytes, ttlS },
    row: (n) => rowOf(n, valueBytes),
    processor: () => processorTimes({ store: service.pid, cache: cache.process?.pid }),
    close,
  };
}

async function startStore(store: StoreName) {
  if (store === 'mongo') {
    const { members, stop, url, version } = await startMongo({ owned: true });
    return { url, pid: members[0]?.pid, stop, settings: { version, writeConcern: 'majority' } };
  }
  // Several processes have a pool for each side.
  const settings = { ...DURABLE, max_connections: 800 };
  const { process, stop, url, version } = await startPostgres({ settings, owned: true });
  return { url, pid: process?.pid, stop, settings: { ...settings, version } };
}
