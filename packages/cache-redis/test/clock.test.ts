import type { CacheAdapter, CacheCommand } from '@lockstep/core';
import { type RedisService, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { invalidate, LONG_MS, newKey, put, reserve, setValue } from './support/entries.js';

let service: RedisService;
let admin: Redis;
let cache: CacheAdapter;
beforeAll(async () => {
  service = await startRedis({ owned: true });
  admin = new Redis(service.url);
  cache = redisCache({ url: service.url });
  await cache.open?.();
}, 120_000);
afterAll(async () => {
  admin.disconnect();
  await cache.close();
  await service.stop();
});

/** How often the commands made the script ask the server for its clock. */
async function asked(commands: readonly CacheCommand[]): Promise<number> {
  await admin.config('RESETSTAT');
  await cache.execute(commands);
  const stats = await admin.info('commandstats');
  return Number(/cmdstat_time:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

describe('the script asks for the clock', () => {
  test('never where no version and no time is to be judged: on an empty key, over an older value', async () => {
    const [empty, value] = [newKey(), newKey()];
    await setValue(cache, value, 4);
    expect(await asked([invalidate(empty, 4)])).toBe(0);
    expect(await asked([reserve(empty, 't')])).toBe(0);
    expect(await asked([{ ...put(empty, 4), token: 't' }])).toBe(0);
    expect(await asked([put(value, 6)])).toBe(0);
  });

  test('once for all commands that travel in one call', async () => {
    const keys = Array.from({ length: 50 }, newKey);
    for (const key of keys) await setValue(cache, key, 4);
    expect(await asked(keys.map((key) => invalidate(key, 6)))).toBe(1);
    expect(
      await asked(
        keys.map((key) => ({ kind: 'intend', key, token: 't', deadlineMs: LONG_MS, holeTtlMs: LONG_MS })),
      ),
    ).toBe(1);
  });
});
