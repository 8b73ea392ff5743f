import { type OwnedProcess, type RedisService, startRedis, startRedisCluster } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;
const PREFIX = 'wtc::';
/** What must have been kept before each case begins: longer than a case's start takes, in ms. */
const LONG_MS = 1_500;

type Cache = ReturnType<typeof redisCache>;

async function keptMs(cache: Cache, primary = ''): Promise<number> {
  const found = (await cache.kept(PREFIX)).get(primary);
  if (typeof found !== 'number') throw found ?? new Error('nobody was asked');
  return found;
}

describe('one server', () => {
  let service: RedisService;
  let server: OwnedProcess;
  let admin: Redis;
  let cache: Cache;
  beforeAll(async () => {
    service = await startRedis({ owned: true });
    if (service.process === undefined) throw new Error('these tests need a server of their own');
    server = service.process;
  }, 120_000);
  afterAll(() => service.stop());
  beforeEach(async () => {
    admin = new Redis(service.url);
    admin.on('error', () => undefined);
    cache = redisCache({ url: service.url, commandTimeoutMs: 1_000 });
    await cache.open?.();
    await keptMs(cache);
    await until('it has kept all for a while', WITHIN_MS, async () => (await keptMs(cache)) >= LONG_MS);
  });
  afterEach(async () => {
    admin.disconnect();
    await cache.close();
  });

  /** Asks until the server answers, and gives its first answer. */
  async function firstKeptMs(): Promise<number> {
    let first: number | undefined;
    await until('the server answers', WITHIN_MS, async () => {
      first = await keptMs(cache);
      return true;
    });
    return first ?? Number.NaN;
  }

  test('one that was started again has kept nothing for long, with its data or without', async () => {
    for (const keepData of [false, true]) {
      if (keepData) await admin.save();
      await server.kill();
      await server.restart({ keepData });
      expect(await firstKeptMs()).toBe(0);
    }
  });

  test('nor has one that was emptied', async () => {
    await admin.flushall();
    expect(await keptMs(cache)).toBe(0);
  });

  test('nor has a replica that was promoted', async () => {
    const before = await admin.info('replication');
    // As a promotion does it: another history begins.
    await admin.replicaof('127.0.0.1', '1');
    await admin.replicaof('NO', 'ONE');
    expect(await admin.info('replication')).not.toContain(/master_replid:\w+/.exec(before)?.[0]);
    expect(await keptMs(cache)).toBe(0);
  });

  test('a user that may not ask the server who it is still learns the time', async () => {
    await admin.call('ACL', 'SETUSER', 'poor', 'on', '>secret', '~*', '+@all', '-info');
    const url = new URL(service.url);
    url.username = 'poor';
    url.password = 'secret';
    const poor = redisCache({ url: url.href });
    await poor.open?.();
    await keptMs(poor);
    await until('time passes', WITHIN_MS, async () => (await keptMs(poor)) >= LONG_MS + 50);
    expect(await keptMs(cache)).toBeGreaterThanOrEqual(LONG_MS);
    await poor.close();
  });
});

test('a cluster: of the primaries one lost everything, and the others did not', async () => {
  const cluster = await startRedisCluster();
  const cache = redisCache({ cluster: { nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) } });
  try {
    await cache.open?.();
    const asked = await cache.kept(PREFIX);
    expect(asked.size).toBeGreaterThan(1);
    const all = async (): Promise<number[]> => [...(await cache.kept(PREFIX)).values()].map(Number);
    await until('all have kept for a while', WITHIN_MS, async () => Math.min(...(await all())) >= 50);
    const [lost] = [...asked.keys()];
    const node = new Redis(`redis://${lost}`);
    await node.flushall();
    node.disconnect();
    const after = await cache.kept(PREFIX);
    expect(after.get(lost ?? '')).toBe(0);
    for (const [name, kept] of after) if (name !== lost) expect(kept).toBeGreaterThanOrEqual(50);
  } finally {
    await cache.close();
    await cluster.stop();
  }
}, 120_000);
