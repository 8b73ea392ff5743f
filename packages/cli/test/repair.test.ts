import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redisCache } from '@lockstep/cache-redis';
import { createLockstep, type Lockstep } from '@lockstep/core';
import { startMongo, startPostgres, startRedis } from '@lockstep/dev-services';
import { mongoStore } from '@lockstep/store-mongo';
import { postgresStore } from '@lockstep/store-postgres';
import knexPackage, { type Knex } from 'knex';
import { Long, MongoClient } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run.js';

// In this package's folder, so that a configuration finds what it imports.
const folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.repair-'));
/** A version of the year 2255. */
const FUTURE = 9_000_000_000_000_000;

interface Product {
  readonly id: number;
  readonly name: string;
}

interface Review {
  readonly _id: string;
  readonly text: string;
}

let services: readonly [
  Awaited<ReturnType<typeof startPostgres>>,
  Awaited<ReturnType<typeof startRedis>>,
  Awaited<ReturnType<typeof startMongo>>,
];
let knex: Knex;
let client: MongoClient;
let lockstep: Lockstep;

beforeAll(async () => {
  services = await Promise.all([startPostgres(), startRedis({ owned: true }), startMongo()]);
  const [postgres, redis, mongo] = services;
  knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 4 } });
  client = new MongoClient(mongo.url);
  await knex.raw('CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL)');
  writeFileSync(
    join(folder, 'lockstep.config.ts'),
    `import { redisCache } from '@lockstep/cache-redis';
    import { createLockstep } from '@lockstep/core';
    import { mongoStore } from '@lockstep/store-mongo';
    import { postgresStore } from '@lockstep/store-postgres';
    import knexPackage from 'knex';
    import { MongoClient } from 'mongodb';
    const knex = knexPackage({ client: 'pg', connection: '${postgres.url}', pool: { min: 0, max: 4 } });
    const client = new MongoClient('${mongo.url}');
    export default {
      lockstep: () => {
        const lockstep = createLockstep({ cache: redisCache({ url: '${redis.url}' }), prefix: 'r' });
        const store = postgresStore({ knex }).table('products', { key: 'id' });
        lockstep.collection({ name: 'products', store });
        const mongo = mongoStore({ client, db: client.db('${mongo.databaseName}') });
        lockstep.collection({ name: 'reviews', store: mongo.collection('reviews') });
        return lockstep;
      },
      close: () => Promise.all([knex.destroy(), client.close()]),
    };`,
  );
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await lockstep?.close();
  await knex?.destroy();
  await client?.close();
  await Promise.all(services?.map((service) => service.stop()) ?? []);
});

test('repair mends versions that nobody believes, in rows, tombstones and feed of both stores, and their entries', async () => {
  const [, redis, { databaseName }] = services;
  const postgres = postgresStore({ knex });
  const table = postgres.table<Product, number>('products', { key: 'id' });
  await postgres.attach(table);
  const db = client.db(databaseName);
  const mongo = mongoStore({ client, db });
  const documents = mongo.collection<Review>('reviews');
  await mongo.attach(documents);
  lockstep = createLockstep({ cache: redisCache({ url: redis.url }), prefix: 'r' });
  const products = lockstep.collection({ name: 'products', store: table });
  const reviews = lockstep.collection({ name: 'reviews', store: documents });
  for (const id of [1, 2]) await products.put(id, { id, name: 'lamp' });
  await reviews.put('a', { _id: 'a', text: 'bright' });

  await knex.raw('ALTER TABLE products DISABLE TRIGGER ALL');
  await knex.raw(`UPDATE products SET lockstep_version = ${FUTURE}, name = 'poisoned' WHERE id = 1`);
  await knex.raw('ALTER TABLE products ENABLE TRIGGER ALL');
  await knex.raw(`INSERT INTO lockstep.tombstone VALUES ('public.products', '50', ${FUTURE})`);
  await knex.raw(
    `INSERT INTO lockstep.outbox (version, source, key, op) VALUES (${FUTURE}, 'public.products', '9', 'p')`,
  );
  const poisoned = { $set: { _lockstep: Long.fromNumber(FUTURE), text: 'poisoned' } };
  await db.collection<Review>('reviews').updateOne({ _id: 'a' }, poisoned);

  const asked = await runCli(['repair'], { cwd: folder });
  expect(asked).toMatchObject({ code: 2, err: expect.stringContaining('--yes') });

  const { code, err, out } = await runCli(['--json', 'repair', '--yes', '--lag', '1'], { cwd: folder });
  expect(err).toBe('');
  expect(JSON.parse(out)).toMatchObject({
    store: [
      { source: 'public.products', rows: 1, tombstones: 1, changes: 1, keys: expect.arrayContaining(['1']) },
      { source: `${databaseName}.reviews`, rows: 1, tombstones: 0, changes: 0, keys: ['a'] },
    ],
    cache: [
      { collection: 'products', stale: 0, ahead: 0 },
      { collection: 'reviews', stale: 0, ahead: 0 },
    ],
  });
  expect(code).toBe(1);
  // No relay runs: the entries were made unreadable here.
  expect(await products.get(1)).toMatchObject({ name: 'poisoned' });
  expect(await reviews.get('a')).toMatchObject({ text: 'poisoned' });
  expect(await products.put(1, { id: 1, name: 'mended' })).toMatchObject({ cache: 'updated' });
  const again = await runCli(['repair', '--yes', '--lag', '1'], { cwd: folder });
  expect(again.out).toMatch(/public\.products +0 +0 +0/);
  expect(again.code).toBe(0);
});

test('repair mends each of two databases that have a table of one name', async () => {
  const [postgres, redis] = services;
  await knex.raw('CREATE DATABASE other');
  const other = Object.assign(new URL(postgres.url), { pathname: '/other' }).href;
  await using second = Object.assign(knexPackage({ client: 'pg', connection: other }), {
    [Symbol.asyncDispose]: () => second.destroy(),
  });
  for (const each of [knex, second]) {
    await each.raw('CREATE TABLE boxes (id int PRIMARY KEY)');
    const store = postgresStore({ knex: each });
    await store.attach(store.table('boxes', { key: 'id' }));
    await each.raw('INSERT INTO boxes VALUES (1); ALTER TABLE boxes DISABLE TRIGGER ALL');
    await each.raw(`UPDATE boxes SET lockstep_version = ${FUTURE}; ALTER TABLE boxes ENABLE TRIGGER ALL`);
  }
  const config = join(folder, 'two.config.ts');
  writeFileSync(
    config,
    `import { redisCache } from '@lockstep/cache-redis';
    import { createLockstep } from '@lockstep/core';
    import { postgresStore } from '@lockstep/store-postgres';
    import knexPackage from 'knex';
    const both = ${JSON.stringify([postgres.url, other])}.map((connection) => knexPackage({ client: 'pg', connection }));
    export default {
      lockstep: () => {
        const lockstep = createLockstep({ cache: redisCache({ url: '${redis.url}' }), prefix: 'two' });
        for (const [index, knex] of both.entries()) {
          const store = postgresStore({ knex }).table('boxes', { key: 'id' });
          lockstep.collection({ name: 'boxes' + index, store });
        }
        return lockstep;
      },
      close: () => Promise.all(both.map((knex) => knex.destroy())),
    };`,
  );
  const { err, out } = await runCli(['--json', '--config', config, 'repair', '--yes'], { cwd: folder });
  expect(err).toBe('');
  const mended = { source: 'public.boxes', rows: 1, keys: ['1'] };
  expect(JSON.parse(out)).toMatchObject({ store: [mended, mended] });
});
