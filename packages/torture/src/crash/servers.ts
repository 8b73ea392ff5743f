import { type RedisService, startMongo, startPostgres, startRedis } from '@lockstep/dev-services';
import type { CrashSettings } from './settings.js';

export interface Servers {
  readonly storeUrl: string;
  readonly cache: RedisService;
  readonly queueUrl: string;
  /** In words, for the result. */
  readonly versions: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Real servers, all of this run's own; the queue has one apart from the cache's. */
export async function startServers({ appendfsync, store }: CrashSettings): Promise<Servers> {
  const persistence = appendfsync === 'off' ? { appendonly: false } : { appendonly: true, appendfsync };
  const started = await Promise.allSettled([
    store === 'postgres' ? startPostgres({ owned: true }) : startMongo({ owned: true }),
    startRedis({ owned: true, ...persistence }),
    startRedis({ owned: true }),
  ]);
  const stop = async (): Promise<void> => {
    await Promise.allSettled(
      started.map((each) => (each.status === 'fulfilled' ? each.value.stop() : undefined)),
    );
  };
  const [database, cache, queue] = started;
  if (database.status === 'rejected' || cache.status === 'rejected' || queue.status === 'rejected') {
    await stop();
    throw started.find((each) => each.status === 'rejected')?.reason;
  }
  return {
    storeUrl: database.value.url,
    cache: cache.value,
    queueUrl: queue.value.url,
    versions: { [store]: database.value.version, cache: cache.value.version, queue: queue.value.version },
    stop,
  };
}
