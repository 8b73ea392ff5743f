import type { Document } from 'mongodb';
import { expect, test } from 'vitest';
import type { MongoStore } from '../src/store.js';
import { Consumer } from './support/consumer.js';
import { CALL, testServer } from './support/server.js';

const server = testServer();

async function setUp(name: string) {
  const store = await server.store({ feed: { leaseMs: 400 } });
  const things = store.collection<Document, string>(name);
  await store.attach([things]);
  const put = async (key: string): Promise<number> => {
    const [outcome] = await things.write([{ kind: 'put', key, value: { _id: key }, above: 0 }], CALL);
    if (outcome?.kind !== 'written') throw new Error('not written');
    return outcome.version;
  };
  return { store, source: things.source, put };
}

/** A reader on behalf of a cache that is recorded here and now. */
async function recorded({ feed }: MongoStore, source: string, consumer: string): Promise<Consumer> {
  const collection = {
    name: 'things',
    source,
    keyPrefix: `${consumer}:`,
    holeTtlMs: 1_000,
    holeOnEmpty: false,
  };
  const [state] = await feed.registry.register(consumer, [collection]);
  return new Consumer(feed, [source], {
    claimant: { consumer, state: () => state, differs: async () => {} },
  });
}

test('a cache that is recorded for the first time begins there: what was before can’t be in it', async () => {
  const { store, source, put } = await setUp('anew');
  await put('before');
  const reader = await recorded(store, source, 'first');
  const after = await put('after');
  await reader.tookAbove('after', after - 1);
  expect(reader.newest('before')).toBeUndefined();
  await reader.stop();
});

test('where a reader without a consumer has been, what it left is not passed over (G4)', async () => {
  const { store, source, put } = await setUp('handed on');
  const nameless = new Consumer(store.feed, [source]);
  const taken = await put('taken');
  await nameless.tookAbove('taken', taken - 1);
  await nameless.stop();
  const left = await put('left');
  const reader = await recorded(store, source, 'next');
  await reader.tookAbove('left', left - 1);
  await reader.stop();
});

test('a source that is recorded while its cache is switched off is so, too, and no other cache', async () => {
  const [one, two] = [await setUp('one'), await setUp('two')];
  const { registry } = one.store.feed;
  const ofOne = { name: 'one', source: one.source, keyPrefix: 'k:', holeTtlMs: 1_000, holeOnEmpty: false };
  const ofTwo = { ...ofOne, name: 'two', source: two.source };
  await registry.register('on', [ofOne, ofTwo]);
  await registry.register('off', [ofOne]);
  expect(await registry.switch('off', true)).toEqual([one.source]);
  expect(await registry.register('off', [ofTwo])).toMatchObject([{ switchedOff: true }]);
  const on = await registry.read('on', [one.source, two.source]);
  expect(on.map(({ switchedOff }) => switchedOff)).toEqual([false, false]);
  expect((await registry.switch('off', false)).toSorted()).toEqual([one.source, two.source].toSorted());
  const off = await registry.read('off', [one.source, two.source]);
  expect(off.map(({ switchedOff }) => switchedOff)).toEqual([false, false]);
});
