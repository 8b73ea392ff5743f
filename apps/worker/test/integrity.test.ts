import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { redisCache } from '@lockstep/cache-redis';
import { createLockstep, type IntegrityOptions } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { bullmqQueue } from '@lockstep/queue-bullmq';
import { postgresStore } from '@lockstep/store-postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCli } from './support/cli.js';
import { type Shop, startShop } from './support/shop.js';
import { until } from './support/until.js';

const SECRET = 'what the application and the worker share';

let shop: Shop;
let redis: Awaited<ReturnType<typeof startRedis>>;
let folder: string;

beforeAll(async () => {
  [shop, redis] = await Promise.all([startShop(10), startRedis({ owned: true })]);
  folder = mkdtempSync(join(tmpdir(), 'lockstep-integrity-'));
  writeFileSync(join(folder, 'keys'), `one:${SECRET}\n`);
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await redis.stop();
  rmSync(folder, { recursive: true });
});

/** A process of the application, or somebody else with access to both Redis. */
function open(integrity?: IntegrityOptions) {
  const lockstep = createLockstep({
    cache: redisCache({ url: redis.url }),
    queue: bullmqQueue({ connection: { url: redis.url } }),
    prefix: 'signed',
    ...(integrity === undefined ? {} : { integrity }),
  });
  const store = postgresStore({ knex: shop.knex }).table<{ id: number; name: string }, number>('products', {
    schema: 'public',
    key: 'id',
  });
  const products = lockstep.collection({ name: 'products', store, strategy: 'write-behind' });
  return { lockstep, products };
}

const nameOf = async (id: number): Promise<string> => {
  const { rows } = await shop.knex.raw('SELECT name FROM public.products WHERE id = ?', [id]);
  return rows[0].name;
};

/** Brings a row into the cache: a process that starts while another searches it caches nothing for a second. */
const cached = ({ products }: ReturnType<typeof open>, id: number): Promise<number> =>
  until('the row is cached', async () => (await products.getVersioned(id)).from === 'cache');

test('a worker with the keys flushes what they signed, and sets aside what a stranger buffered', async () => {
  await using cli = startCli([], {
    LOCKSTEP_POSTGRES_URL: shop.url,
    LOCKSTEP_REDIS_URL: redis.url,
    LOCKSTEP_QUEUE_REDIS_URL: redis.url,
    LOCKSTEP_COLLECTIONS: 'products=public.products:id',
    LOCKSTEP_BUFFERED: 'products',
    LOCKSTEP_PREFIX: 'signed',
    LOCKSTEP_PORT: '0',
    LOCKSTEP_INTEGRITY_KEYS_FILE: join(folder, 'keys'),
  });
  const url = await cli.url();
  const ours = open({ keys: [{ id: 'one', secret: SECRET }] });
  await using _ours = ours.lockstep;
  await cached(ours, 1);
  expect(await ours.products.put(1, { id: 1, name: 'ours' })).toMatchObject({ store: 'buffered' });
  expect(await ours.products.getVersioned(1)).toMatchObject({ value: { name: 'ours' }, from: 'cache' });
  await until('the worker has flushed ours', async () => (await nameOf(1)) === 'ours');
  expect(await ours.products.getVersioned(1)).toMatchObject({ value: { name: 'ours' }, from: 'cache' });

  const stranger = open();
  await using _stranger = stranger.lockstep;
  await cached(stranger, 2);
  expect(await stranger.products.put(2, { id: 2, name: 'forged' })).toMatchObject({ store: 'buffered' });
  const letters = async (): Promise<{ id: string }[]> =>
    (
      (await (await fetch(`${url}/api/dead-letters?kind=flush`)).json()) as {
        letters: { id: string; hasValue: boolean }[];
      }
    ).letters.filter(({ hasValue }) => hasValue);
  await until('it is a dead letter', async () => (await letters()).length === 1);
  const value = await fetch(`${url}/api/dead-letters/value`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: (await letters())[0]?.id }),
  });
  expect(await value.text()).toContain('forged');
  expect(await nameOf(2)).toBe('first');
  expect(await ours.products.get(2)).toMatchObject({ name: 'first' });
  expect(cli.output.out + cli.output.err).not.toContain(SECRET);
});
