import {
  type CacheAdapter,
  type CacheCommand,
  type CacheHead,
  type CacheHit,
  type CacheReply,
  CacheUnavailableError,
  type ChangeListener,
  type PayloadEncoding,
  type ScanOptions,
} from '@lockstep/core';
import { bounded } from './bounded.js';
import { replyOf, type ScriptCall, scriptCall } from './calls.js';
import { RedisWatch } from './changes/watch.js';
import { type Client, clusterClient, isCluster, resends, sentinelClient, urlClient } from './clients.js';
import { Connection } from './connection.js';
import { Dispatch } from './dispatch.js';
import { DurableLane } from './durable.js';
import { ENTRIES, HEADER_LENGTH, HITS, headOf } from './format.js';
import { noticeBoard } from './notices.js';
import { type RedisCacheOptions, type Settings, settingsOf } from './options.js';
import { keptByPrimaries, probePrimaries } from './probe.js';
import { refusalOf } from './refusal.js';
import { scanEntries } from './scan.js';
import { serverInfo } from './server-info.js';
import { ClusterTopology } from './topology/cluster.js';
import { SingleTopology } from './topology/single.js';
import type { Topology } from './topology/topology.js';
import { unflushedIndex } from './unflushed.js';

/**
 * The cache in Redis or Valkey: standalone, behind Sentinels, or a Cluster. Server 6.2 or later.
 *
 * Calls fail with `CacheUnavailableError`, at once while there is no connection, and after
 * `commandTimeoutMs` while a server does not answer; on a Cluster only the commands of that server
 * do. A command that failed may have taken effect, or may yet; every command tolerates that.
 * Throws `InvalidOptionError`.
 */
export function redisCache(options: RedisCacheOptions): CacheAdapter {
  const settings = settingsOf(options);
  const client = clientOf(settings);
  const connection = new Connection(client, settings.client === undefined, settings);
  const topology: Topology = isCluster(client)
    ? new ClusterTopology(client)
    : new SingleTopology(client, settings.client === undefined);
  const dispatch = new Dispatch(connection, topology, settings);
  const { commandTimeoutMs } = settings;
  const lane = isCluster(client) ? undefined : new DurableLane(client, settings);
  async function runDurable(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    connection.check();
    if (lane === undefined)
      throw new CacheUnavailableError('a Redis Cluster does not confirm durable writes');
    return lane.run(calls);
  }
  return {
    name: 'redis',
    shared: true,
    local: false,
    open: () => connection.open(),
    // Hot path: adds no promise.
    read(
      keys: readonly string[],
      encoding: PayloadEncoding,
    ): Promise<readonly (CacheHit | undefined | Error)[]> {
      try {
        return dispatch.read(keys, HITS[encoding]);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async readHeads(keys: readonly string[]): Promise<(CacheHead | undefined | Error)[]> {
      const headers = await dispatch.readHeads(keys, HEADER_LENGTH);
      return headers.map((header) => (header instanceof Error ? refusalOf(header) : headOf(header)));
    },
    async execute(commands: readonly CacheCommand[]): Promise<(CacheReply | Error)[]> {
      const calls = commands.map(scriptCall);
      const replies = await (commands.some(isDurable) ? runDurable(calls) : dispatch.run(calls));
      return commands.map((command, position) => {
        const reply = replies[position];
        return reply instanceof Error ? refusalOf(reply) : replyOf(command, reply);
      });
    },
    async info() {
      connection.check();
      return serverInfo(topology, commandTimeoutMs);
    },
    async probe(prefix: string) {
      return probePrimaries(topology, dispatch, prefix);
    },
    async kept(prefix: string) {
      return keptByPrimaries(topology, dispatch, prefix);
    },
    watchChanges: (prefix: string, listener: ChangeListener) =>
      new RedisWatch({ client, topology, dispatch, settings, prefix, listener }),
    ...(topology.primaryOf === undefined ? {} : { primaryOf: topology.primaryOf.bind(topology) }),
    async *scan(prefix: string, encoding: PayloadEncoding, options?: ScanOptions) {
      connection.check();
      yield* scanEntries({ topology, dispatch, encoding, timeoutMs: commandTimeoutMs }, prefix, options);
    },
    async inspect(key: string, encoding: PayloadEncoding) {
      const [[entry], ttlMs] = await Promise.all([
        dispatch.read([key], ENTRIES[encoding]),
        bounded(client.pttl(key), commandTimeoutMs),
      ]);
      if (entry instanceof Error) throw entry;
      if (entry === undefined) return undefined;
      const { unflushed, ...shown } = entry;
      const expiresInMs = ttlMs < 0 ? undefined : ttlMs;
      return { key, ...shown, expiresInMs, ...(unflushed ? { unflushed: true } : {}) };
    },
    ...(resends(client) ? {} : { unflushed: unflushedIndex(dispatch, lane !== undefined) }),
    notices: noticeBoard(dispatch),
    async close() {
      await Promise.all([connection.close(), lane?.close()]);
    },
  };
}

function isDurable(command: CacheCommand): boolean {
  return command.kind === 'buffer' && command.durable;
}

function clientOf(settings: Settings): Client {
  const { client, url, cluster, sentinel, redisOptions = {} } = settings;
  if (url !== undefined) return urlClient(url, redisOptions, settings);
  if (cluster !== undefined) return clusterClient(cluster, settings);
  if (sentinel !== undefined) return sentinelClient(sentinel, settings);
  // The mapping of RESP3's maps makes no difference: nothing that is used here replies with one.
  return client as Client;
}
