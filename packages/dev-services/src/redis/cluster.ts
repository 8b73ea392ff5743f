import type { Binary } from '../binaries/find.js';
import { firstOrigin } from '../origins.js';
import type { ServerProcess } from '../server-process.js';
import type { StartOptions } from '../types.js';
import { waitFor } from '../wait.js';
import { REDIS_ADVICE, redisBinaries } from './locate.js';
import { infoField, type RedisServerOptions, startRedisNode, withRedis } from './node.js';
import { node, type RedisNode } from './sentinel.js';

export interface RedisClusterOptions extends StartOptions, RedisServerOptions {
  /**
   * How long a node may be silent before it counts as failed, in milliseconds.
   *
   * @defaultValue 1000
   */
  readonly nodeTimeoutMs?: number | undefined;
}

export interface RedisClusterService extends AsyncDisposable {
  readonly kind: 'redis';
  readonly version: string;
  readonly startMs: number;
  /** Three primaries, a third of the slots each, in slot order. */
  readonly nodes: readonly RedisNode[];
  readonly urls: readonly string[];
  /** Resolves when each node says that all slots are served, such as after a restart of one. */
  healthy(): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const PRIMARIES = 3;
const SETTLE_MS = 60_000;

/** Starts three primaries that serve all slots. Rejects with a `DevServicesError`; nothing is left behind then. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisClusterService> {
  const began = performance.now();
  const binary = await firstOrigin<Binary>(options, redisBinaries, REDIS_ADVICE);
  const servers: ServerProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    const args = [
      ...['--cluster-enabled', 'yes'],
      ...['--cluster-config-file', 'nodes.conf'],
      ...['--cluster-node-timeout', String(options.nodeTimeoutMs ?? 1_000)],
      ...(options.args ?? []),
    ];
    const results = await Promise.allSettled(
      Array.from({ length: PRIMARIES }, async () => {
        servers.push(await startRedisNode(binary, { ...options, args }, options.startTimeoutMs ?? 60_000));
      }),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    await join(servers);
    await healthy(servers);
    const nodes = servers.map(node);
    return {
      kind: 'redis',
      version: binary.version,
      startMs: Math.round(performance.now() - began),
      nodes,
      urls: nodes.map(({ url }) => url),
      healthy: () => healthy(servers),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function join(servers: readonly ServerProcess[]): Promise<void> {
  const [first] = servers;
  await Promise.all(
    servers.map((server, index) =>
      withRedis(server.port, async (client) => {
        const from = Math.floor((SLOTS * index) / PRIMARIES);
        const to = Math.floor((SLOTS * (index + 1)) / PRIMARIES);
        const slots = Array.from({ length: to - from }, (_, offset) => from + offset);
        await client.cluster('ADDSLOTS', ...slots);
        await client.cluster('SET-CONFIG-EPOCH', index + 1);
      }),
    ),
  );
  for (const server of servers) {
    if (server === first || first === undefined) continue;
    await withRedis(first.port, (client) => client.cluster('MEET', server.host, server.port));
  }
}

async function healthy(servers: readonly ServerProcess[]): Promise<void> {
  await waitFor('the cluster to serve all slots', SETTLE_MS, async () => {
    const states = await Promise.all(
      servers.map((server) =>
        withRedis(server.port, async (client) => {
          const info = await client.cluster('INFO');
          return (
            infoField(info, 'cluster_state') === 'ok' &&
            infoField(info, 'cluster_slots_ok') === String(SLOTS) &&
            infoField(info, 'cluster_known_nodes') === String(PRIMARIES)
          );
        }),
      ),
    );
    return states.every(Boolean);
  });
}
