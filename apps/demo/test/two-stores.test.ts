import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { startMongo, startPostgres } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { postgresStore } from '@lockstep/store-postgres';
import knex from 'knex';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { until } from './support/demo.js';

test('one application uses both stores, a collection each, and one relay brings both in step (G6)', async () => {
  await using postgres = await startPostgres();
  await using mongod = await startMongo();
  const sql = knex({ client: 'pg', connection: postgres.url });
  const client = new MongoClient(mongod.url);
  const pg = postgresStore({ knex: sql });
  const mongo = mongoStore({ client, db: client.db() });
  try {
    await sql.raw('create table orders (id text primary key, total integer not null)');
    const table = pg.table<{ id: string; total: number }>('orders', { key: 'id' });
    await pg.attach(table);
    const documents = client.db().collection<{ _id: string; name: string }>('users');
    await documents.insertOne({ _id: 'ada', name: 'Ada' });
    const bound = mongo.collection<{ _id: string; name: string }, string>('users');
    await mongo.attach(bound);

    await using lockstep = createLockstep({ cache: memoryCache() });
    const orders = lockstep.collection({ name: 'orders', store: table });
    const users = lockstep.collection({ name: 'users', store: bound });
    const relay = lockstep.startRelay();
    await orders.put('1', { id: '1', total: 10 });
    expect(await orders.get('1')).toMatchObject({ total: 10 });
    expect(await users.get('ada')).toMatchObject({ name: 'Ada' });

    await sql('orders').where({ id: '1' }).update({ total: 20 });
    await documents.updateOne({ _id: 'ada' }, { $set: { name: 'Lovelace' } });
    await until(async () => (await orders.get('1'))?.total === 20, 60_000, 'the row’s change');
    await until(async () => (await users.get('ada'))?.name === 'Lovelace', 60_000, 'the document’s change');
    await relay.stop();
  } finally {
    await mongo.close();
    await client.close();
    await sql.destroy();
  }
});
