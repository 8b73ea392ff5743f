import { StoreTimeoutError } from '@lockstep/core';
import { startProxy } from '@lockstep/dev-services';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import type { Registry } from '../src/feed/registry.js';
import { mongoStore } from '../src/store.js';
import { testServer } from './support/server.js';

const server = testServer();

test('no statement of the feed waits for an answer without end', async () => {
  await using proxy = await startProxy({ target: server.service.url });
  const url = new URL(proxy.url);
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  await using client = new MongoClient(url.href);
  const store = mongoStore({ client, db: server.service.databaseName });
  const things = store.collection<{ _id: string; n: number }>('things');
  await store.attach([things]);
  await things.open();
  const { source } = things;
  const registry = store.feed.registry as Registry | undefined;
  if (registry === undefined) throw new Error('a feed without a registry');
  const recorded = { name: 'things', source, keyPrefix: 'x:', holeTtlMs: 1_000, holeOnEmpty: false };
  const [record] = await registry.register('one', [recorded]);
  const { epoch = 0, revision = 0 } = record ?? {};
  const epochs = new Map([[source, epoch]]);
  const state = { consumer: 'one', source, revision, epoch };
  const errors: unknown[] = [];
  const consuming = new AbortController();
  proxy.drop();
  const consumed = store.feed.consume(async () => {}, {
    sources: [source],
    signal: consuming.signal,
    onError: (error) => errors.push(error),
  });
  const statements: readonly (() => Promise<unknown>)[] = [
    () => registry.stands([state]),
    () => registry.register('two', [recorded]),
    () => registry.read('one', [source]),
    () => registry.observe('one', [source], 'identity'),
    () => registry.lease('one', epochs, 'holder', 1_000),
    () => registry.replayed('one', epochs, 'holder'),
    () => registry.release('one', 'holder'),
    () => registry.switch('one', true),
    () => store.feed.status([source]),
    () =>
      Promise.resolve(
        store.feed.replay?.(new Map(), async () => {}, { sources: [source], signal: consuming.signal }),
      ),
  ];
  const outcomes = await Promise.all(statements.map((send) => send().catch((error: unknown) => error)));
  for (const outcome of outcomes) expect(outcome).toBeInstanceOf(StoreTimeoutError);
  await expect.poll(() => errors[0]).toBeInstanceOf(StoreTimeoutError);
  consuming.abort();
  await consumed;
  await store.close();
  await proxy.heal();
}, 30_000);
