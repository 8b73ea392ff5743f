import { Cluster, Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { startRedisCluster, startRedisSentinel } from '../src/index.js';
import { impatientRedis } from './clients.js';

describe('Redis with Sentinel', () => {
  test('fails over on demand, and by itself when the primary is killed', async () => {
    await using service = await startRedisSentinel();
    const client = new Redis({ sentinels: [...service.sentinels], name: service.name });
    client.on('error', () => undefined);
    try {
      await client.set('before', '1');
      expect(await service.currentPrimary()).toBe(service.primary);
      await service.failover();
      expect(await service.currentPrimary()).toBe(service.replica);
      await using promoted = impatientRedis(service.replica.url);
      expect(await promoted.set('after', '1')).toBe('OK');

      await expect.poll(() => roleOf(service.primary.url)).toBe('slave up');
      await service.replica.process.kill();
      await expect.poll(() => service.currentPrimary()).toBe(service.primary);
      await expect
        .poll(() => client.set('again', '1').catch(() => 'not yet'), { timeout: 60_000 })
        .toBe('OK');
    } finally {
      client.disconnect();
    }
  });
});

describe('Redis Cluster', () => {
  test('three primaries serve all slots, and again after one was killed and restarted', async () => {
    await using service = await startRedisCluster({ appendonly: true, appendfsync: 'always' });
    expect(service.nodes).toHaveLength(3);
    const cluster = new Cluster(service.nodes.map(({ host, port }) => ({ host, port })));
    cluster.on('error', () => undefined);
    try {
      const keys = Array.from({ length: 60 }, (_, index) => `key-${index}`);
      await Promise.all(keys.map((key) => cluster.set(key, key)));
      const sizes = await Promise.all(
        service.urls.map(async (url) => {
          await using client = impatientRedis(url);
          return await client.dbsize();
        }),
      );
      expect(sizes.every((size) => size > 0)).toBe(true);
      expect(sizes.reduce((sum, size) => sum + size)).toBe(60);

      await service.nodes[1]?.process.kill();
      await service.nodes[1]?.process.restart();
      await service.healthy();
      await expect
        .poll(() => Promise.all(keys.map((key) => cluster.get(key))).catch(() => []), { timeout: 60_000 })
        .toEqual(keys);
    } finally {
      cluster.disconnect();
    }
  });
});

async function roleOf(url: string): Promise<string> {
  await using client = impatientRedis(url);
  const info = await client.info('replication').catch(() => '');
  const role = /^role:(\w+)/m.exec(info)?.[1] ?? '';
  const link = /^master_link_status:(\w+)/m.exec(info)?.[1] ?? '';
  return `${role} ${link}`.trim();
}
