import { startProxy } from '@lockstep/dev-services';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { mongoStore } from '../src/store.js';
import { CALL, testServer } from './support/server.js';

const server = testServer();

/** The driver (mongodb 7.9) hands the loss of a connection on as an error of the bulk write, which has no code. */
test('a batch of puts whose connection is lost may be written: it is not taken for refused, nor sent again', async () => {
  await using proxy = await startProxy({ target: server.service.url });
  const url = new URL(proxy.url);
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  url.searchParams.set('retryWrites', 'false');
  await using client = new MongoClient(url.href, { monitorCommands: true });
  const store = mongoStore({ client, db: server.service.databaseName });
  const things = store.collection<{ _id: string; n: number }>('things');
  await store.attach([things]);
  await things.open();
  let sent = 0;
  client.on('commandStarted', ({ commandName }) => {
    if (commandName !== 'update') return;
    sent++;
    if (sent === 1) proxy.cutAfter(0, 'reply');
  });
  const puts = ['a', 'b'].map((key) => ({ kind: 'put', key, value: { _id: key, n: 1 }, above: 0 }) as const);
  const lost = { code: 'LOCKSTEP_STORE_UNAVAILABLE', outcome: 'unknown' };
  await expect(things.write(puts, CALL)).rejects.toMatchObject(lost);
  expect(sent).toBe(1);
  await store.close();
});
