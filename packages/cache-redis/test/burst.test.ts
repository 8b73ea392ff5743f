import { createLockstep } from '@lockstep/core';
import { memoryStore } from '@lockstep/core/memory';
import { type RedisService, startRedis } from '@lockstep/dev-services';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';

let service: RedisService;
beforeAll(async () => {
  service = await startRedis();
}, 120_000);
afterAll(() => service.stop(), 60_000);

/** More than the adapter lets wait for an answer (`maxPending`), all asked for in one turn. */
const CALLS = 30_000;
const IDS = Array.from({ length: CALLS }, (_, id) => String(id));

describe('a burst far above what the adapter takes at once waits for its turn', () => {
  test('no write misses the cache, no read misses its entry, and the breaker stays closed', async () => {
    const lockstep = createLockstep({
      cache: redisCache({ url: service.url }),
      // Generous: the machine may be busy, and it is not time that is tested.
      cacheTimeoutMs: 10_000,
    });
    const things = lockstep.collection({
      name: 'things',
      store: memoryStore<{ id: string }>({ name: 'things' }),
      batch: { queueTimeoutMs: 60_000 },
    });
    const misses: unknown[] = [];
    const states: unknown[] = [];
    lockstep.events.on('miss', (event) => misses.push(event));
    lockstep.events.on('breaker', (event) => states.push(event));
    const written = await Promise.all(IDS.map((id) => things.put(id, { id })));
    expect(written.filter(({ cache }) => cache !== 'updated')).toEqual([]);
    expect(await things.getMany(IDS)).toEqual(IDS.map((id) => ({ id })));
    expect(misses).toEqual([]);
    expect(states).toEqual([]);
    await lockstep.close();
  });
});
