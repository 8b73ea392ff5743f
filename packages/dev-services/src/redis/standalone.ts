import { firstOrigin } from '../origins.js';
import type { OwnedProcess, Service, ServiceOrigin } from '../types.js';
import { redisContainer } from './container.js';
import { claimDatabase } from './environment.js';
import { REDIS_ADVICE, redisBinaries } from './locate.js';
import { startRedisNode } from './node.js';
import type { RedisOptions } from './options.js';

export interface RedisService extends Service {
  readonly kind: 'redis';
  /** Undefined when the server is not this process's own. */
  readonly process?: OwnedProcess | undefined;
}

interface Server {
  readonly url: string;
  readonly version: string;
  readonly process?: OwnedProcess;
  stop(): Promise<void>;
}

/**
 * Starts Redis (or Valkey) standalone, or takes the server in `REDIS_URL`: of that one, a numbered database
 * that nobody else uses, empty now and emptied on stop. Rejects with a `DevServicesError`.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisService> {
  const began = performance.now();
  const server = await firstOrigin<Server>(
    options,
    {
      env: async () => {
        const url = process.env['REDIS_URL'];
        if (url === undefined || url === '' || needsOwn(options)) return undefined;
        return claimDatabase(url);
      },
      binary: async () => launch(await redisBinaries.binary(), options),
      package: async () => launch(await redisBinaries.package(), options),
      docker: async () => (options.owned === true ? undefined : redisContainer(options)),
      apt: async () => launch(await redisBinaries.apt(), options),
    },
    REDIS_ADVICE,
  );
  return service(server, began);
}

function needsOwn({ origins: _origins, startTimeoutMs: _timeout, owned, ...server }: RedisOptions): boolean {
  return owned === true || Object.values(server).some((value) => value !== undefined);
}

async function launch(
  binary: Awaited<ReturnType<typeof redisBinaries.binary>>,
  options: RedisOptions,
): Promise<Server | undefined> {
  if (binary === undefined) return undefined;
  const server = await startRedisNode(binary, options, options.startTimeoutMs ?? 60_000);
  return {
    url: `redis://${server.host}:${server.port}`,
    version: binary.version,
    process: server,
    stop: () => server.stop(),
  };
}

function service(server: Server & { readonly origin: ServiceOrigin }, began: number): RedisService {
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= server.stop();
    return stopping;
  };
  return {
    kind: 'redis',
    url: server.url,
    origin: server.origin,
    version: server.version,
    startMs: Math.round(performance.now() - began),
    process: server.process,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
