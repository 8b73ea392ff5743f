import { startProxy, type TcpProxy } from '@lockstep/dev-services';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { BreakableCache } from '../views/breaker.js';

/** One process's client, and the proxies in front of the connections that tell it of changes: one for each server. */
export interface Way {
  readonly client: Redis | Cluster;
  readonly proxies: readonly TcpProxy[];
}

type Options = RedisOptions & { replyMapping?: 'legacy' };

const OPTIONS: Options = {
  retryStrategy: () => 20,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
};

/** A client whose commands go to the servers, and the connections that tell of changes through proxies. */
export async function openWay({ address, servers }: BreakableCache): Promise<Way> {
  const proxies = await Promise.all(servers.map((target) => startProxy({ target })));
  const portOf = (port: number | undefined): number =>
    proxies[servers.findIndex((each) => each.port === port)]?.port ?? (port as number);
  if (address.kind === 'cluster') {
    const client = new Cluster([...address.nodes], {
      lazyConnect: true,
      clusterRetryStrategy: () => 20,
      clusterNodeRetryStrategy: () => 20,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      slotsRefreshTimeout: 1_000,
      redisOptions: { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, replyMapping: 'legacy' },
    });
    client.on('+node', (node: Redis) => {
      const { host, port } = node.options;
      duplicating(quiet(node), { ...OPTIONS, host, port: portOf(port) });
    });
    return { client: quiet(client), proxies };
  }
  if (address.kind === 'sentinel') {
    const { name, sentinels } = address;
    const options: Options = {
      ...OPTIONS,
      name,
      sentinels: [...sentinels],
      failoverDetector: true,
      sentinelRetryStrategy: () => 20,
      sentinelReconnectStrategy: () => 1_000,
      reconnectOnError: (error) => error.message.includes('READONLY'),
    };
    const natMap = Object.fromEntries(
      servers.map(({ host, port }) => [`${host}:${port}`, { host, port: portOf(port) }]),
    );
    return { client: duplicating(quiet(new Redis(options)), { ...options, natMap }), proxies };
  }
  const [server] = servers;
  const options = { ...OPTIONS, host: server?.host, port: server?.port } as Options;
  return {
    client: duplicating(quiet(new Redis(options)), { ...options, port: portOf(server?.port) }),
    proxies,
  };
}

/** The connections that tell of changes, and they alone, speak RESP2: they are made by these options. */
function duplicating(client: Redis, { host, natMap, port, ...rest }: Options): Redis {
  const where = { ...(host && { host }), ...(port && { port }), ...(natMap && { natMap }) };
  const duplicate = client.duplicate.bind(client);
  client.duplicate = ((override: Partial<RedisOptions> = {}) =>
    override.protocol === 2
      ? new Redis({ ...rest, ...override, ...where } as Options)
      : duplicate(override)) as typeof client.duplicate;
  return client;
}

function quiet<Client extends Redis | Cluster>(client: Client): Client {
  client.on('error', () => undefined);
  return client;
}
