import { cacheConformance } from '@lockstep/conformance';
import { startProxy, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { redisCache } from '../src/index.js';

let service: Awaited<ReturnType<typeof startRedis>>;
beforeAll(async () => {
  service = await startRedis({ owned: true });
}, 120_000);
afterAll(() => service.stop());

cacheConformance({
  name: 'standalone',
  describe,
  test,
  hooks: ['second', 'evict', 'flushScripts', 'cut', 'freeze'],
  async create() {
    const proxy = await startProxy({ target: service.url });
    const cache = redisCache({ url: proxy.url });
    const second = redisCache({ url: service.url });
    const admin = new Redis(service.url);
    await Promise.all([cache.open?.(), second.open?.()]);
    return {
      cache,
      second,
      evict: async (key) => {
        await admin.del(key);
      },
      flushScripts: async () => {
        await admin.script('FLUSH');
      },
      cut: async () => {
        await proxy.cut();
        await proxy.heal();
      },
      freeze: () => service.process?.freeze(),
      thaw: () => service.process?.thaw(),
      async dispose() {
        admin.disconnect();
        await proxy.stop();
      },
    };
  },
});
