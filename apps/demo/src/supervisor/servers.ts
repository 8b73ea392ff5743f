import {
  DevServicesError,
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
  /** `null`: there is no Redis on this machine, and none could be had. */
  readonly cache: RedisService | null;
  readonly queue: RedisService | null;
  stop(): Promise<void>;
}

export interface ServersOptions {
  readonly store: StoreKind;
  /** Servers that this process may break: addresses in the environment are passed over. */
  readonly owned: boolean;
  readonly onNotice: (message: string) => void;
}

/** A cache's Redis: bounded, evicting, and with a file, so that it can come back with its data. */
const CACHE = { maxmemory: '256mb', maxmemoryPolicy: 'allkeys-lru', appendonly: true } as const;
/** A queue's Redis never drops anything. */
const QUEUE = { maxmemoryPolicy: 'noeviction', appendonly: true } as const;

/** Starts the database, a Redis for the cache and a small one for the queue. Rejects with `DevServicesError`. */
export async function startServers({ store, owned, onNotice }: ServersOptions): Promise<Servers> {
  const starting = await Promise.allSettled([
    startStore(store, owned),
    startCaches(owned, onNotice),
  ] as const);
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
    cache: cache ?? null,
    queue: queue ?? null,
    stop,
  };
}

function startStore(kind: StoreKind, owned: boolean): Promise<Service> {
  return kind === 'postgres' ? startPostgres({ owned }) : startMongo({ owned });
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
