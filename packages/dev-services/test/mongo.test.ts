import { afterEach, describe, expect, test, vi } from 'vitest';
import { startMongo } from '../src/index.js';
import { withMongo } from './clients.js';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('MongoDB', () => {
  test('a replica set of one has change streams and transactions, and survives its step-down', async () => {
    await using service = await startMongo({ members: 1 });
    await withMongo(service.url, async (client) => {
      const collection = client.db().collection('items');
      await collection.insertOne({ name: 'first' });
      const stream = collection.watch();
      try {
        const next = stream.next();
        await client.withSession((session) =>
          session.withTransaction(() =>
            collection.updateOne({ name: 'first' }, { $set: { seen: true } }, { session }),
          ),
        );
        expect(await next).toMatchObject({ operationType: 'update' });
        await service.stepDown();
        await collection.insertOne({ name: 'second' });
        expect(await stream.next()).toMatchObject({
          operationType: 'insert',
          fullDocument: { name: 'second' },
        });
      } finally {
        await stream.close();
      }
    });
  });

  test('a set of three elects another primary after a step-down, and again after kill -9', async () => {
    await using service = await startMongo({ members: 3 });
    const first = await service.primary();
    await service.stepDown();
    const second = await service.primary();
    expect(second.pid).not.toBe(first.pid);
    await second.kill();
    const third = await service.primary();
    expect(third.pid).not.toBe(second.pid);
    await second.restart();
    await withMongo(service.url, async (client) => {
      const { insertedId } = await client
        .db()
        .collection('items')
        .insertOne({ name: 'kept' }, { writeConcern: { w: 3, wtimeoutMS: 30_000 } });
      expect(insertedId).toBeDefined();
    });
  });

  test('a standalone server says that it has no change streams', async () => {
    await using service = await startMongo({ standalone: true });
    expect(service.replicaSet).toBeUndefined();
    await withMongo(service.url, async (client) => {
      const stream = client.db().collection('items').watch();
      await expect(stream.next()).rejects.toThrow(/replica set/);
      await stream.close();
    });
    await expect(service.stepDown()).rejects.toMatchObject({ code: 'DEV_SERVICES_INVALID_OPTION' });
  });

  test('takes a database of its own on the servers of MONGO_URL, and leaves none there', async () => {
    await using server = await startMongo({ owned: true });
    vi.stubEnv('MONGO_URL', server.url);
    const shared = await startMongo();
    expect(shared).toMatchObject({ origin: 'env', members: [], replicaSet: 'lockstep' });
    await withMongo(shared.url, (client) => client.db().collection('items').insertOne({ name: 'mine' }));
    await expect(shared.stepDown()).rejects.toMatchObject({ code: 'DEV_SERVICES_NOT_OWNED' });
    await shared.stop();
    const databases = await withMongo(server.url, (client) => client.db().admin().listDatabases());
    expect(databases.databases.map(({ name }) => name)).not.toContain(shared.databaseName);
  });
});
