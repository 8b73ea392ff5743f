import { CacheUnavailableError, type ChangeWatch } from '@lockstep/core';
import { type RedisClusterService, startRedisCluster } from '@lockstep/dev-services';
import slotOf from 'cluster-key-slot';
import { Cluster, Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { listening } from './support/changes.js';
import { hit, newKey, put, setValue } from './support/entries.js';
import { until } from './support/time.js';

const WITHIN_MS = 30_000;
let service: RedisClusterService;
let nodes: { host: string; port: number }[];

beforeAll(async () => {
  // A node that is down takes its own slots along, and no others.
  service = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
  nodes = service.nodes.map(({ host, port }) => ({ host, port }));
}, 120_000);
afterAll(() => service.stop());

/** Which of the three equal ranges the key's slot is in. */
function owner(key: string): number {
  return Math.floor((slotOf(key) * 3) / 16_384);
}

function keyOf(node: number): string {
  for (;;) {
    const key = newKey();
    if (owner(key) === node) return key;
  }
}

test('a keyPrefix counts for the slot, and scan walks all primaries', async () => {
  const client = new Cluster(nodes, { redisOptions: { keyPrefix: 'tenant:' } });
  const cache = redisCache({ client });
  await cache.open?.();
  const start = newKey();
  const keys = Array.from({ length: 60 }, (_, index) => `${start}:${index}`);
  for (const key of keys) await setValue(cache, key, 2);
  const hits = await cache.read(keys, 'utf8');
  expect(hits.every((found) => !(found instanceof Error) && found?.version === 2)).toBe(true);
  const found: string[] = [];
  for await (const { key } of cache.scan(start, 'utf8')) found.push(key);
  expect(found.sort()).toEqual([...keys].sort());
  expect(new Set(keys.map((key) => owner(`tenant:${key}`)))).toEqual(new Set([0, 1, 2]));
  await cache.close();
  expect(await client.ping()).toBe('PONG');
  client.disconnect();
});

test('a node that is taken for a server of its own says how a Cluster is named', async () => {
  const cache = redisCache({ url: service.urls[0] ?? '' });
  await cache.open?.();
  const [found] = await cache.read([keyOf(2)], 'utf8');
  expect(found).toBeInstanceOf(CacheUnavailableError);
  expect(String(found)).toContain('redisCache({ cluster: { nodes } })');
  await cache.close();
});

test('a dead node fails its own commands, at once; it is found again when it restarts', async () => {
  const commandTimeoutMs = 30_000;
  const cache = redisCache({ cluster: { nodes }, commandTimeoutMs });
  await cache.open?.();
  const [alive, other, dead] = [keyOf(0), keyOf(1), keyOf(2)];
  const { generation } = await cache.info();
  for (const key of [alive, other, dead]) await setValue(cache, key, 2);
  const victim = service.nodes[2]?.process;
  await victim?.kill();
  try {
    const began = performance.now();
    const replies = await cache.execute([put(alive, 4), put(dead, 4), put(other, 4)]);
    expect(replies[0]).toEqual({ kind: 'put', outcome: 'stored' });
    expect(replies[1]).toBeInstanceOf(Error);
    expect(replies[2]).toEqual({ kind: 'put', outcome: 'stored' });
    const hits = await cache.read([alive, dead, other], 'utf8');
    expect(hits[0]).toMatchObject({ version: 4 });
    expect(hits[1]).toBeInstanceOf(CacheUnavailableError);
    expect(hits[2]).toMatchObject({ version: 4 });
    expect(performance.now() - began).toBeLessThan(commandTimeoutMs / 2);
    expect((await cache.info()).generation).toBeUndefined();
  } finally {
    await victim?.restart({ keepData: true });
  }
  await service.healthy();
  await until('the node is used again', WITHIN_MS, async () => {
    await setValue(cache, dead, 6);
    return (await hit(cache, dead))?.version === 6;
  });
  expect((await cache.info()).generation).not.toBe(generation);
  await cache.close();
});

test('a frozen node holds up its own commands only, no longer than the time-out', async () => {
  const cache = redisCache({ cluster: { nodes }, commandTimeoutMs: 200 });
  await cache.open?.();
  const [alive, frozen] = [keyOf(0), keyOf(1)];
  for (const key of [alive, frozen]) await setValue(cache, key, 2);
  service.nodes[1]?.process.freeze();
  try {
    const replies = await cache.execute([put(alive, 4), put(frozen, 4)]);
    expect(replies[0]).toEqual({ kind: 'put', outcome: 'stored' });
    expect(replies[1]).toBeInstanceOf(CacheUnavailableError);
    expect((await hit(cache, alive))?.version).toBe(4);
  } finally {
    service.nodes[1]?.process.thaw();
  }
  await until('the node is used again', WITHIN_MS, async () => (await hit(cache, frozen)) !== undefined);
  await cache.close();
});

test('slots that are moving or have moved are followed, in the middle of a batch, too', async () => {
  const cache = redisCache({ cluster: { nodes } });
  await cache.open?.();
  const [moving, staying] = [keyOf(0), keyOf(0)];
  const slot = slotOf(moving);
  const [from, to] = [0, 1].map((index) => new Redis(service.urls[index] ?? '')) as [Redis, Redis];
  const [fromId, toId] = (await Promise.all([from.cluster('MYID'), to.cluster('MYID')])) as [string, string];
  await setValue(cache, staying, 2);
  try {
    await to.cluster('SETSLOT', slot, 'IMPORTING', fromId);
    await from.cluster('SETSLOT', slot, 'MIGRATING', toId);
    // ASK: the key is not at its old place.
    expect(await cache.execute([put(moving, 2), put(staying, 4)])).toEqual([
      { kind: 'put', outcome: 'floored' },
      { kind: 'put', outcome: 'stored' },
    ]);
    expect((await cache.read([moving, staying], 'utf8'))[1]).toMatchObject({ version: 4 });
    for (const node of [to, from]) await node.cluster('SETSLOT', slot, 'NODE', toId);
    // MOVED: the client's map is old.
    await cache.execute([{ kind: 'reserve', key: moving, token: 't', holeTtlMs: 60_000 }]);
    expect(await cache.execute([{ ...put(moving, 6), token: 't' }, put(staying, 6)])).toEqual([
      { kind: 'put', outcome: 'stored' },
      { kind: 'put', outcome: 'stored' },
    ]);
    const hits = await cache.read([moving, staying], 'utf8');
    expect(hits).toMatchObject([{ version: 6 }, { version: 6 }]);
  } finally {
    from.disconnect();
    to.disconnect();
    await cache.close();
  }
});

test('a watch is told by all nodes, of keys that move between them, and of none while one is down', async () => {
  const cache = redisCache({ cluster: { nodes }, commandTimeoutMs: 500 });
  await cache.open?.();
  const { listener, lost, told } = listening();
  const watch = cache.watchChanges?.('wtc::', listener) as ChangeWatch;
  watch.add('wtc:test:');
  await watch.ping();
  const keys = [keyOf(0), keyOf(1), keyOf(2)];
  for (const key of keys) await setValue(cache, key, 2);
  await watch.ping();
  expect(told).toEqual(expect.arrayContaining(keys));

  const [moving = ''] = keys;
  const slot = slotOf(moving);
  const [from, to] = [0, 2].map((index) => new Redis(service.urls[index] ?? '')) as [Redis, Redis];
  const [fromId, toId] = (await Promise.all([from.cluster('MYID'), to.cluster('MYID')])) as [string, string];
  const target = nodes[2] ?? { host: '', port: 0 };
  try {
    await to.cluster('SETSLOT', slot, 'IMPORTING', fromId);
    await from.cluster('SETSLOT', slot, 'MIGRATING', toId);
    told.length = 0;
    await from.call('MIGRATE', target.host, target.port, moving, 0, 5_000);
    await watch.ping();
    expect(told).toContain(moving);
    for (const value of [4, 6]) {
      told.length = 0;
      await cache.execute([put(moving, value)]);
      await watch.ping();
      expect(told).toContain(moving);
      for (const node of [to, from]) await node.cluster('SETSLOT', slot, 'NODE', toId);
    }
  } finally {
    from.disconnect();
    to.disconnect();
  }

  const before = lost();
  const victim = service.nodes[1]?.process;
  await victim?.kill();
  await until('the loss is told', WITHIN_MS, () => lost() > before);
  await expect(watch.ping()).rejects.toThrow();
  await victim?.restart({ keepData: true });
  await service.healthy();
  await until('the watch is whole again', WITHIN_MS, async () => {
    await watch.ping();
    return true;
  });
  told.length = 0;
  await setValue(cache, keys[1] ?? '', 8);
  await watch.ping();
  expect(told).toContain(keys[1]);
  await watch.close();
  await cache.close();
});
