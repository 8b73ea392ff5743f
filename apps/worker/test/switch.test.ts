import { redisCache } from '@lockstep/cache-redis';
import { createLockstep } from '@lockstep/core';
import { startRedis } from '@lockstep/dev-services';
import { postgresStore } from '@lockstep/store-postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCli } from './support/cli.js';
import { type Shop, startShop } from './support/shop.js';
import { until } from './support/until.js';

let shop: Shop;
let redis: Awaited<ReturnType<typeof startRedis>>;

beforeAll(async () => {
  [shop, redis] = await Promise.all([startShop(10), startRedis({ owned: true })]);
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await redis.stop();
});

/** A process of the application, all of whose writes are buffered. */
function open() {
  const lockstep = createLockstep({ cache: redisCache({ url: redis.url }), prefix: 'switched' });
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

test('switched off for all processes: reads come from Postgres, what was buffered is there, the worker goes on', async () => {
  const [one, two] = [open(), open()];
  await using _one = one.lockstep;
  await using _two = two.lockstep;
  await using cli = startCli([], {
    LOCKSTEP_POSTGRES_URL: shop.url,
    LOCKSTEP_REDIS_URL: redis.url,
    LOCKSTEP_COLLECTIONS: 'products=public.products:id',
    LOCKSTEP_BUFFERED: 'products',
    LOCKSTEP_PREFIX: 'switched',
    LOCKSTEP_PORT: '0',
  });
  const probes = await cli.metricsUrl();
  const metric = async (): Promise<string | undefined> =>
    /^lockstep_cache_enabled (\d)$/m.exec(await (await fetch(`${probes}/metrics`)).text())?.[1];
  const from = async ({ products }: typeof one, id: number) => (await products.getVersioned(id)).from;
  for (const each of [one, two]) {
    await until('the row is cached', async () => (await from(each, 1)) === 'cache');
  }
  await until('the worker says that the cache is used', async () => (await metric()) === '1');
  expect((await one.products.put(1, { id: 1, name: 'buffered' })).store).toBe('buffered');
  expect(await one.lockstep.switchOff()).toEqual(['public.products']);
  // At once where it was called, and with what is unflushed.
  expect(await one.products.getVersioned(1)).toMatchObject({ value: { name: 'buffered' }, from: 'store' });
  expect(await nameOf(1)).toBe('buffered');
  expect((await one.products.put(1, { id: 1, name: 'written' })).store).toBe('committed');
  await until(
    'the other process, which only reads, has seen it',
    async () => (await from(two, 1)) === 'store',
  );
  expect(await two.products.get(1)).toMatchObject({ name: 'written' });
  await until('the worker says that it is not', async () => (await metric()) === '0');
  // The relay goes on: what is cached of a row that somebody else changes goes.
  await shop.knex.raw("UPDATE public.products SET name = 'foreign' WHERE id = 1");
  expect(await two.products.get(1)).toMatchObject({ name: 'foreign' });
  expect(await two.lockstep.switchOn()).toEqual(['public.products']);
  await until(
    'both use the cache',
    async () => (await from(one, 1)) === 'cache' && (await from(two, 1)) === 'cache',
  );
  expect([await one.products.get(1), await two.products.get(1)]).toMatchObject([
    { name: 'foreign' },
    { name: 'foreign' },
  ]);
  await until('the worker says so', async () => (await metric()) === '1');
});
