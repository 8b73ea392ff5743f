import { type CacheAdapter, createLockstep, jsonSerializer } from '@lockstep/core';
import { memoryDatabase, memoryStore } from '@lockstep/core/memory';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import {
  type RedisClusterService,
  type RedisService,
  startRedis,
  startRedisCluster,
} from '@lockstep/dev-services';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';

interface Product {
  readonly category: string;
  readonly name: string;
}

let single: RedisService;
let cluster: RedisClusterService;

beforeAll(async () => {
  [single, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
}, 120_000);
afterAll(() => Promise.all([single.stop(), cluster.stop()]));

const CACHES: readonly [string, () => CacheAdapter][] = [
  ['standalone', () => redisCache({ url: single.url })],
  [
    'in a cluster',
    () => redisCache({ cluster: { nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) } }),
  ],
];

describe.for(CACHES)('views, %s', ([name, cacheOf]) => {
  /** Two processes over one database and one cache. */
  function open() {
    const database = memoryDatabase({ name, feedGraceMs: 0 });
    const rows = memoryStore<Product>({ name: 'products', database });
    const loads: string[] = [];
    const process = () => {
      const lockstep = createLockstep({ cache: cacheOf(), prefix: `views ${name}`, cacheTimeoutMs: 10_000 });
      const products = lockstep.collection({ name: 'products', store: rows, tags: ['category'] });
      const lists = lockstep.view<string, string[]>({
        name: 'lists',
        load: async (category) => {
          loads.push(category);
          const found = await rows.read(rows.keys(), { timeoutMs: 10_000, primary: true });
          return found.flatMap((row) => (row?.value.category === category ? [row.value.name] : [])).sort();
        },
        dependsOn: (category) => products.where({ category }),
      });
      return { lockstep, products, lists };
    };
    return { one: process(), other: process(), loads };
  }

  test('are cached for all, and right for all after a write', async () => {
    const { loads, one, other } = open();
    const categories = Array.from({ length: 40 }, (_, i) => `c${i}`);
    await Promise.all(categories.map((category, i) => one.products.put(`${i}`, { category, name: `n${i}` })));
    const cached = async () => {
      const lists = await one.lists.getMany(categories);
      await one.lockstep.drain();
      return lists;
    };
    // A process caches nothing before all others know of it.
    while ((await cached()) && loads.length > 0) {
      loads.length = 0;
      await cached();
    }
    expect(await other.lists.getMany(categories)).toEqual(categories.map((_, i) => [`n${i}`]));
    expect(loads).toEqual([]);
    // Each row moves on by one.
    await Promise.all(
      categories.map((_, i) => other.products.patch(`${i}`, { category: `c${(i + 1) % categories.length}` })),
    );
    const moved = categories.map((_, i) => [`n${(i + categories.length - 1) % categories.length}`]);
    expect(await one.lists.getMany(categories)).toEqual(moved);
    await one.lockstep.drain();
    expect(await other.lists.getMany(categories)).toEqual(moved);
    expect(loads.length).toBe(categories.length);
    await Promise.all([one.lockstep.close(), other.lockstep.close()]);
  });

  test('are loaded once for the readers of two processes', async () => {
    const { loads, one, other } = open();
    await one.products.put('x', { category: 'x', name: 'x' });
    const reading = [one, other].flatMap(({ lists }) => Array.from({ length: 50 }, () => lists.get('x')));
    expect(new Set((await Promise.all(reading)).map(String))).toEqual(new Set(['x']));
    expect(loads.length).toBeGreaterThan(0);
    await Promise.all([one.lockstep.close(), other.lockstep.close()]);
  });

  test.for(['json', 'messagepack'])('tagged rows are ended in one step for all, as %s', async (format) => {
    const database = memoryDatabase({ name: `${name} ${format}`, feedGraceMs: 0 });
    const rows = memoryStore<Product>({ name: 'rows', database });
    const serializer = format === 'json' ? jsonSerializer() : msgpackSerializer();
    const process = () => {
      const prefix = `tagged ${name} ${format}`;
      const lockstep = createLockstep({ cache: cacheOf(), prefix, cacheTimeoutMs: 10_000 });
      const products = lockstep.collection({ name: 'rows', store: rows, tags: ['category'], serializer });
      return { lockstep, products };
    };
    const [one, other] = [process(), process()];
    const ids = Array.from({ length: 40 }, (_, i) => `${i}`);
    await one.products.putMany(ids.map((id) => [id, { category: `c${Number(id) % 4}`, name: id }]));
    const froms = async () =>
      (await Promise.all(ids.map((id) => other.products.getVersioned(id)))).map(({ from }) => from);
    // A process caches nothing before all others know of it.
    const cached = async () => {
      while (!(await froms()).every((from) => from === 'cache')) await other.lockstep.drain();
    };
    await cached();
    const ending = ['c1', 'c2'].map((category) => one.products.invalidateTag({ category }));
    expect(await Promise.all(ending)).toEqual(['invalidated', 'invalidated']);
    const ended = (await froms()).map((from, i) => [from, i % 4 === 1 || i % 4 === 2]);
    expect(new Set(ended.map(String))).toEqual(new Set(['store,true', 'cache,false']));
    await other.lockstep.drain();
    await cached();
    await one.products.put('0', { category: 'c3', name: 'moved' });
    await one.products.invalidateTag({ category: 'c0' });
    expect(await other.products.getVersioned('0')).toMatchObject({ value: { name: 'moved' }, from: 'cache' });
    await one.products.invalidateTag({ category: 'c3' });
    expect(await other.products.getVersioned('0')).toMatchObject({ value: { name: 'moved' }, from: 'store' });
    await Promise.all([one.lockstep.close(), other.lockstep.close()]);
  });
});
