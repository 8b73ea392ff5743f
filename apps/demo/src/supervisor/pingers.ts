import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { type Pinger, SILENCE_MS } from './outage-watch.js';

const RECONNECT_MS = 100;

/** Asks a Redis for its run id: one that came back as another process may have lost its last writes. */
export function redisPinger(url: string): Pinger {
  const redis = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    commandTimeout: SILENCE_MS,
    connectTimeout: SILENCE_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => RECONNECT_MS,
  });
  // Being unreachable is what it is there to see.
  redis.on('error', () => undefined);
  return {
    connect: () => redis.connect(),
    ping: async () => /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1],
    close: async () => redis.disconnect(),
  };
}

/**
 * Asks a replica set for a linearizable read: a new primary calls itself one long before a majority follows it,
 * and until then nothing is committed and the change stream stands still. Which member answers does not matter,
 * since each next primary knows what a majority has acknowledged.
 */
export function mongoPinger(url: string): Pinger {
  const client = new MongoClient(url, {
    serverSelectionTimeoutMS: SILENCE_MS,
    connectTimeoutMS: SILENCE_MS,
    timeoutMS: SILENCE_MS,
    retryReads: false,
    maxPoolSize: 1,
  });
  const nothing = client.db().collection<{ _id: number }>('ping');
  return {
    connect: async () => {
      await client.connect();
    },
    async ping() {
      await nothing.findOne({ _id: 0 }, { readPreference: 'primary', readConcern: 'linearizable' });
      return undefined;
    },
    close: () => client.close(),
  };
}
