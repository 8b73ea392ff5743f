import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Binary } from '../binaries/find.js';
import { temporaryFolder } from '../folders.js';
import { LOOPBACK } from '../ports.js';
import { ServerProcess } from '../server-process.js';

export interface RedisServerOptions {
  /** Such as `64mb`; 0 or absent: no limit. */
  readonly maxmemory?: string | number | undefined;
  /** @defaultValue 'noeviction' */
  readonly maxmemoryPolicy?: string | undefined;
  /**
   * True: each write goes to the append-only file, so that data survive `kill -9`.
   *
   * @defaultValue false
   */
  readonly appendonly?: boolean | undefined;
  /** @defaultValue 'everysec', as the server has it */
  readonly appendfsync?: 'always' | 'everysec' | 'no' | undefined;
  /**
   * When to write snapshots, as in redis.conf (`'60 1000'`).
   *
   * @defaultValue '' (never; an orderly restart keeps the data all the same)
   */
  readonly save?: string | undefined;
  /** Further arguments, such as `['--lazyfree-lazy-eviction', 'yes']`. */
  readonly args?: readonly string[] | undefined;
}

/** Starts one Redis server process; rejects with its log when it does not answer in time. */
export async function startRedisNode(
  binary: Binary,
  options: RedisServerOptions,
  startTimeoutMs: number,
): Promise<ServerProcess> {
  const save = options.save ?? '';
  const flags = ['--bind', LOOPBACK, '--daemonize', 'no', ...serverFlags(options)];
  return ServerProcess.start({
    name: 'Redis',
    command: binary.path,
    folder: await temporaryFolder('redis'),
    startTimeoutMs,
    // Nothing to save: the data go with the folder.
    stopSignal: 'SIGKILL',
    args: ({ port, data }) => [
      '--port',
      String(port),
      '--dir',
      data,
      ...flags.flat(),
      ...(options.args ?? []),
    ],
    ready: async ({ port, pid, data }) => {
      await withRedis(port, async (client) => {
        const info = await client.info();
        // Whoever else won a race for the port also answers.
        if (infoField(info, 'process_id') !== String(pid)) throw new Error('another process has the port');
        if (infoField(info, 'loading') !== '0') throw new Error('it is loading its data');
      });
      // The snapshot of an orderly restart has served; left there, it would come back after a later kill.
      if (save === '' && options.appendonly !== true) await rm(join(data, 'dump.rdb'), { force: true });
    },
    shutdown: async ({ port }) => {
      // The connection goes down with the server, so that there is no reply.
      await withRedis(port, (client) => client.call('SHUTDOWN', 'SAVE')).catch(() => undefined);
    },
  });
}

/** The options as the server's own arguments. */
export function serverFlags(options: RedisServerOptions): string[] {
  const flags = ['--save', options.save ?? '', '--appendonly', options.appendonly === true ? 'yes' : 'no'];
  if (options.maxmemory !== undefined) flags.push('--maxmemory', String(options.maxmemory));
  if (options.maxmemoryPolicy !== undefined) flags.push('--maxmemory-policy', options.maxmemoryPolicy);
  if (options.appendfsync !== undefined) flags.push('--appendfsync', options.appendfsync);
  return [...flags, ...(options.args ?? [])];
}

/** A connection for a few commands: never retried, each command cut after five seconds. */
export async function withRedis<T>(
  port: number,
  use: (client: Redis) => Promise<T>,
  host = LOOPBACK,
): Promise<T> {
  const client = new Redis({
    host,
    port,
    lazyConnect: true,
    connectTimeout: 5_000,
    commandTimeout: 5_000,
    // Two seconds by default, for which the timer keeps the process alive although the socket is closed.
    disconnectTimeout: 100,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    enableReadyCheck: false,
  });
  let reason: Error | undefined;
  client.on('error', (error: Error) => {
    reason = error;
  });
  try {
    await client.connect();
    return await use(client);
  } catch (error) {
    // The rejection itself only says that the connection is closed.
    throw reason ?? error;
  } finally {
    client.disconnect();
  }
}

/** A field of what INFO says. */
export function infoField(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1];
}
