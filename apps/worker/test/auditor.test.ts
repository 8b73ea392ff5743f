import { type CollectionOptions, createLockstep, type LockstepOptions } from '@lockstep/core';
import { manualClock } from '@lockstep/core/faults';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import pino from 'pino';
import { afterEach, expect, test } from 'vitest';
import { Auditor } from '../src/audit/auditor.js';

interface Product {
  readonly name: string;
  readonly kind?: string;
}

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A shop in memory whose auditor looks once in each second of a clock that stands still. */
function openShop(
  options: {
    readonly perSecond?: number;
    readonly collection?: Partial<CollectionOptions<Product>>;
    readonly lockstep?: Partial<LockstepOptions>;
  } = {},
) {
  const clock = manualClock();
  const cache = memoryCache({ clock });
  const store = memoryStore<Product>({ name: 'products', clock });
  const lockstep = createLockstep({ cache, clock, ...options.lockstep });
  const products = lockstep.collection<Product>({ name: 'products', store, ...options.collection });
  const logged: unknown[] = [];
  const logger = pino({ level: 'error' }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const auditor = new Auditor({ lockstep, perSecond: options.perSecond ?? 50, logger, clock });
  auditor.start();
  ends.push(async () => {
    const closing = lockstep.close();
    const stopping = auditor.stop();
    for (let i = 0; i < 50; i++) await turn(clock);
    await Promise.all([closing, stopping]);
  });
  return {
    auditor,
    cache,
    clock,
    lockstep,
    logged,
    products,
    store,
    async pass(seconds: number): Promise<void> {
      for (let i = 0; i < seconds; i++) {
        // A round, with what it waits for.
        for (let step = 0; step < 4; step++) {
          clock.advance(250);
          await turn(clock);
        }
      }
    },
    /** Puts an old value into the cache, as nobody may who keeps to the protocol. */
    async force(key: string, version: number, value: Product): Promise<void> {
      const at = `wtc:products:${key}`;
      cache.evict(at);
      const holeTtlMs = 60_000;
      await cache.execute([
        { kind: 'lease', key: at, token: 't', leaseMs: 10_000, holeTtlMs, encoding: 'utf8' },
        {
          kind: 'fill',
          key: at,
          token: 't',
          version,
          payload: JSON.stringify(value),
          ttlMs: 3_600_000,
          staleAtMs: 0,
        },
      ] as never);
    },
  };
}

async function turn(clock: { advance(ms: number): void }): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    clock.advance(0);
  }
}

const late = ({ auditor }: { auditor: Auditor }): number[] =>
  auditor.status.scales.map((scale) => scale.late);

test('what is in step is looked at round and round, and as many nines are told as the looks allow', async () => {
  const shop = openShop();
  for (const id of ['1', '2', '3']) await shop.products.put(id, { name: id });
  await shop.pass(6);
  const { checked, open, scales, suspects } = shop.auditor.status;
  expect(checked).toBeGreaterThanOrEqual(9);
  expect({ open, suspects }).toEqual({ open: 0, suspects: 0 });
  for (const { nines, share } of scales) {
    expect(share).toBe(1);
    expect(nines).toBeCloseTo(Math.floor(Math.log10(checked) * 10) / 10);
  }
});

test('an entry that was made stale by force counts at each scale, is named once with its history, and seen to be mended', async () => {
  const shop = openShop();
  const { version } = await shop.products.put('1', { name: 'old' });
  await shop.products.put('1', { name: 'new' });
  await shop.products.put('2', { name: 'other' });
  await shop.force('1', version, { name: 'old' });
  await shop.pass(4);
  expect(late(shop)).toEqual([1, 0, 0]);
  expect(shop.auditor.offenders).toEqual([]);
  await shop.pass(6);
  expect(shop.auditor.offenders).toMatchObject([
    { collection: 'products', key: '1', kind: 'stale', mendedMs: null, history: expect.any(Array) },
  ]);
  const [first] = shop.auditor.offenders[0]?.history ?? [];
  expect(first).toMatchObject({ verdict: 'stale', entry: version });
  expect(first?.row).toBeGreaterThan(version);
  expect(shop.logged).toMatchObject([{ collection: 'products', key: '1', kind: 'stale' }]);
  expect(JSON.stringify([shop.logged, shop.auditor.offenders])).not.toContain('old');
  await shop.pass(55);
  expect(late(shop)).toEqual([1, 1, 0]);
  await shop.products.invalidate('1');
  await shop.pass(35);
  expect(shop.auditor.offenders).toMatchObject([{ key: '1', mendedMs: expect.any(Number) }]);
  expect(shop.auditor.status.open).toBe(0);
  expect(shop.logged).toHaveLength(1);
});

