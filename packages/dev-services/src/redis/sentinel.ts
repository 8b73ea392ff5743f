import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Binary } from '../binaries/find.js';
import { temporaryFolder } from '../folders.js';
import { firstOrigin } from '../origins.js';
import { LOOPBACK } from '../ports.js';
import { ServerProcess } from '../server-process.js';
import type { OwnedProcess, StartOptions } from '../types.js';
import { waitFor } from '../wait.js';
import { REDIS_ADVICE, redisBinaries } from './locate.js';
import { infoField, type RedisServerOptions, startRedisNode, withRedis } from './node.js';

export interface RedisSentinelOptions extends StartOptions, RedisServerOptions {
  /**
   * How many Sentinels watch; a failover on their own needs the majority of them.
   *
   * @defaultValue 3
   */
  readonly sentinels?: number | undefined;
  /**
   * How long a primary may be silent before it counts as down, in milliseconds.
   *
   * @defaultValue 500
   */
  readonly downAfterMs?: number | undefined;
}

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

/** A server of a Sentinel set-up or a cluster. */
export interface RedisNode extends RedisAddress {
  readonly url: string;
  readonly process: OwnedProcess;
}

export interface RedisSentinelService extends AsyncDisposable {
  readonly kind: 'redis';
  readonly version: string;
  readonly startMs: number;
  /** The name under which the Sentinels know the primary. */
  readonly name: string;
  /** The primary and the replica *as started*; after a failover ask {@link RedisSentinelService.currentPrimary}. */
  readonly primary: RedisNode;
  readonly replica: RedisNode;
  readonly sentinels: readonly (RedisAddress & { readonly process: OwnedProcess })[];
  /** Which of the two all Sentinels name as the primary now. */
  currentPrimary(): Promise<RedisNode>;
  /** Makes the replica the primary; resolves when it takes writes and all Sentinels name it. */
  failover(): Promise<void>;
  stop(): Promise<void>;
}

const NAME = 'lockstep';
const SETTLE_MS = 30_000;

