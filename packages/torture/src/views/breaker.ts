import { setTimeout as pause } from 'node:timers/promises';
import {
  type RedisClusterService,
  type RedisSentinelService,
  type RedisService,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { nowUs } from '../clock.js';
import { CacheServer } from '../crash/cache-server.js';
import { type Random, randomChoice } from '../random.js';
import type { Window } from './history.js';
import type { CacheAddress, CacheKind } from './settings.js';

/** What is done to the cache. */
export type CacheFault =
  | 'flush'
  | 'evict'
  | 'freeze'
  | 'restart'
  | 'restart-empty'
  | 'restart-older'
  | 'failover';

export interface CacheServerAddress {
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

/** The cache's servers, and the ways to break them. */
export interface BreakableCache {
  readonly address: CacheAddress;
  readonly servers: readonly CacheServerAddress[];
  readonly version: string;
  readonly faults: readonly CacheFault[];
  break(fault: CacheFault, random: Random): Promise<void>;
  /** Times in which a primary was replaced by one that had less, and a second beyond: nothing is promised in them. */
  readonly windows: readonly Window[];
  stop(): Promise<void>;
}

/** How long a process may take an entry by what it knew of the cache before, once there is another one. */
export const UNPROVEN_US = 1_000_000;
const LONGEST_AWAY_MS = 400;
const EVICTIONS = 30;
/**
 * Syncing is left to the system, so that a server that was killed has all that it answered for: one that syncs each second
 * puts off what it appends while a sync takes long.
 */
const PERSISTENT = { appendonly: true, appendfsync: 'no' } as const;
/** What is lost with a machine that fails, as if the server synced each second. */
const LOSSY = { appendfsync: 'everysec', powerLoss: true } as const;

export async function startBreakableCache(kind: CacheKind): Promise<BreakableCache> {
  if (kind === 'standalone') return standalone(await startRedis({ owned: true, ...PERSISTENT }));
  if (kind === 'sentinel') return sentinel(await startRedisSentinel());
  return cluster(await startRedisCluster());
}

async function standalone(service: RedisService): Promise<BreakableCache> {
  const server = new CacheServer(service, LOSSY);
  await server.watch();
  const windows: Window[] = [];
  return {
    address: { kind: 'standalone', url: service.url },
    servers: [addressOf(service.url)],
    version: service.version,
    faults: ['flush', 'evict', 'freeze', 'restart', 'restart-empty', 'restart-older'],
    windows,
    async break(fault, random) {
      if (fault === 'flush' || fault === 'evict') return await strike(service.url, fault);
      if (fault === 'freeze') return await freeze(service.process, random);
      const awayMs = random() * LONGEST_AWAY_MS;
      if (fault === 'restart') return await server.restart('all', awayMs);
      if (fault === 'restart-empty') return await server.restart('none', awayMs);
      await during(windows, () => server.restart('synced', awayMs));
    },
    async stop() {
      server.close();
      await service.stop();
    },
  };
}

function sentinel(service: RedisSentinelService): BreakableCache {
  const windows: Window[] = [];
  const { name, sentinels } = service;
  const addresses = sentinels.map(({ host, port }) => ({ host, port }));
  return {
    address: { kind: 'sentinel', name, sentinels: addresses },
    servers: [service.primary, service.replica],
    version: service.version,
    faults: ['flush', 'evict', 'failover', 'failover'],
    windows,
    async break(fault, random) {
      if (fault === 'failover') return await during(windows, () => failover(service, random));
      await strike((await service.currentPrimary()).url, fault);
    },
    stop: () => service.stop(),
  };
}

function cluster(service: RedisClusterService): BreakableCache {
  return {
    address: { kind: 'cluster', nodes: service.nodes.map(({ host, port }) => ({ host, port })) },
    servers: service.nodes,
    version: service.version,
    faults: ['flush', 'evict', 'freeze', 'restart-empty'],
    windows: [],
    async break(fault, random) {
      const node = randomChoice(random, service.nodes);
      if (fault === 'flush' || fault === 'evict') return await strike(node.url, fault);
      if (fault === 'freeze') return await freeze(node.process, random);
      await node.process.kill();
      await node.process.restart({ keepData: true });
      await service.healthy();
    },
    stop: () => service.stop(),
  };
}

function addressOf(url: string): CacheServerAddress {
  const { hostname: host, port } = new URL(url);
  return { host, port: Number(port), url };
}

/** To a replica that was told nothing for a while, so that it has tokens that were replaced since. */
async function failover(service: RedisSentinelService, random: Random): Promise<void> {
  const resume = await stopReplication(service);
  await pause(random() * LONGEST_AWAY_MS);
  await service.failover();
  await resume();
}

/** What the primary takes from now on is lost with a failover. Gives the way back. */
export async function stopReplication(service: RedisSentinelService): Promise<() => Promise<void>> {
  const primary = await service.currentPrimary();
  const replica = primary === service.primary ? service.replica : service.primary;
  // A primary without passwords refuses whoever gives one.
  await tell(replica.url, ['CONFIG', 'SET', 'masterauth', 'refused']);
  await tell(replica.url, ['CLIENT', 'KILL', 'TYPE', 'master']);
  return () => tell(replica.url, ['CONFIG', 'SET', 'masterauth', '']);
}

export async function tell(url: string, [command = '', ...rest]: readonly string[]): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: 1, commandTimeout: 5_000 });
  client.on('error', () => undefined);
  await client.call(command, ...rest).finally(() => client.disconnect());
}

async function during(windows: Window[], replace: () => Promise<void>): Promise<void> {
  const fromUs = nowUs();
  // Whoever is judged while it lasts is judged at the end.
  await replace();
  windows.push({ fromUs, toUs: nowUs() + UNPROVEN_US });
}

/** Everything that the server holds goes, or some keys at random, as under an eviction policy. */
async function strike(url: string, fault: CacheFault): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: 1, commandTimeout: 5_000 });
  client.on('error', () => undefined);
  try {
    if (fault === 'flush') await client.flushall();
    else {
      for (let i = 0; i < EVICTIONS; i++) {
        const key = await client.randomkey();
        if (key !== null) await client.unlink(key);
      }
    }
  } finally {
    client.disconnect();
  }
}

async function freeze(process: RedisService['process'], random: Random): Promise<void> {
  process?.freeze();
  await pause(random() * LONGEST_AWAY_MS * 3);
  process?.thaw();
}
