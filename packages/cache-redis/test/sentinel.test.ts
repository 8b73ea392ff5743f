import { type RedisSentinelService, startRedisSentinel } from '@lockstep/dev-services';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { hit, newKey, setValue } from './support/entries.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;
let service: RedisSentinelService;

beforeAll(async () => {
  service = await startRedisSentinel();
}, 120_000);
afterAll(() => service.stop());

test('after a failover the cache writes to the new primary, of another generation; so it does after the primary froze', async () => {
  const sentinels = service.sentinels.map(({ host, port }) => ({ host, port }));
  const cache = redisCache({ sentinel: { sentinels, name: service.name } });
  await cache.open?.();
  const key = newKey();
  await setValue(cache, key, 2);
  const first = await cache.info();
  expect(first.generation).toBeDefined();
  expect(first.description).toContain('Sentinel');

  await service.failover();
  await until('writes reach the new primary', WITHIN_MS, async () => {
    await setValue(cache, key, 4);
    return (await hit(cache, key))?.version === 4;
  });
  const second = await cache.info();
  expect(second.generation).not.toBe(first.generation);

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
  } finally {
    frozen.process.thaw();
    await cache.close();
  }
}, 90_000);