/** Starts a primary, its replica and the Sentinels. Rejects with a `DevServicesError`; nothing is left behind then. */
export async function startRedisSentinel(options: RedisSentinelOptions = {}): Promise<RedisSentinelService> {
  const began = performance.now();
  const binary = await firstOrigin<Binary>(options, redisBinaries, REDIS_ADVICE);
  const timeout = options.startTimeoutMs ?? 60_000;
  const started: ServerProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const keep = (server: ServerProcess): ServerProcess => {
    started.push(server);
    return server;
  };
  try {
    // The delay before a full synchronisation gathers further replicas; there are none.
    const args = ['--repl-diskless-sync-delay', '0', ...(options.args ?? [])];
    const primary = keep(await startRedisNode(binary, { ...options, args }, timeout));
    const replication = ['--replicaof', LOOPBACK, String(primary.port)];
    const replica = keep(
      await startRedisNode(binary, { ...options, args: [...args, ...replication] }, timeout),
    );
    await waitFor('the replica to follow its primary', SETTLE_MS, () =>
      withRedis(
        replica.port,
        async (client) => infoField(await client.info('replication'), 'master_link_status') === 'up',
      ),
    );
    const count = options.sentinels ?? 3;
    const results = await Promise.allSettled(
      Array.from({ length: count }, async () =>
        keep(await startSentinel(binary, primary.port, count, options.downAfterMs ?? 500, timeout)),
      ),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    const sentinels = started.slice(2);
    const nodes = { primary: node(primary), replica: node(replica) };
    const set = new SentinelSet([nodes.primary, nodes.replica], sentinels);
    await set.greetEvery(100);
    await set.settled();
    await set.greetEvery(1_000);
    return {
      kind: 'redis',
      version: binary.version,
      startMs: Math.round(performance.now() - began),
      name: NAME,
      ...nodes,
      sentinels: sentinels.map((server) => ({ host: server.host, port: server.port, process: server })),
      currentPrimary: () => set.currentPrimary(),
      failover: () => set.failover(),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

export function node(server: ServerProcess): RedisNode {
  return {
    host: server.host,
    port: server.port,
    url: `redis://${server.host}:${server.port}`,
    process: server,
  };
}

async function startSentinel(
  binary: Binary,
  primary: number,
  count: number,
  downAfterMs: number,
  startTimeoutMs: number,
): Promise<ServerProcess> {
  const quorum = Math.floor(count / 2) + 1;
  return ServerProcess.start({
    name: 'Redis Sentinel',
    command: binary.path,
    folder: await temporaryFolder('sentinel'),
    startTimeoutMs,
    stopSignal: 'SIGKILL',
    // A Sentinel rewrites its configuration: it is made once, and found again by a restart.
    prepare: (data) =>
      writeFile(
        join(data, 'sentinel.conf'),
        [
          `bind ${LOOPBACK}`,
          `sentinel monitor ${NAME} ${LOOPBACK} ${primary} ${quorum}`,
          `sentinel down-after-milliseconds ${NAME} ${downAfterMs}`,
          `sentinel failover-timeout ${NAME} 3000`,
          '',
        ].join('\n'),
      ),
    args: ({ port, data }) => [
      join(data, 'sentinel.conf'),
      '--sentinel',
      '--port',
      String(port),
      '--dir',
      data,
    ],
    ready: ({ port, pid }) =>
      withRedis(port, async (client) => {
        if (infoField(await client.info('server'), 'process_id') !== String(pid)) {
          throw new Error('another process has the port');
        }
      }),
  });
}

/** The Sentinels' view of the primary, and the way to change it. */
class SentinelSet {
  readonly #nodes: readonly RedisNode[];
  readonly #sentinels: readonly ServerProcess[];

  constructor(nodes: readonly RedisNode[], sentinels: readonly ServerProcess[]) {
    this.#nodes = nodes;
    this.#sentinels = sentinels;
  }

  /**
   * How often Sentinels greet each other, which can be set from Redis 7 on. Short while they get to know each
   * other only: four times that is also how soon they take back a promotion that they have not heard of yet.
   */
  async greetEvery(ms: number): Promise<void> {
    const periods = ['publish-period', String(ms), 'info-period', '1000'];
    await Promise.all(
      this.#sentinels.map((sentinel) =>
        withRedis(sentinel.port, (client) => client.call('SENTINEL', 'DEBUG', ...periods)).catch(
          () => undefined,
        ),
      ),
    );
  }

  /** Each Sentinel knows the replica and all other Sentinels: before that, no failover can succeed. */
  async settled(): Promise<void> {
    await waitFor('the Sentinels to know each other', SETTLE_MS, async () => {
      const seen = await Promise.all(
        this.#sentinels.map((sentinel) =>
          withRedis(sentinel.port, async (client) => {
            const info = await client.info('sentinel');
            return info.includes(`slaves=1,sentinels=${this.#sentinels.length}`);
          }),
        ),
      );
      return seen.every(Boolean);
    });
  }

  async currentPrimary(): Promise<RedisNode> {
    let found: RedisNode | undefined;
    await waitFor('the Sentinels to agree on a primary', SETTLE_MS, async () => {
      const named = await Promise.all(this.#running().map((sentinel) => this.#named(sentinel)));
      const [port] = named;
      if (named.some((each) => each !== port)) return false;
      found = this.#nodes.find((each) => each.port === port);
      return found !== undefined;
    });
    if (found === undefined) throw new Error('unreachable: the wait has found it');
    return found;
  }

  async failover(): Promise<void> {
    const before = await this.currentPrimary();
    const next = this.#nodes.find((each) => each !== before);
    const [sentinel] = this.#running();
    await waitFor('the failover', SETTLE_MS, async () => {
      if (sentinel === undefined || next === undefined) return false;
      if ((await this.#named(sentinel)) !== next.port) {
        // Refused while another failover runs, or while the replica is not good enough yet.
        await withRedis(sentinel.port, (client) => client.call('SENTINEL', 'FAILOVER', NAME)).catch(
          () => undefined,
        );
        return false;
      }
      const role = await withRedis(next.port, async (client) =>
        infoField(await client.info('replication'), 'role'),
      );
      return role === 'master' && (await this.currentPrimary()) === next;
    });
  }

  #running(): readonly ServerProcess[] {
    return this.#sentinels.filter((sentinel) => sentinel.running);
  }

  async #named(sentinel: ServerProcess): Promise<number> {
    return withRedis(sentinel.port, async (client) => {
      const address = await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME);
      return Array.isArray(address) ? Number(address[1]) : 0;
    });
  }
}
