import { type RedisService, startRedis } from '@lockstep/dev-services';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { newKey } from './support/entries.js';

let service: RedisService;
beforeAll(async () => {
  service = await startRedis();
}, 120_000);
afterAll(() => service.stop());

test('an index that holds more than the limit tells the clock when nothing is added', async () => {
  const cache = redisCache({ url: service.url });
  const index = newKey();
  await cache.open?.();
  await cache.unflushed?.add(index, ['a', 'b'], 10);
  const { marks, nowMs } = (await cache.unflushed?.add(index, [], 0)) ?? { marks: undefined, nowMs: 0 };
  expect(marks).toEqual([]);
  expect(Math.abs(nowMs - Date.now())).toBeLessThan(60_000);
  await cache.close();
});
