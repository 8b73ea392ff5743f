import { redisCache } from '@lockstep/cache-redis';
import { type CacheAdapter, createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { type RedisSentinelService, startRedisSentinel } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopReplication } from '../src/views/breaker.js';
import { controlledViewsCache } from '../src/views/controls/cache.js';

interface Item {
  readonly category: string;
}

let redis: RedisSentinelService;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  // No Sentinel acts on its own: a promotion is asked for.
  redis = await startRedisSentinel({ downAfterMs: 60_000 });
}, 300_000);

afterAll(async () => {
  for (const close of closing) await close();
  await redis.stop();
});

/** A process with a list; `prefix` tells its entries from others'. */
function open(prefix: string, store: ReturnType<typeof memoryStore<Item>>, control?: 'old-generation') {
  const { name, sentinels } = redis;
  const servers = sentinels.map(({ host, port }) => ({ host, port }));
  const cache: CacheAdapter = controlledViewsCache(
    redisCache({ sentinel: { name, sentinels: servers } }),
    control,
  );
  const lockstep = createLockstep({ cache, prefix, cacheTimeoutMs: 5_000 });
  closing.push(() => lockstep.close());
  const items = lockstep.collection({ name: 'items', store, tags: ['category'] });
  let loads = 0;
  const list = lockstep.view<string, string[]>({
    name: 'list',
    load: async (category) => {
      loads += 1;
      const found = await store.read(store.keys(), { timeoutMs: 5_000, primary: true });
      return found.flatMap((row) => (row?.value.category === category ? [row.key] : [])).sort();
    },
    dependsOn: (category) => items.where({ category }),
  });
  /** Reads until the cache answers. */
  const cached = async (): Promise<string[]> => {
    for (;;) {
      const before = loads;
      const value = await list.get('x');
      if (loads === before) return value;
      await lockstep.drain();
    }
  };
  return { items, list, cached };
}

test('a promoted replica brings old tokens back, and no list of before: a control shows that list', async () => {
  const subjects = (['kept', 'control'] as const).map((prefix) => {
    const store = memoryStore<Item>({ name: prefix });
    const control = prefix === 'control' ? 'old-generation' : undefined;
    return { prefix, start: () => open(prefix, store, control) };
  });
  const running = subjects.map(({ prefix, start }) => ({ prefix, start, process: start() }));
  const primary = new Redis((await redis.currentPrimary()).url);
  closing.push(async () => primary.disconnect());
  for (const { process } of running) {
    await process.items.put('a', { category: 'x' });
    expect(await process.cached()).toEqual(['a']);
  }
  await primary.wait(1, 30_000);
  const keys = (await primary.keys('*:*')).filter((key) => /%[vt]:/.test(key)).sort();
  const tokens = await primary.mget(keys);
  await stopReplication(redis);
  for (const { process } of running) {
    expect(await process.items.put('b', { category: 'x' })).toMatchObject({ cache: 'updated' });
    expect(await process.cached()).toEqual(['a', 'b']);
  }
  expect(await primary.mget(keys)).not.toEqual(tokens);

  await redis.failover();
  const promoted = new Redis((await redis.currentPrimary()).url);
  closing.push(async () => promoted.disconnect());
  expect(await promoted.mget(keys)).toEqual(tokens);
  const [kept, control] = running.map(({ start }) => start());
  expect(await control?.list.get('x')).toEqual(['a']);
  expect(await kept?.list.get('x')).toEqual(['a', 'b']);
  expect(await kept?.cached()).toEqual(['a', 'b']);
  // Who was there takes the old generation for the present one for a second.
  const there = running[0]?.process;
  while ((await there?.list.get('x'))?.length !== 2);
  expect(await there?.cached()).toEqual(['a', 'b']);
}, 60_000);
