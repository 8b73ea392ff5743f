import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CacheProbe } from '@lockstep/core';
import {
  type OwnedProcess,
  type RedisClusterService,
  type RedisService,
  startRedis,
  startRedisCluster,
} from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { hit, invalidate, newKey, run, setValue } from './support/entries.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;
const PREFIX = 'wtc::';

describe('one server', () => {
  let service: RedisService;
  let server: OwnedProcess;
  let admin: Redis;
  beforeAll(async () => {
    service = await startRedis({ owned: true });
    if (service.process === undefined) throw new Error('these tests need a server of their own');
    server = service.process;
  }, 120_000);
  afterAll(() => service.stop());
  beforeEach(() => {
    admin = new Redis(service.url);
  });
  afterEach(() => admin.disconnect());

  async function opened(user?: string) {
    const url = new URL(service.url);
    if (user !== undefined) {
      url.username = user;
      url.password = 'secret';
    }
    const cache = redisCache({ url: url.href, commandTimeoutMs: 300 });
    await cache.open?.();
    return Object.assign(cache, { [Symbol.asyncDispose]: () => cache.close() });
  }

  async function probe(cache: Awaited<ReturnType<typeof opened>>): Promise<CacheProbe> {
    const found = (await cache.probe(PREFIX)).get('');
    if (found === undefined) throw new Error('nobody was asked');
    if (found instanceof Error) throw found;
    return found;
  }

  async function snapshotFolder(): Promise<string> {
    const [, dir] = (await admin.config('GET', 'dir')) as [string, string];
    const [, name] = (await admin.config('GET', 'dbfilename')) as [string, string];
    return join(dir, name);
  }

  /** Each way in which a server answers reads and refuses writes, and its end. */
  const halfRefusing = [
    {
      name: 'min-replicas-to-write without a replica',
      says: 'NOREPLICAS',
      enter: () => admin.config('SET', 'min-replicas-to-write', '1'),
      leave: () => admin.config('SET', 'min-replicas-to-write', '0'),
    },
    {
      name: 'a snapshot that failed',
      says: 'MISCONF',
      async enter() {
        // A folder in the place of the file.
        await mkdir(await snapshotFolder());
        await admin.config('SET', 'save', '3600 1000000');
        await admin.bgsave();
        await until('the snapshot fails', WITHIN_MS, async () =>
          (await admin.info('persistence')).includes('rdb_last_bgsave_status:err'),
        );
      },
      async leave() {
        await admin.config('SET', 'save', '');
        await rmdir(await snapshotFolder());
      },
    },
    {
      name: 'a primary that became a replica',
      says: 'READONLY',
      enter: () => admin.replicaof('127.0.0.1', '1'),
      leave: () => admin.replicaof('NO', 'ONE'),
    },
  ];

  test.for(halfRefusing)(
    '$name: reads are answered, the probe fails as an invalidation does',
    async (way) => {
      await using cache = await opened();
      const key = newKey();
      await setValue(cache, key, 2);
      await probe(cache);
      await way.enter();
      try {
        for (const call of [() => probe(cache), () => run(cache, invalidate(key, 4))]) {
          // A client that met a replica connects anew.
          await until('the server says why', WITHIN_MS, async () =>
            call().then(
              () => false,
              (error: Error) => error.message.includes(way.says),
            ),
          );
        }
        await until('the server answers', WITHIN_MS, async () => (await hit(cache, key))?.version === 2);
      } finally {
        await way.leave();
      }
      await until('the probe succeeds again', WITHIN_MS, async () => (await probe(cache)).nowMs > 0);
    },
  );

  test('a user that may read and run no script: the probe fails', async () => {
    await admin.acl('SETUSER', 'reader', 'on', '>secret', '~*', '+@read', '+@connection', '+info');
    await using cache = await opened('reader');
    expect(await hit(cache, newKey())).toBeUndefined();
    await expect(probe(cache)).rejects.toThrow('NOPERM');
    await admin.acl('DELUSER', 'reader');
  });

  test('a user that may not ask the server for its ids proves itself without a generation', async () => {
    await admin.acl('SETUSER', 'limited', 'on', '>secret', '~wtc:*', '+@all', '-info');
    const url = new URL(service.url);
    url.username = 'limited';
    url.password = 'secret';
    const cache = redisCache({ url: url.href, redisOptions: { enableReadyCheck: false } });
    await cache.open?.();
    const found = (await cache.probe(PREFIX)).get('');
    expect(found).toEqual({ generation: undefined, nowMs: expect.any(Number) });
    await cache.close();
    await admin.acl('DELUSER', 'limited');
  });

  test('a full server that may not evict can still invalidate: the probe succeeds', async () => {
    await using cache = await opened();
    await admin.config('SET', 'maxmemory', '1');
    try {
      await expect(setValue(cache, newKey(), 2)).rejects.toThrow('OOM');
      expect((await probe(cache)).generation).toBeDefined();
    } finally {
      await admin.config('SET', 'maxmemory', '0');
    }
  });

  test('a server that hangs: the probe ends with the time-out', async () => {
    await using cache = await opened();
    await probe(cache);
    server.freeze();
    try {
      await expect(probe(cache)).rejects.toThrow('300 ms');
    } finally {
      server.thaw();
    }
    await until('the thawed server answers', WITHIN_MS, async () => (await probe(cache)).nowMs > 0);
  });

  test('the clock is the server’s, and the generation what info() says', async () => {
    await using cache = await opened();
    const [seconds, micros] = await admin.time();
    const { generation, nowMs } = await probe(cache);
    expect(nowMs).toBeGreaterThanOrEqual(Math.floor(Number(seconds) * 1_000 + Number(micros) / 1_000));
    expect((await cache.info()).generation).toBe(generation);
  });
});

