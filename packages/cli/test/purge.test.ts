import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { redisCache } from '@lockstep/cache-redis';
import {
  type Collection,
  createLockstep,
  JobRefusedError,
  type Lockstep,
  type Relay,
  type View,
} from '@lockstep/core';
import { startPostgres, startRedis } from '@lockstep/dev-services';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import { Redis } from 'ioredis';
import knexPackage, { type Knex } from 'knex';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run.js';

// In this package's folder, so that a configuration finds what it imports.
const folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.purge-'));
const EMAIL = 'ada@example.org';

interface User {
  readonly id: number;
  readonly email: string;
}

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let redis: Awaited<ReturnType<typeof startRedis>>;
let client: Redis;
let knex: Knex;
let lockstep: Lockstep;
let relay: Relay;
let users: Collection<User, number, Knex.Transaction, ['email']>;
let emails: View<null, string[]>;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ owned: true })]);
  client = new Redis(redis.url);
  knex = knexPackage({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 6 } });
  await knex.raw('CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL UNIQUE)');
  const store = postgresStore({ knex });
  const table = store.table<User, number>('users', { key: 'id' });
  await store.attach(table, { unique: [['email']] });
  const cache = redisCache({ url: redis.url });
  lockstep = createLockstep({ cache, queue: bullmqQueue({ connection: { url: redis.url } }), prefix: 'p' });
  users = lockstep.collection({ name: 'users', store: table, unique: ['email'], tags: [] });
  emails = lockstep.view({
    name: 'emails',
    load: async () => (await knex('users').select('email')).map(({ email }) => email as string),
    dependsOn: () => users.any(),
  });
  relay = lockstep.startRelay();
  writeFileSync(
    join(folder, 'lockstep.config.ts'),
    `import { redisCache } from '@lockstep/cache-redis';
    import { createLockstep } from '@lockstep/core';
    import { bullmqQueue } from '@lockstep/queue-bullmq';
    import { postgresStore } from '@lockstep/store-postgres';
    import knexPackage from 'knex';
    const knex = knexPackage({ client: 'pg', connection: '${postgres.url}', pool: { min: 0, max: 4 } });
    export default {
      lockstep: () => {
        const cache = redisCache({ url: '${redis.url}' });
        const queue = bullmqQueue({ connection: { url: '${redis.url}' } });
        const lockstep = createLockstep({ cache, queue, prefix: 'p' });
        const store = postgresStore({ knex }).table('users', { key: 'id' });
        lockstep.collection({ name: 'users', store, unique: ['email'], tags: [] });
        return lockstep;
      },
      close: () => knex.destroy(),
    };`,
  );
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await relay?.stop();
  await lockstep?.close();
  await knex?.destroy();
  client?.disconnect();
  await Promise.all([postgres?.stop(), redis?.stop()]);
});

/** Leaves a dead letter about the row. */
async function failFor(key: string): Promise<void> {
  const queue = bullmqQueue({ connection: { url: redis.url } });
  const consumer = await queue.consume((job) => Promise.reject(new JobRefusedError('refused', job)));
  await queue.enqueue([{ kind: 'invalidate', key, version: 10 }]);
  await expect
    .poll(() => queue.status(), { timeout: 60_000 })
    .toMatchObject({ dead: 1, waiting: 0, active: 0 });
  await consumer.close();
  await queue.close();
}

/** All that Redis holds with the person's address in a key or a value. */
async function mentions(): Promise<string[]> {
  const keys = await client.keys('*');
  const found: string[] = [];
  for (const key of keys) {
    const text =
      (await client.type(key)) === 'string'
        ? await client.get(key)
        : JSON.stringify(await client.hgetall(key).catch(() => ''));
    if (text?.includes(EMAIL)) found.push(key);
  }
  return found;
}

test('purge removes the row, its entry, its pointer and what views show of it, and looks again', async () => {
  await users.put(1, { id: 1, email: EMAIL });
  await users.put(2, { id: 2, email: 'bob@example.org' });
  await users.get(1);
  expect(await users.getBy('email', EMAIL)).toMatchObject({ id: 1 });
  expect(await emails.get(null)).toContain(EMAIL);
  await expect.poll(mentions).toHaveLength(2);
  await failFor('p:users:1');

  const dry = await runCli(['--json', 'purge', 'users', '1', '--dry-run'], { cwd: folder });
  expect(JSON.parse(dry.out)).toMatchObject({
    found: {
      row: true,
      entries: ['p:users:1'],
      pointers: [expect.any(String)],
      views: [expect.any(String)],
      deadLetters: [expect.any(String)],
    },
    left: null,
  });
  expect(await users.get(1)).toMatchObject({ email: EMAIL });
  const asked = await runCli(['purge', 'users', '1'], { cwd: folder });
  expect(asked).toMatchObject({ code: 2, err: expect.stringContaining('--yes') });

  const { code, err, out } = await runCli(['--json', 'purge', 'users', '1', '--yes'], { cwd: folder });
  expect(err).toBe('');
  expect(JSON.parse(out)).toMatchObject({
    isClean: true,
    left: {
      row: false,
      entries: [],
      pointers: [],
      views: [],
      deadLetters: [],
      jobs: 0,
      feed: 0,
      tombstone: true,
    },
    unknown: expect.arrayContaining([expect.stringContaining('backups')]),
  });
  expect(code).toBe(0);
  expect(await mentions()).toEqual([]);
  expect(await users.get(1)).toBeUndefined();
  expect(await emails.get(null)).toEqual(['bob@example.org']);
  const again = await runCli(['purge', 'users', '1', '--yes'], { cwd: folder });
  expect(again.out).toContain('nothing of it is left');
  expect(again.code).toBe(0);
});

test('without a relay the feed still names a row that others wrote: purge says so', async () => {
  await relay.stop();
  // Nobody acknowledges it, so that its change stays.
  await knex('users').insert({ id: 3, email: 'eve@example.org' });
  const { code, out } = await runCli(['purge', 'users', '3', '--yes', '--wait', '300'], { cwd: folder });
  expect(out).toMatch(/changes in the feed +\d+ +[1-9]/);
  expect(out).toContain('is a worker running?');
  expect(code).toBe(1);
  const inspected = await runCli(['--json', 'inspect', 'users', '3'], { cwd: folder });
  const { feed } = JSON.parse(inspected.out) as {
    feed: { changes: { op: string; writer: string; tellsValues: boolean }[]; tombstone: { writer: string } };
  };
  expect(feed.changes[0]).toMatchObject({ op: 'put', writer: 'another program', tellsValues: true });
  expect(feed.tombstone).toMatchObject({ writer: 'lockstep' });
  relay = lockstep.startRelay();
});
