import { CacheUnavailableError } from '@lockstep/core';
import { type OwnedProcess, type RedisService, startProxy, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { hit, invalidate, newKey, put, run, setValue } from './support/entries.js';
import { failure, until } from './support/time.js';

/** Far more than any of these should take, on any machine. */
const WITHIN_MS = 30_000;
const STORED = { kind: 'put', outcome: 'stored' };

let service: RedisService;
let server: OwnedProcess;

beforeAll(async () => {
  service = await startRedis({ owned: true });
  if (service.process === undefined) throw new Error('these tests need a server of their own');
  server = service.process;
}, 120_000);
afterAll(() => service.stop());

async function opened(options: { url?: string; commandTimeoutMs?: number; maxPending?: number } = {}) {
  const cache = redisCache({ url: service.url, ...options });
  await cache.open?.();
  return Object.assign(cache, { [Symbol.asyncDispose]: () => cache.close() });
}

describe('a frozen server', () => {
  test('is waited for no longer than the time-out, and used at once when it thaws', async () => {
    await using cache = await opened({ commandTimeoutMs: 150 });
    const key = newKey();
    await setValue(cache, key, 2);
    server.freeze();
    try {
      const { error, ms } = await failure(cache.read([key], 'utf8'));
      expect(error).toBeInstanceOf(CacheUnavailableError);
      expect(ms).toBeLessThan(WITHIN_MS);
    } finally {
      server.thaw();
    }
    await until('the thawed server answers', WITHIN_MS, async () => (await hit(cache, key))?.version === 2);
  });

  test('is let go of after a while, so that nothing waits in memory, and found again', async () => {
    await using cache = await opened({ commandTimeoutMs: 50, maxPending: 5 });
    const key = newKey();
    await setValue(cache, key, 2);
    server.freeze();
    try {
      const messages = new Set<string>();
      await until('the connection is replaced', WITHIN_MS, async () => {
        const { error } = await failure(cache.read([key], 'utf8'));
        messages.add(String((error as Error).message));
        return [...messages].some((message) => message.includes('not connected'));
      });
      expect([...messages].some((message) => message.includes('within 50 ms'))).toBe(true);
    } finally {
      server.thaw();
    }
    await until('the thawed server answers', WITHIN_MS, async () => (await hit(cache, key))?.version === 2);
  });

  test('holds up neither open nor close', async () => {
    await using cache = await opened({ commandTimeoutMs: 50 });
    const late = redisCache({ url: service.url, commandTimeoutMs: 50, connectTimeoutMs: 50 });
    server.freeze();
    try {
      expect((await failure(late.open?.() ?? Promise.resolve())).error).toBeInstanceOf(CacheUnavailableError);
      const began = performance.now();
      await Promise.all([cache.close(), late.close()]);
      expect(performance.now() - began).toBeLessThan(WITHIN_MS);
    } finally {
      server.thaw();
    }
  });
});

describe('a killed server', () => {
  test('fails calls at once, is found again when it restarts, and is of another generation then', async () => {
    await using cache = await opened();
    const key = newKey();
    const { generation } = await cache.info();
    await setValue(cache, key, 2);
    await server.kill();
    try {
      await until('calls are refused', WITHIN_MS, async () => {
        const { error, ms } = await failure(cache.read([key], 'utf8'));
        expect(error).toBeInstanceOf(Error);
        return ms < 50 && error instanceof CacheUnavailableError;
      });
    } finally {
      await server.restart({ keepData: false });
    }
    await until('the cache works again', WITHIN_MS, async () => (await hit(cache, key)) === undefined);
    const info = await cache.info();
    expect(info.generation).not.toBe(generation);
    expect((await cache.info()).generation).toBe(info.generation);
    await setValue(cache, key, 4);
    expect((await hit(cache, key))?.version).toBe(4);
  });

  test('that is not there yet: open fails with the reason, and succeeds once it is', async () => {
    await server.kill();
    const cache = redisCache({ url: service.url });
    try {
      const { error } = await failure(cache.open?.() ?? Promise.resolve());
      expect(error).toBeInstanceOf(CacheUnavailableError);
      expect((error as Error).message).toContain('ECONNREFUSED');
    } finally {
      await server.restart();
    }
    await until('open succeeds', WITHIN_MS, async () => {
      await cache.open?.();
      return true;
    });
    expect(await hit(cache, newKey())).toBeUndefined();
    await cache.close();
  });
});

describe('a connection that breaks', () => {
  test('after the command: it took effect once, and is not sent again behind the caller', async () => {
    await using proxy = await startProxy({ target: service.url });
    await using cache = await opened({ url: proxy.url });
    await using direct = await opened();
    const key = newKey();
    await setValue(cache, key, 2);
    const admin = new Redis(service.url);
    await admin.config('RESETSTAT');
    proxy.cutAfter(0, 'reply');
    await expect(run(cache, put(key, 4))).rejects.toThrow(Error);
    expect((await hit(direct, key))?.version).toBe(4);
    await until(
      'the cache is connected again',
      WITHIN_MS,
      async () => (await hit(cache, key))?.version === 4,
    );
    expect(await admin.info('commandstats')).toContain('cmdstat_evalsha:calls=1,');
    admin.disconnect();
  });

  test('in the middle of a command: it has no effect', async () => {
    await using proxy = await startProxy({ target: service.url });
    await using cache = await opened({ url: proxy.url });
    const key = newKey();
    await setValue(cache, key, 2);
    proxy.cutAfter(60, 'request');
    await expect(run(cache, put(key, 4))).rejects.toThrow(Error);
    await until(
      'the cache is connected again',
      WITHIN_MS,
      async () => (await hit(cache, key))?.version === 2,
    );
  });

  test('without a word: the silence is noticed, and another connection made', async () => {
    await using proxy = await startProxy({ target: service.url });
    await using cache = await opened({ url: proxy.url, commandTimeoutMs: 50 });
    const key = newKey();
    await setValue(cache, key, 2);
    proxy.halfOpen();
    await until(
      'the cache is connected again',
      WITHIN_MS,
      async () => (await hit(cache, key))?.version === 2,
    );
  });

  test('for good, as the client has it: the cache connects anew all the same', async () => {
    await using proxy = await startProxy({ target: service.url });
    const cache = redisCache({ url: proxy.url, redisOptions: { retryStrategy: () => null } });
    await cache.open?.();
    const key = newKey();
    await setValue(cache, key, 2);
    await proxy.cut();
    await proxy.heal();
    await until(
      'the cache is connected again',
      WITHIN_MS,
      async () => (await hit(cache, key))?.version === 2,
    );
    await cache.close();
  });

  test('while a batch is under way: every command is answered or fails (G3)', async () => {
    await using proxy = await startProxy({ target: service.url });
    await using cache = await opened({ url: proxy.url });
    const keys = Array.from({ length: 50 }, newKey);
    for (const key of keys) await setValue(cache, key, 2);
    proxy.cutAfter(300, 'reply');
    const replies = await cache.execute(keys.map((key) => put(key, 4)));
    expect(replies).toHaveLength(50);
    expect(replies.some((reply) => reply instanceof Error)).toBe(true);
    await until('the cache is connected again', WITHIN_MS, async () => {
      const hits = await cache.read(keys, 'utf8');
      // All of the batch had reached the server.
      return hits.every((found) => !(found instanceof Error) && found?.version === 4);
    });
  });
});

describe('a command that the server refuses', () => {
  test('fails alone, wherever it stands in a large batch; the others keep their order', async () => {
    await using cache = await opened();
    const keys = Array.from({ length: 200 }, newKey);
    const wrong = new Set([0, 63, 64, 150, 199]);
    // Longer than a server counts.
    const refusedAt = (index: number, command: ReturnType<typeof put>) =>
      wrong.has(index) ? { ...command, ttlMs: 1_100 * Number.MAX_SAFE_INTEGER } : command;
    for (const key of keys) await setValue(cache, key, 2);
    const payload = Buffer.from([0, 255, 128]);
    const replies = await cache.execute([
      ...keys.map((key, index) => refusedAt(index, put(key, 4))),
      { kind: 'lease', key: keys[1] as string, token: 't', leaseMs: 1, holeTtlMs: 1, encoding: 'binary' },
      ...keys.map((key, index) => refusedAt(index, put(key, 6, payload))),
    ]);
    expect(replies).toHaveLength(401);
    const outcome = (_: string, index: number): unknown =>
      wrong.has(index) ? expect.objectContaining({ message: expect.stringContaining('integer') }) : STORED;
    expect(replies.slice(0, 200)).toEqual(keys.map(outcome));
    expect(replies[200]).toMatchObject({ outcome: 'hit', hit: { version: 4 } });
    expect(replies.slice(201)).toEqual(keys.map(outcome));
    const [found] = await cache.read([keys[1] as string], 'binary');
    expect(found).toMatchObject({ version: 6, payload });
  });
});

describe('a full server that may not evict', () => {
  test('still drops what is invalidated or overwritten by an unknown version (G2)', async () => {
    await using cache = await opened();
    const admin = new Redis(service.url);
    const [old, unversioned, kept] = [newKey(), newKey(), newKey()];
    const replies = [];
    for (const key of [old, unversioned, kept]) await setValue(cache, key, 2);
    await admin.config('SET', 'maxmemory', '1');
    try {
      await expect(run(cache, put(kept, 4))).rejects.toThrow('OOM');
      replies.push(await run(cache, invalidate(old, 4)), await run(cache, put(unversioned, 0)));
    } finally {
      await admin.config('SET', 'maxmemory', '0');
      admin.disconnect();
    }
    expect(replies).toEqual([
      { kind: 'invalidate', outcome: 'floored' },
      { kind: 'put', outcome: 'floored' },
    ]);
    expect(await hit(cache, old)).toBeUndefined();
    expect(await hit(cache, unversioned)).toBeUndefined();
    expect((await hit(cache, kept))?.version).toBe(2);
  });
});

describe('what the server says', () => {
  test('evicts follows maxmemory-policy', async () => {
    await using cache = await opened();
    const admin = new Redis(service.url);
    try {
      for (const [policy, evicts] of [
        ['allkeys-lru', true],
        ['volatile-ttl', true],
        ['noeviction', false],
      ] as const) {
        await admin.config('SET', 'maxmemory-policy', policy);
        expect(await cache.info()).toMatchObject({ evicts, description: expect.stringContaining(policy) });
      }
    } finally {
      admin.disconnect();
    }
  });

  test('appendsToFile follows appendonly', async () => {
    await using cache = await opened();
    const admin = new Redis(service.url);
    try {
      const before = await admin.config('GET', 'appendonly');
      for (const appendonly of ['yes', 'no'] as const) {
        await admin.config('SET', 'appendonly', appendonly);
        expect(await cache.info()).toMatchObject({ appendsToFile: appendonly === 'yes' });
      }
      await admin.config('SET', ...(before as [string, string]));
    } finally {
      admin.disconnect();
    }
  });

  test('without the right to ask there is nothing to say, and the cache works', async () => {
    const admin = new Redis(service.url);
    await admin.acl('SETUSER', 'limited', 'on', '>secret', '~*', '+@all', '-@dangerous', '-config', '-info');
    const url = new URL(service.url);
    url.username = 'limited';
    url.password = 'secret';
    const cache = redisCache({ url: url.href, redisOptions: { enableReadyCheck: false } });
    await cache.open?.();
    const key = newKey();
    await setValue(cache, key, 2);
    expect((await hit(cache, key))?.version).toBe(2);
    expect(await cache.info()).toMatchObject({ evicts: undefined, generation: undefined });
    await cache.close();
    await admin.acl('DELUSER', 'limited');
    admin.disconnect();
  });
});
