import { cacheConformance } from '@lockstep/conformance';
import { type OwnedProcess, startRedis, startRedisCluster, startRedisSentinel } from '@lockstep/dev-services';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type RedisCacheOptions, redisCache } from '../src/index.js';
import { type Proxies, proxiesOf } from './support/proxies.js';

const START_MS = 120_000;
const settings = {
  buffer: true,
  notices: true,
  changes: true,
  describe,
  test,
  hooks: ['second', 'evict', 'flushScripts', 'cut', 'freeze'],
} as const;

/** What the kit works with: caches by proxies, and the servers from behind. */
async function underTest(
  proxies: Proxies,
  options: { readonly proxied: RedisCacheOptions; readonly direct: RedisCacheOptions },
  admin: Redis | Cluster,
  processes: readonly OwnedProcess[],
) {
  const cache = redisCache({ commandTimeoutMs: 500, ...options.proxied });
  const second = redisCache({ commandTimeoutMs: 500, ...options.direct });
  await Promise.all([cache.open?.(), second.open?.()]);
  return {
    cache,
    second,
    async evict(key: string) {
      await admin.del(key);
    },
    async flushScripts() {
      const nodes = admin.isCluster ? (admin as Cluster).nodes('master') : [admin as Redis];
      await Promise.all(nodes.map((node) => node.script('FLUSH')));
    },
    cut: () => proxies.cut(),
    freeze() {
      for (const each of processes) each.freeze();
    },
    thaw() {
      for (const each of processes) each.thaw();
    },
    async dispose() {
      admin.disconnect();
      await proxies[Symbol.asyncDispose]();
    },
  };
}

describe('standalone', () => {
  let service: Awaited<ReturnType<typeof startRedis>>;
  beforeAll(async () => {
    service = await startRedis({ owned: true });
  }, START_MS);
  afterAll(() => service.stop());

  cacheConformance({
    ...settings,
    name: 'kit',
    async create() {
      const { process } = service;
      if (process === undefined) throw new Error('the kit needs a server of its own');
      const proxies = await proxiesOf([process]);
      const proxied = { url: proxies.all[0]?.url.replace('tcp:', 'redis:') };
      return underTest(proxies, { proxied, direct: { url: service.url } }, new Redis(service.url), [process]);
    },
  });
});

describe('behind Sentinels', () => {
  let service: Awaited<ReturnType<typeof startRedisSentinel>>;
  beforeAll(async () => {
    // Frozen for a moment is not down: the kit thaws the very server that it froze.
    service = await startRedisSentinel({ downAfterMs: 30_000 });
  }, START_MS);
  afterAll(() => service.stop());

  cacheConformance({
    ...settings,
    name: 'kit',
    propertyRuns: 30,
    async create() {
      const { name, primary, sentinels } = service;
      const proxies = await proxiesOf([primary]);
      const direct = { name, sentinels: sentinels.map(({ host, port }) => ({ host, port })) };
      const options = {
        proxied: { sentinel: { ...direct, natMap: proxies.natMap } },
        direct: { sentinel: direct },
      };
      return underTest(proxies, options, new Redis(primary.url), [primary.process]);
    },
  });
});

describe('Cluster', () => {
  let service: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    service = await startRedisCluster({ nodeTimeoutMs: 30_000 });
  }, START_MS);
  afterAll(() => service.stop());

  cacheConformance({
    ...settings,
    name: 'kit',
    propertyRuns: 30,
    async create() {
      const nodes = service.nodes.map(({ host, port }) => ({ host, port }));
      const proxies = await proxiesOf(nodes);
      const { natMap } = proxies;
      const options = {
        proxied: { cluster: { nodes: Object.values(natMap), options: { natMap } } },
        direct: { cluster: { nodes } },
      };
      const processes = service.nodes.map(({ process }) => process);
      return underTest(proxies, options, new Cluster(nodes), processes);
    },
  });
});
