import { startProxy } from '@lockstep/dev-services';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { mongoStore } from '../src/store.js';
import { Consumer, until } from './support/consumer.js';
import { CALL, testServer } from './support/server.js';

const server = testServer();

test('a read of the feed that hangs is left for another, long before the driver gives up (G4)', async () => {
  await using proxy = await startProxy({ target: server.service.url });
  const url = new URL(proxy.url);
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  await using client = new MongoClient(url.href);
  const feed = { leaseMs: 400, readTimeoutMs: 300 };
  const store = mongoStore({ client, db: server.service.databaseName, feed });
  const direct = await server.store();
  const things = direct.collection<{ _id: string; n: number }>('things');
  await direct.attach([things]);
  await store.collection('things').open?.();
  const consumer = new Consumer(store.feed, [things.source]);
  const put = async (n: number): Promise<number> => {
    const command = { kind: 'put', key: 'a', value: { _id: 'a', n }, above: 0 } as const;
    const [outcome] = await things.write([command], CALL);
    return outcome?.kind === 'written' ? outcome.version : 0;
  };
  await consumer.tookAbove('a', (await put(1)) - 1);
  expect(consumer.errors).toEqual([]);
  // What is there stays open, and nobody answers on it; what is opened now is answered.
  proxy.halfOpen();
  await consumer.tookAbove('a', (await put(2)) - 1, 20_000);
  const hung = await until(() => consumer.errors.find((error) => String(error).includes('change stream')));
  expect(hung).toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
  await consumer.stop();
  await store.close();
});
