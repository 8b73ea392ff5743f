import {
  DevServicesError,
  type MongoService,
  type PostgresService,
  type RedisService,
  type Service,
  startMongo,
  startPostgres,
  startRedis,
} from '@lockstep/dev-services';
import type { StoreAddress, StoreKind } from '../stores/store.js';

/** The servers of a run. */
export interface Servers {
  readonly store: Service;
  readonly storeAddress: StoreAddress;
  /** The store once more, where it is MongoDB. */
  readonly mongo: MongoService | null;
  /** `null`: there is no Redis on this machine, and none could be had. */
  readonly cache: RedisService | null;
  readonly queue: RedisService | null;
  stop(): Promise<void>;
}

export interface ServersOptions {
  readonly store: StoreKind;
  /** Servers that this process may break: addresses in the environment are passed over. */
  readonly owned: boolean;
  /** The primary is going to be taken away: a set of three, so that another one takes over. */
  readonly elections: boolean;
  readonly onNotice: (message: string) => void;
}

/** A cache's Redis: bounded, evicting, and with a file, so that it can come back with its data. */
const CACHE = { maxmemory: '256mb', maxmemoryPolicy: 'allkeys-lru', appendonly: true } as const;
/** A queue's Redis never drops anything. */
const QUEUE = { maxmemoryPolicy: 'noeviction', appendonly: true } as const;

const REPLICA_SET = { members: 3, electionTimeoutMillis: 1_000 } as const;

/** Starts the database, a Redis for the cache and a small one for the queue. Rejects with `DevServicesError`. */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { store, owned, onNotice } = options;
  const starting = await Promise.allSettled([startStore(options), startCaches(owned, onNotice)] as const);
  const [database, caches] = starting;
  const started = [
    ...(database.status === 'fulfilled' ? [database.value] : []),
    ...(caches.status === 'fulfilled' ? caches.value : []),
  ];
  const stop = async () => {
    await Promise.allSettled(started.map((service) => service.stop()));
  };
  if (database.status === 'rejected' || caches.status === 'rejected') {
    await stop();
    throw database.status === 'rejected' ? database.reason : (caches as PromiseRejectedResult).reason;
  }
  const [cache, queue] = caches.value;
  return {
    store: database.value,
    storeAddress: { kind: store, url: database.value.url },
    mongo: database.value.kind === 'mongo' ? database.value : null,
    cache: cache ?? null,
    queue: queue ?? null,
    stop,
  };
}

function startStore({ store, owned, elections }: ServersOptions): Promise<PostgresService | MongoService> {
  if (store === 'postgres') return startPostgres({ owned });
  return startMongo(elections ? { ...REPLICA_SET, owned: true } : { owned });
}

/** Both, or none where there is no Redis to be had. */
async function startCaches(owned: boolean, onNotice: (message: string) => void): Promise<RedisService[]> {
  const one = (settings: typeof CACHE | typeof QUEUE) =>
    // Settings need a server of one's own; a server in the environment is taken as it is.
    startRedis(owned || !process.env['REDIS_URL'] ? { ...settings, owned } : {});
  const started = await Promise.allSettled([one(CACHE), one(QUEUE)]);
  const running = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = started.find((each) => each.status === 'rejected');
  if (failed === undefined) return running;
  await Promise.allSettled(running.map((service) => service.stop()));
  const { reason } = failed;
  if (!(reason instanceof DevServicesError) || reason.code !== 'DEV_SERVICES_NO_SERVER') throw reason;
  onNotice(
    `${reason.message}. Going on without: the cache is the memory of one process, and no worker runs.`,
  );
  return [];
}
