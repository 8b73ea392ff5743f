import type { ChangeWatch } from '@lockstep/core';
import { type RedisSentinelService, startRedisSentinel } from '@lockstep/dev-services';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { listening } from './support/changes.js';
import { hit, newKey, setValue } from './support/entries.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;
let service: RedisSentinelService;

beforeAll(async () => {
  service = await startRedisSentinel();
}, 120_000);
afterAll(() => service.stop());

test('after a failover the cache writes to the new primary, of another generation, and is told of changes there; so it is after the primary froze', async () => {
  const sentinels = service.sentinels.map(({ host, port }) => ({ host, port }));
  const cache = redisCache({ sentinel: { sentinels, name: service.name } });
  await cache.open?.();
  const key = newKey();
  await setValue(cache, key, 2);
  const first = await cache.info();
  expect(first.generation).toBeDefined();
  expect(first.description).toContain('Sentinel');

  const { listener, lost, told } = listening();
  const watch = cache.watchChanges?.('wtc::', listener) as ChangeWatch;
  watch.add('wtc:test:');
  await watch.ping();
  const before = lost();

  await service.failover();
  await until('writes reach the new primary', WITHIN_MS, async () => {
    await setValue(cache, key, 4);
    return (await hit(cache, key))?.version === 4;
  });
  const second = await cache.info();
  expect(second.generation).not.toBe(first.generation);
  await until('the watch is at the new primary', WITHIN_MS, async () => {
    await watch.ping();
    return true;
  });
  expect(lost()).toBeGreaterThan(before);
  const late = newKey();
  await setValue(cache, late, 2);
  await watch.ping();
  expect(told).toContain(late);

  const frozen = await service.currentPrimary();
  frozen.process.freeze();
  try {
    await until('the Sentinels choose the other one', WITHIN_MS, async () => {
      return (await service.currentPrimary()).port !== frozen.port;
    });
    await until('writes reach the other one', WITHIN_MS, async () => {
      await setValue(cache, newKey(), 6);
      return true;
    });
    expect((await cache.info()).generation).not.toBe(second.generation);
    // The frozen server's channel stays silent, and proves nothing.
    await until('the watch follows', WITHIN_MS, async () => {
      await watch.ping();
      return true;
    });
  } finally {
    frozen.process.thaw();
    await watch.close();
    await cache.close();
  }
}, 90_000);
