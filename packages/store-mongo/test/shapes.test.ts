import { type CacheAdapter, type CollectionOptions, createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import type { Document } from 'mongodb';
import { afterEach, describe, expect, test } from 'vitest';
import { type SourceDocument, SourceRecords } from '../src/install/records.js';
import { until } from './support/consumer.js';
import { testServer } from './support/server.js';

interface User extends Document {
  readonly _id: string;
  readonly name: string;
  readonly plan?: string;
  readonly n?: number;
}

type Options = Partial<CollectionOptions<User, string>>;

const server = testServer();
const closing: (() => Promise<void>)[] = [];
let names = 0;

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A process of a release that gives its documents this shape. */
async function processOn(cache: CacheAdapter, name: string, shape: string | undefined, options: Options) {
  const store = await server.store({ client: await server.client() });
  const binding = store.collection<User>(name, shape === undefined ? {} : { shape });
  const lockstep = createLockstep({ cache });
  const users = lockstep.collection({ name: 'users', store: binding, ...options });
  const misses: string[] = [];
  lockstep.events.on('miss', ({ reason }) => void misses.push(reason));
  closing.push(() => lockstep.close());
  await binding.open();
  /** Reads until what it fills is there; gives the read's misses. */
  const read = async (key: string) => {
    misses.splice(0);
    const value = await users.get(key);
    await lockstep.drain();
    return { value, missed: misses.splice(0) };
  };
  return { binding, lockstep, users, misses, read, store };
}

/** A collection of nine users, attached. */
async function world() {
  const name = `users_${++names}`;
  const client = await server.client();
  const store = await server.store({ client });
  const raw = client.db(server.service.databaseName).collection<User>(name);
  await raw.insertMany(Array.from({ length: 9 }, (_, at) => ({ _id: String(at), name: 'a' })));
  await store.attach(store.collection(name));
  const cache = memoryCache();
  return {
    raw,
    store,
    release: (shape?: string, options: Options = {}) => processOn(cache, name, shape, options),
  };
}

describe.each([
  ['BSON', {}],
  ['MessagePack', { serializer: msgpackSerializer() }],
  ['a buffer', { strategy: 'write-behind' }],
] as const)('%s', (_, options: Options) => {
  test('two releases side by side, forwards and back: each sees what it needs, and neither evicts the other for ever', async () => {
    const at = await world();
    const one = await at.release('v1', options);
    expect(await one.read('1')).toEqual({ value: { _id: '1', name: 'a' }, missed: ['absent'] });
    expect((await one.read('1')).missed).toEqual([]);
    // The documents are changed behind everybody's back, as a migration would; no relay tells.
    await at.raw.updateMany({}, { $set: { plan: 'free' } });
    const two = await at.release('v2', options);
    expect(await two.read('1')).toEqual({ value: { _id: '1', name: 'a', plan: 'free' }, missed: ['shape'] });
    for (let round = 0; round < 3; round += 1) {
      expect(await one.read('1')).toMatchObject({ value: { plan: 'free' }, missed: ['shape'] });
      expect(await two.read('1')).toMatchObject({ value: { plan: 'free' }, missed: [] });
    }
    // What the earlier writes is newer: the later takes it over once.
    await one.users.put('1', { _id: '1', name: 'b', plan: 'free' });
    expect(await two.read('1')).toEqual({ value: { _id: '1', name: 'b', plan: 'free' }, missed: ['shape'] });
    expect((await two.read('1')).missed).toEqual([]);
    expect(await one.read('1')).toMatchObject({ value: { name: 'b' }, missed: ['shape'] });
    // Back again: what the later has left stays until it is written, or expires; nobody reads it as its own.
    const back = await at.release('v1', options);
    expect(await back.read('1')).toMatchObject({ value: { name: 'b' }, missed: ['shape'] });
    await back.users.update('1', (user) => ({ ...(user as User), name: 'c' }));
    expect(await back.read('1')).toMatchObject({ value: { name: 'c', plan: 'free' }, missed: [] });
    expect(await one.read('1')).toMatchObject({ value: { name: 'c' }, missed: [] });
    // And a release that has no shape leaves the others' as they are.
    const none = await at.release(undefined, options);
    expect(await none.read('1')).toMatchObject({ value: { name: 'c' }, missed: ['shape'] });
    expect((await back.read('1')).missed).toEqual([]);
    await none.users.put('1', { _id: '1', name: 'd' });
    expect(await back.read('1')).toMatchObject({ value: { name: 'd' }, missed: ['shape'] });
    expect((await back.read('1')).missed).toEqual([]);
    for (const { users } of [one, two, back, none]) await users.flush();
    expect(await at.raw.findOne({ _id: '1' })).toMatchObject({ name: 'd' });
  });

  test('readers and writers of two releases lose nothing, and read nothing old', async () => {
    const at = await world();
    const releases = [await at.release('v1', options), await at.release('v2', options)];
    const keys = ['1', '2', '3'];
    const acknowledged = new Map<string, number>();
    await Promise.all(
      keys.map(async (key, place) => {
        for (let n = 1; n <= 40; n += 1) {
          const [writer, reader] = n % 2 === place % 2 ? releases : releases.toReversed();
          if (n % 3 === 0) await writer?.users.update(key, (user) => ({ ...(user as User), n }));
          else await writer?.users.put(key, { _id: key, name: 'a', n });
          acknowledged.set(key, n);
          const seen = await Promise.all([reader?.users.get(key), writer?.users.get(key)]);
          expect(seen.map((user) => user?.n)).toEqual([n, n]);
        }
      }),
    );
    for (const { users } of releases) await users.flush();
    for (const key of keys) expect((await at.raw.findOne({ _id: key }))?.n).toBe(acknowledged.get(key));
  });
});

test('shapes are numbered as they come: the later of two is the one that came later, whatever its name', async () => {
  const at = await world();
  const ten = await at.release('v10');
  const nine = await at.release('v9');
  expect([ten, nine].map(({ binding }) => binding.shape?.current())).toEqual([
    { order: 1, name: 'v10' },
    { order: 2, name: 'v9' },
  ]);
  const many = await Promise.all(['a', 'b', 'a', 'b', 'a', 'v10'].map((shape) => at.release(shape)));
  const orders = many.map(({ binding }) => binding.shape?.current()?.order);
  expect([orders[0], orders[1]].sort()).toEqual([3, 4]);
  expect(orders).toEqual([orders[0], orders[1], orders[0], orders[1], orders[0], 1]);
  await nine.read('1');
  expect((await ten.read('1')).missed).toEqual(['shape']);
  expect((await nine.read('1')).missed).toEqual([]);
});

test('a shape without a number, as before open, takes nothing from the cache; one that can’t be is refused', async () => {
  const at = await world();
  const store = await server.store();
  const name = at.raw.collectionName;
  expect(store.collection(name, { shape: 'v1' }).shape?.current()).toBeUndefined();
  for (const shape of ['', 'a b', 'x'.repeat(65), 7 as never, 'a~']) {
    expect(() => store.collection(name, { shape })).toThrow(/^collection\("users_\d+"\)\.shape: /);
  }
});

test('of very many shapes the oldest are forgotten, and the numbers of others stay', async () => {
  const client = await server.client();
  const raw = client.db(server.service.databaseName).collection<SourceDocument>('numbers');
  const records = new SourceRecords(raw);
  await records.claim({ source: 'shop.users', keyField: '_id', versionField: 'v' }, async () => false);
  for (let n = 1; n <= 300; n += 1) expect(await records.numberOf('shop.users', `s${n}`)).toBe(n);
  expect(await records.numberOf('shop.users', 's300')).toBe(300);
  expect(await records.numberOf('shop.users', 's45')).toBe(45);
  expect(await records.numberOf('shop.users', 's1')).toBe(301);
  expect((await raw.findOne())?.shapes).toHaveLength(256);
  await expect(records.numberOf('shop.others', 's1')).rejects.toThrow(/not attached/);
});

test('a relay brings entries of every shape in step (G6)', async () => {
  const at = await world();
  const one = await at.release('v1');
  const two = await at.release('v2');
  const relay = two.lockstep.startRelay();
  await one.read('1');
  await two.read('2');
  await at.raw.updateMany({}, { $set: { plan: 'pro' } });
  for (const key of ['1', '2']) {
    await until(async () => ((await one.users.get(key))?.plan === 'pro' ? true : undefined));
    await until(async () => ((await two.users.get(key))?.plan === 'pro' ? true : undefined));
  }
  await relay.stop();
});