describe('Cluster', () => {
  let service: RedisClusterService;
  beforeAll(async () => {
    service = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
  }, 120_000);
  afterAll(() => service.stop());

  test('each primary proves itself: one that refuses writes, or is gone, fails alone', async () => {
    const nodes = service.nodes.map(({ host, port }) => ({ host, port }));
    const cache = redisCache({ cluster: { nodes } });
    await cache.open?.();
    const names = nodes.map(({ host, port }) => `${host}:${port}`);
    const outcomes = async () => {
      const probes = await cache.probe(PREFIX);
      return names.map((name) => {
        const found = probes.get(name);
        if (!(found instanceof Error)) return found && 'proven';
        return found.message.includes('NOREPLICAS') ? 'NOREPLICAS' : 'gone';
      });
    };
    expect(await outcomes()).toEqual(['proven', 'proven', 'proven']);
    const keys = Array.from({ length: 100 }, newKey);
    expect(new Set(keys.map((key) => cache.primaryOf?.(key)))).toEqual(new Set(names));
    const admin = new Redis(service.urls[1] ?? '');
    await admin.config('SET', 'min-replicas-to-write', '1');
    try {
      await until('the server says so', WITHIN_MS, async () => (await outcomes())[1] === 'NOREPLICAS');
      expect(await outcomes()).toEqual(['proven', 'NOREPLICAS', 'proven']);
    } finally {
      await admin.config('SET', 'min-replicas-to-write', '0');
      admin.disconnect();
    }
    await service.nodes[2]?.process.kill();
    try {
      await until('the third is gone', WITHIN_MS, async () => (await outcomes())[2] !== 'proven');
      expect((await outcomes()).slice(0, 2)).toEqual(['proven', 'proven']);
    } finally {
      await service.nodes[2]?.process.restart({ keepData: true });
    }
    await service.healthy();
    await cache.close();
  }, 60_000);

  test('a hash tag in the prefix gathers all keys on one primary, which alone is asked', async () => {
    const cache = redisCache({ cluster: { nodes: service.nodes.map(({ host, port }) => ({ host, port })) } });
    await cache.open?.();
    const probes = await cache.probe('{shop}::');
    expect([...probes.keys()]).toEqual([cache.primaryOf?.('{shop}:products:1')]);
    await cache.close();
  });
});
