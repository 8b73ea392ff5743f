import { startProxy, type TcpProxy } from '@lockstep/dev-services';
import { type Document, MongoClient } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { mongoStore } from '../src/store.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

/** Between these, a statement that is late may still run, by its own count, when its caller has gone. */
const TIMEOUT_MS = 600;
const LATE_MS = 250;

const server = testServer();
let proxy: TcpProxy;
let client: MongoClient;
/** Behind the proxy. */
let things: MongoCollection<Document, string>;
let direct: MongoCollection<Document, string>;
let raw: ReturnType<MongoClient['db']>;

beforeAll(async () => {
  proxy = await startProxy({ target: server.service.url });
  const url = new URL(proxy.url);
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  client = new MongoClient(url.href, { monitorCommands: true });
  const options = { client, db: server.service.databaseName };
  const store = await server.store();
  direct = store.collection<Document, string>('things');
  await store.attach([direct]);
  things = mongoStore(options).collection<Document, string>('things');
  await things.open();
  raw = (await server.client()).db(server.service.databaseName);
});

afterAll(async () => {
  await client.close();
  await proxy.stop();
});

test.each([
  ['put', (key: string) => [{ kind: 'put', key, value: { _id: key, n: 9 }, above: 0 }] as const],
  ['patch', (key: string) => [{ kind: 'patch', key, set: { n: 9 }, above: 0 }] as const],
  ['increment', (key: string) => [{ kind: 'increment', key, field: 'n', by: 9, above: 0 }] as const],
  [
    'batch',
    (key: string) =>
      [
        { kind: 'put', key, value: { _id: key, n: 9 }, above: 0 },
        { kind: 'put', key: `${key} too`, value: { _id: `${key} too`, n: 9 }, above: 0 },
      ] as const,
  ],
])(
  'a %s that came late, and waits for its row, is over when its caller’s time is',
  async (kind, commands) => {
    const key = kind;
    for (const _id of [key, `${key} too`]) {
      await direct.write([{ kind: 'put', key: _id, value: { _id, n: 1 }, above: 0 }], CALL);
    }
    const session = raw.client.startSession();
    session.startTransaction();
    await raw
      .collection<Document>('things')
      .updateOne({ _id: key as never }, { $set: { n: 2 } }, { session });
    proxy.delay(LATE_MS, 'request');
    const [outcome] = await things
      .write(commands(key), { timeoutMs: TIMEOUT_MS })
      .catch((error: unknown) => [{ kind: 'failed', error }] as const);
    expect(outcome).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_TIMEOUT' } });
    proxy.delay(0);
    await session.abortTransaction();
    await session.endSession();
    // Whatever waited for the row comes before this.
    await direct.write([{ kind: 'patch', key, set: { seen: true }, above: 0 }], CALL);
    const [row] = await direct.read([key], PRIMARY);
    expect(row?.value).toEqual({ _id: key, n: 1, seen: true });
  },
);

test('a write that came too late to begin is sent again while its caller waits', async () => {
  await direct.write([{ kind: 'put', key: 'again', value: { _id: 'again', n: 1 }, above: 0 }], CALL);
  let refusals = 0;
  client.once('commandFailed', () => {
    refusals += 1;
    proxy.delay(0);
  });
  proxy.delay(LATE_MS, 'request');
  const patch = { kind: 'patch', key: 'again', set: { n: 2 }, above: 0 } as const;
  const outcomes = await things.write([patch], { timeoutMs: 3 * LATE_MS });
  expect(outcomes).toMatchObject([{ kind: 'written', value: { n: 2 } }]);
  expect(refusals).toBe(1);
});