test('lag counts, and is not called by name: what is on its way in the feed is waited for', async () => {
  const shop = openShop();
  for (const id of ['1', '2', '3']) await shop.products.put(id, { name: 'first' });
  await shop.pass(2);
  // Nobody relays for a while.
  for (const id of ['1', '2', '3']) await shop.store.foreignWrite(id, { name: 'by psql' });
  await shop.pass(20);
  expect(late(shop)).toEqual([3, 0, 0]);
  expect(shop.auditor.status.suspects).toBe(3);
  const relay = shop.lockstep.startRelay();
  await shop.pass(10);
  expect(shop.auditor.status).toMatchObject({ suspects: 0, open: 0 });
  expect(shop.auditor.offenders).toEqual([]);
  expect(shop.logged).toEqual([]);
  ends.push(async () => relay.stop());
});

test('what waits in the queue is waited for, too', async () => {
  const queue = memoryQueue();
  const shop = openShop({ lockstep: { queue } });
  const { version } = await shop.products.put('1', { name: 'old' });
  await shop.products.put('1', { name: 'new' });
  await shop.force('1', version, { name: 'old' });
  await queue.enqueue([{ kind: 'invalidate', key: 'wtc:products:1', version: 0 }]);
  await shop.pass(20);
  expect(shop.auditor.offenders).toEqual([]);
  const consumer = await queue.consume((job) => shop.lockstep.handleJob(job));
  await shop.pass(10);
  expect(shop.auditor.offenders).toEqual([]);
  expect(shop.auditor.status.suspects).toBe(0);
  await consumer.close();
});

test.each([
  [
    'different',
    async (shop: ReturnType<typeof openShop>) => {
      const { version } = await shop.products.put('1', { name: 'right' });
      await shop.force('1', version, { name: 'forged' });
    },
  ],
  [
    'ahead',
    async (shop: ReturnType<typeof openShop>) => {
      const { version } = await shop.products.put('1', { name: 'right' });
      await shop.force('1', version + 2, { name: 'right' });
    },
  ],
  [
    'stale',
    async (shop: ReturnType<typeof openShop>) => {
      const { version } = await shop.products.put('1', { name: 'deleted' });
      await shop.products.delete('1');
      await shop.force('1', version, { name: 'deleted' });
    },
  ],
] as const)('an entry that is %s is named', async (kind, prepare) => {
  const shop = openShop();
  await prepare(shop);
  await shop.pass(12);
  expect(shop.auditor.offenders).toMatchObject([{ key: '1', kind, mendedMs: null }]);
});

test('a row is compared as readers get it; buffered writes and holes are nobody’s fault', async () => {
  const schema = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value: unknown) => ({ value: { name: (value as Product).name } }),
    },
  } as const;
  const shop = openShop({ collection: { schema: schema as never, strategy: 'write-behind' } });
  await shop.store.foreignWrite('1', { name: 'with more', kind: 'hidden' });
  await shop.store.foreignWrite('2', { name: 'with more', kind: 'hidden' });
  await shop.products.getMany(['1', '2', 'nothing']);
  await shop.lockstep.drain();
  await shop.products.put('1', { name: 'buffered' });
  await shop.pass(12);
  expect(shop.auditor.status.checked).toBeGreaterThan(0);
  expect(shop.auditor.offenders).toEqual([]);
  expect(late(shop)).toEqual([0, 0, 0]);
});

test('it looks at no more entries in a second than it may, and at all of them in time', async () => {
  const shop = openShop({ perSecond: 5 });
  const ids = Array.from({ length: 40 }, (_, i) => `${i}`);
  await shop.products.putMany(ids.map((id) => [id, { name: id }] as const));
  const { version } = await shop.products.put('39', { name: 'old' });
  await shop.products.put('39', { name: 'new' });
  await shop.force('39', version, { name: 'old' });
  await shop.pass(4);
  expect(shop.auditor.status.checked).toBeLessThanOrEqual(20);
  await shop.pass(20);
  expect(shop.auditor.offenders.map(({ key }) => key)).toEqual(['39']);
});

test('a view that depends on what it does not name is named', async () => {
  const shop = openShop({ collection: { tags: ['kind'] } });
  const rows = new Map<string, Product>();
  const names = shop.lockstep.view<{ kind: string }, string[]>({
    name: 'names',
    load: () => [...rows.values()].map(({ name }) => name),
    // It lists all products, not only those of the kind.
    dependsOn: ({ kind }) => shop.products.where({ kind }),
  });
  const put = async (id: string, product: Product) => {
    rows.set(id, product);
    await shop.products.put(id, product);
  };
  await put('1', { name: 'lamp', kind: 'light' });
  await names.get({ kind: 'light' });
  await shop.pass(5);
  expect(shop.auditor.status.suspects).toBe(0);
  await put('2', { name: 'chair', kind: 'seat' });
  await shop.pass(20);
  expect(shop.auditor.offenders).toMatchObject([
    { collection: 'names', key: '{"kind":"light"}', kind: 'different' },
  ]);
});
