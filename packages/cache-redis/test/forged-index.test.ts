import { type RedisService, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { newKey } from './support/entries.js';

let service: RedisService;
let raw: Redis;
beforeAll(async () => {
  service = await startRedis();
  raw = new Redis(service.url);
}, 120_000);
afterAll(async () => {
  raw.disconnect();
  await service.stop();
});

test.for(['inf', '1e300', '9007199254740993', 'no set'])(
  'an index that somebody else wrote into (%s) is used on: each key has a mark of its own, and can be removed',
  async (forged) => {
    const cache = redisCache({ url: service.url });
    await cache.open?.();
    const { unflushed } = cache;
    if (unflushed === undefined) throw new Error('no index');
    const index = newKey();
    if (forged === 'no set') await raw.set(index, 'x');
    else await raw.zadd(index, forged, 'junk');
    const { marks, nowMs } = await unflushed.add(index, ['a', 'b', 'c'], 100);
    expect(new Set(marks).size).toBe(3);
    for (const mark of marks) expect(Number(mark)).toBeLessThan((nowMs + 60_000) * 1_000);
    const names: string[] = [];
    for (let after = 0; ; ) {
      const [found] = await unflushed.list(index, after, 1);
      if (found === undefined) break;
      names.push(found.key);
      after = found.mark;
      await unflushed.remove(index, [found]);
    }
    expect(names).toEqual([...(forged === 'no set' ? [] : ['junk']), 'a', 'b', 'c']);
    expect(await unflushed.size(index)).toBe(0);
    await cache.close();
  },
);
