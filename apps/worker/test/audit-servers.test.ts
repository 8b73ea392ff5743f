import { startRedis } from '@lockstep/dev-services';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWorker } from '../src/index.js';
import { openShop, type Shop, startShop } from './support/shop.js';
import { until } from './support/until.js';

let shop: Shop;
let redis: Awaited<ReturnType<typeof startRedis>>;

beforeAll(async () => {
  [shop, redis] = await Promise.all([startShop(50), startRedis({ owned: true })]);
});
afterAll(async () => {
  await shop[Symbol.asyncDispose]();
  await redis.stop();
});

interface Found {
  readonly consistency: { readonly checked: number; readonly open: number };
  readonly offenders: readonly {
    readonly key: string;
    readonly kind: string;
    readonly mendedMs: number | null;
  }[];
}

test('under load of others nobody is named; who writes to Redis behind Lockstep’s back is, on page, metrics and status', async () => {
  const { lockstep, products } = openShop({ knex: shop.knex, redis: redis.url, prefix: 'audit' });
  const logger = pino({ enabled: false });
  await using worker = await startWorker({
    lockstep: () => lockstep,
    port: 0,
    audit: { perSecond: 500 },
    logger,
  });
  const client = new Redis(redis.url);
  const found = async () => (await (await fetch(`${worker.url}/api/consistency`)).json()) as Found;
  const ids = Array.from({ length: 50 }, (_, i) => i + 1);
  const entry = 'audit:products:7';
  await until('all are cached', async () => {
    await products.getMany(ids);
    return (await client.keys('audit:products:*')).length >= 50;
  });
  const old = (await client.get(entry)) ?? '';
  expect(old).toContain('first');
  let round = 0;
  while ((await found()).consistency.checked < 500) {
    round += 1;
    await shop.knex.raw('UPDATE public.products SET name = ? WHERE id <> 7', [`round ${round}`]);
    await products.getMany(ids);
  }
  await shop.knex.raw("UPDATE public.products SET name = 'last'");
  await until('readers see it', async () =>
    (await products.getMany(ids)).every((row) => row?.name === 'last'),
  );
  expect((await found()).offenders).toEqual([]);
  await client.set(entry, old);
  await until('it is named', async () => (await found()).consistency.open === 1);
  expect((await found()).offenders).toMatchObject([{ key: '7', kind: 'stale', mendedMs: null }]);
  expect((await worker.status()).consistency).toMatchObject({ open: 1 });
  const scrape = async () => (await fetch(`${worker.metricsUrl}/metrics`)).text();
  await until('it is scraped', async () => (await scrape()).includes('lockstep_audit_stale_keys 1'));
  const metrics = await scrape();
  expect(metrics).toMatch(/lockstep_audit_late_total\{scale="1"\} [1-9]/);
  expect(metrics).not.toContain(entry);
  await products.put(7, { id: 7, name: 'mended' });
  await until('it is seen to be mended', async () => (await found()).consistency.open === 0);
  client.disconnect();
});
