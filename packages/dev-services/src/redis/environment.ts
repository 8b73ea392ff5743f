import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { DevServicesError, messageOf } from '../errors.js';
import { infoField } from './node.js';

/** A numbered database on a server that others share. */
export interface SharedRedis {
  readonly url: string;
  readonly version: string;
  /** Empties the database and gives it back. */
  stop(): Promise<void>;
}

const LEASE_MS = 60_000;
const PREFIX = 'lockstep:dev-services:db';

/**
 * Claims a numbered database. Notes about who has which are kept in the database that the address names:
 * a lease that runs out with its owner, and a mark that says that what lies there is ours to empty. A database
 * with data and no mark is somebody else's and left alone. FLUSHALL takes the notes along: not for shared servers.
 */
export async function claimDatabase(url: string): Promise<SharedRedis> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 5_000,
    commandTimeout: 10_000,
    maxRetriesPerRequest: 1,
    retryStrategy: (times) => (times > 3 ? null : 100),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const own = Number(new URL(url).pathname.slice(1) || '0');
    const database = await claim(client, own);
    const lease = setInterval(() => {
      client.set(`${PREFIX}:${database.index}:lease`, database.token, 'PX', LEASE_MS).catch(() => undefined);
    }, LEASE_MS / 4);
    lease.unref();
    const address = new URL(url);
    address.pathname = `/${database.index}`;
    const info = await client.info('server');
    return {
      url: address.href,
      version: infoField(info, 'valkey_version') ?? infoField(info, 'redis_version') ?? 'unknown',
      stop: async () => {
        clearInterval(lease);
        try {
          await empty(client, database.index, own);
          await client.del(`${PREFIX}:${database.index}:lease`, `${PREFIX}:${database.index}:ours`);
        } finally {
          client.disconnect();
        }
      },
    };
  } catch (error) {
    client.disconnect();
    if (error instanceof DevServicesError) throw error;
    throw new DevServicesError('DEV_SERVICES_START_FAILED', `REDIS_URL: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function claim(client: Redis, own: number): Promise<{ index: number; token: string }> {
  const [, count] = (await client.config('GET', 'databases').catch(() => ['', '16'])) as string[];
  const token = randomUUID();
  for (let index = 0; index < Number(count ?? '16'); index += 1) {
    if (index === own) continue;
    const key = `${PREFIX}:${index}`;
    if ((await client.set(`${key}:lease`, token, 'PX', LEASE_MS, 'NX')) === null) continue;
    const ours = (await client.exists(`${key}:ours`)) === 1;
    if (ours || (await size(client, index, own)) === 0) {
      await client.set(`${key}:ours`, '1');
      await empty(client, index, own);
      return { index, token };
    }
    await client.del(`${key}:lease`);
  }
  throw new DevServicesError(
    'DEV_SERVICES_START_FAILED',
    'REDIS_URL: no free numbered database on that server (a cluster has none to give); unset it to start a server',
  );
}

async function size(client: Redis, index: number, own: number): Promise<number> {
  await client.select(index);
  try {
    return await client.dbsize();
  } finally {
    await client.select(own);
  }
}

async function empty(client: Redis, index: number, own: number): Promise<void> {
  await client.select(index);
  try {
    await client.flushdb();
  } finally {
    await client.select(own);
  }
}
