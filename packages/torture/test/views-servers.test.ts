import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { memoryQueue } from '@lockstep/core/memory';
import { startMongo, startPostgres, startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Category, ViewRow } from '../src/views/rows.js';
import { openViewsStore } from '../src/views/stores/open.js';
import type { ViewsStore } from '../src/views/stores/store.js';

const PREFIX = 'views';
const SERVERS = { postgres: startPostgres, mongo: startMongo } as const;

const row = (_id: string, category: string): ViewRow => ({ _id, category, shelf: 0, ref: '', token: _id });

describe.for(['postgres', 'mongo'] as const)('views over %s and Redis', (name) => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let server: { readonly url: string; stop(): Promise<void> };
  let store: ViewsStore;
  let admin: Redis;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    [redis, server] = await Promise.all([startRedis({ owned: true }), SERVERS[name]()]);
    store = await openViewsStore(name, server.url);
    await store.prepare([row('seed', 'seed')]);
    admin = new Redis(redis.url);
    admin.on('error', () => undefined);
  }, 300_000);

  afterAll(async () => {
    for (const close of closing) await close();
    admin.disconnect();
    await store.close();
    await Promise.all([redis.stop(), server.stop()]);
  });

  /** A process. Nobody runs the jobs of its queue. */
  function open() {
    const cache = redisCache({ url: redis.url });
    const lockstep = createLockstep({ cache, prefix: PREFIX, queue: memoryQueue(), cacheTimeoutMs: 5_000 });
    closing.push(() => lockstep.close());
    const rows = lockstep.collection<ViewRow>({ name: 'rows', store: store.adapter, tags: ['category'] });
    const loads: string[] = [];
    const lists = lockstep.view<string, string[]>({
      name: 'lists',
      load: async (category, { client }) => {
        loads.push(category);
        return await idsOf(category, client);
      },
      dependsOn: (category) => rows.where({ category }),
    });
    return { lockstep, rows, lists, loads };
  }

  async function idsOf(category: string, client: unknown): Promise<string[]> {
    return (await store.find({ view: 'category', category: category as Category }, client))
      .map(({ _id }) => _id)
      .sort();
  }

  /** Reads until it loads nothing: a process caches nothing before all others know of it. */
  async function cached<Value>(
    { loads, lockstep }: Pick<ReturnType<typeof open>, 'loads' | 'lockstep'>,
    read: () => Promise<Value>,
  ): Promise<Value> {
    for (;;) {
      loads.length = 0;
      const value = await read();
      if (loads.length === 0) return value;
      await lockstep.drain();
    }
  }

  test('a cache that comes back from an older dump brings back old tokens, and no list of before', async () => {
    const before = open();
    await before.rows.put('a', row('a', 'x'));
    const list = (): Promise<string[]> => before.lists.get('x');
    expect(await cached(before, list)).toEqual(['a']);
    await admin.call('SAVE');
    const keys = (await admin.keys(`${PREFIX}:*`)).filter((key) => /%[vt]:/.test(key)).sort();
    const dumped = await admin.mget(keys);
    await before.rows.put('b', row('b', 'x'));
    expect(await cached(before, list)).toEqual(['a', 'b']);
    expect(await admin.mget(keys)).not.toEqual(dumped);

    await redis.process?.kill();
    await redis.process?.restart();
    expect(keys.some((key) => key.includes('%v:')) && keys.some((key) => key.includes('where:'))).toBe(true);
    expect(await admin.mget(keys)).toEqual(dumped);
    // Who comes knows no other generation; who was there takes the old one for the present one for a second.
    expect(await open().lists.get('x')).toEqual(['a', 'b']);
    while ((await list()).length < 2);
    expect(await cached(before, list)).toEqual(['a', 'b']);
  });

  test('what loads find is taken in: at most three loads more, or nothing is cached', async () => {
    const process = open();
    const { loads, lockstep, rows } = process;
    const ids = ['1', '2', '3', '4', '5', '6'].map((n) => `found-${n}`);
    for (const id of ids) await rows.put(id, row(id, 'found'));
    const errors: string[] = [];
    lockstep.events.on('error', ({ error }) => void errors.push(String(error)));
    // Each load finds one row more, up to so many.
    const growing = lockstep.view<number, string[]>({
      name: 'growing',
      load: async (most, { client }) => {
        loads.push('growing');
        return (await idsOf('found', client)).slice(0, Math.min(most, loads.length));
      },
      dependsOn: (_, found = []) => [rows.id('seed'), ...found.map((id) => rows.id(id))],
    });
    expect(await cached(process, () => growing.get(3))).toEqual(ids.slice(0, 3));
    expect(errors).toEqual([]);
    await rows.patch('found-3', { token: 'changed' });
    loads.length = 0;
    await growing.get(3);
    expect(loads.length).toBeGreaterThan(0);

    for (let i = 0; i < 2; i++) {
      await lockstep.drain();
      loads.length = 0;
      expect(await growing.get(6)).toEqual(ids.slice(0, 4));
      expect(loads.length).toBe(4);
    }
    expect(errors.at(-1)).toContain('dependsOn named more after each of 4 loads: nothing is cached');
  });

  test('with flushFirst a list has a buffered write once it is acknowledged', async () => {
    const { lockstep } = open();
    const buffered = lockstep.collection<ViewRow>({
      name: 'buffered',
      store: store.adapter,
      tags: ['category'],
      strategy: 'write-behind',
      burst: { maxClockSkewMs: 0 },
    });
    const listOf = (view: string, flushFirst: boolean) =>
      lockstep.view<string, string[]>({
        name: view,
        flushFirst,
        load: (category, { client }) => idsOf(category, client),
        dependsOn: (category) => buffered.where({ category }),
      });
    const [flushing, usual] = [listOf('flushing', true), listOf('usual', false)];
    // Only what stands on a cached row is buffered, and nothing is cached before all who write know of it.
    while ((await buffered.put('f', row('f', 'flushed'))).store !== 'buffered') {
      await buffered.get('f');
      await lockstep.drain();
    }
    await buffered.flush();
    expect(await flushing.get('buffered')).toEqual([]);
    expect(await usual.get('buffered')).toEqual([]);
    await lockstep.drain();
    const written = await buffered.put('f', row('f', 'buffered'));
    expect(written).toMatchObject({ store: 'buffered', cache: 'updated' });
    expect(await idsOf('buffered', undefined)).toEqual([]);
    expect(await usual.get('buffered')).toEqual([]);
    expect(await flushing.get('buffered')).toEqual(['f']);
    expect(await usual.get('buffered')).toEqual(['f']);
  });
});
