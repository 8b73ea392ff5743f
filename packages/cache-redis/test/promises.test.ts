import { createHook } from 'node:async_hooks';
import type { CacheAdapter } from '@lockstep/core';
import { startRedis, startRedisCluster } from '@lockstep/dev-services';
import { expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { invalidate, newKey } from './support/entries.js';

const KEYS = 500;

/** How many promises the work makes once everything has been made that is made but once. */
async function promisesOf(work: () => Promise<unknown>): Promise<number> {
  await work();
  let promises = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'PROMISE') promises += 1;
    },
  }).enable();
  try {
    await work();
    return promises;
  } finally {
    hook.disable();
  }
}

async function counted(cache: CacheAdapter): Promise<{ invalidations: number; reads: number }> {
  await cache.open?.();
  const start = newKey();
  const keys = Array.from({ length: KEYS }, (_, index) => `${start}:${index}`);
  const commands = keys.map((key) => ({ ...invalidate(key, 4), holeOnEmpty: true }));
  const invalidations = await promisesOf(() => cache.execute(commands));
  const reads = await promisesOf(() => cache.read(keys, 'utf8'));
  await cache.close();
  return { invalidations, reads };
}

test('a batch stays a batch down to the socket: on one server it makes a handful of promises', async () => {
  await using server = await startRedis({ owned: true });
  const { invalidations, reads } = await counted(redisCache({ url: server.url }));
  expect(invalidations).toBeLessThan(KEYS / 10);
  expect(reads).toBeLessThan(KEYS / 10);
});

test('on a Cluster, where keys of different slots are commands of their own, it makes those of the client alone', async () => {
  await using cluster = await startRedisCluster();
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
  const { invalidations, reads } = await counted(redisCache({ cluster: { nodes } }));
  expect(invalidations).toBeLessThan(3.5 * KEYS);
  expect(reads).toBeLessThan(3.5 * KEYS);
});
