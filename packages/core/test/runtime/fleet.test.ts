import { expect, test } from 'vitest';
import type { CacheAdapter, NoticeBoard } from '../../src/contracts/cache.js';
import { CacheUnavailableError } from '../../src/errors.js';
import { refuse } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { announcementText, parseAnnouncement } from '../../src/runtime/announcement.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { elapse, LAMP, openShop, type ShopOptions, turns } from '../support/shop.js';

/** A board in memory: each name's text, and for how long. */
function boardInMemory() {
  const posted: { readonly name: string; readonly text: string; readonly ttlMs: number }[] = [];
  const held = new Map<string, string>();
  const state = { away: false };
  const notices: NoticeBoard = {
    async post(_, name, text, { ttlMs }) {
      if (state.away) throw new CacheUnavailableError('away');
      posted.push({ name, text, ttlMs });
      held.set(name, text);
      return true;
    },
    async list() {
      if (state.away) throw new CacheUnavailableError('away');
      return [...held.values()];
    },
    remove: async (_, name) => void held.delete(name),
  };
  return { posted, held, state, adapt: (cache: CacheAdapter): CacheAdapter => ({ ...cache, notices }) };
}

function openFleet(lockstep: ShopOptions['lockstep'] = {}) {
  const board = boardInMemory();
  return { board, ...openShop({ lockstep, adapt: board.adapt }) };
}

test('a process says that it is alive once in each interval, from its first use of the cache on', async () => {
  const { board, clock, lockstep, products } = openFleet({ announce: { name: 'api', intervalMs: 2_000 } });
  clock.advance(10_000);
  await turns();
  expect(board.posted).toEqual([]);
  await products.put('1', LAMP);
  await products.getMany(['1', '1', '2']);
  await lockstep.drain();
  for (let i = 0; i < 3; i++) {
    clock.advance(2_000);
    await turns();
  }
  expect(board.posted.map(({ ttlMs }) => ttlMs)).toEqual([6_000, 6_000, 6_000]);
  expect(new Set(board.posted.map(({ name }) => name)).size).toBe(1);
  const [said] = await lockstep.fleet.list();
  expect(said).toMatchObject({
    name: 'api',
    pid: process.pid,
    relay: null,
    queue: 'memory',
    cache: { enabled: true, breaker: 'closed' },
    parts: [
      {
        kind: 'collection',
        name: 'products',
        settings: { ttlMs: 3_600_000, strategy: 'write-through', consistency: 'available' },
        figures: {
          hits: 2,
          misses: { absent: 1 },
          loads: 1,
          loadedRows: 1,
          writes: { updated: 1, deferred: 0 },
        },
      },
    ],
  });
  expect(JSON.stringify(said)).not.toContain(LAMP.name);
  await lockstep.close();
  expect(board.held.size).toBe(0);
});

test('near entries are told with their collection, and heard by the others', async () => {
  const lockstep = createLockstep({ cache: memoryCache() });
  const store = memoryStore<{ readonly name: string }>({ name: 'near' });
  const near = lockstep.collection({ name: 'near', store, near: { maxItems: 10 } });
  await near.put('1', LAMP);
  while ((await near.getVersioned('1')).from !== 'near');
  const own = lockstep.fleet.own();
  const told = own.parts.find(({ name }) => name === 'near');
  expect(told).toMatchObject({
    settings: { near: true },
    near: { items: 1, bytes: 0, hits: 1, dropped: 0, live: true },
  });
  expect(own.parts.filter(({ near }) => near !== undefined)).toHaveLength(1);
  expect(parseAnnouncement(announcementText(own))?.parts).toContainEqual(told);
  const forged = { ...own, parts: [{ ...told, near: { ...told?.near, items: '<b>' } }] };
  expect(parseAnnouncement(announcementText(forged as never))).toBeUndefined();
  await lockstep.close();
});

test('each of several processes finds the others; own figures are those of now', async () => {
  const { clock, join, lockstep, products } = openFleet();
  const other = join();
  await products.get('1');
  await other.products.get('1');
  clock.advance(1_000);
  await turns();
  const relay = other.lockstep.startRelay();
  const taken = other.lockstep.fleet.describe('nines', () => 5);
  clock.advance(5_000);
  await turns();
  expect((await lockstep.fleet.list()).map(({ facts, relay }) => [facts, relay?.running])).toEqual([
    [{}, undefined],
    [{ nines: 5 }, true],
  ]);
  taken();
  expect(other.lockstep.fleet.own().facts).toEqual({});
  await elapse(clock, relay.stop());
});

test('not announced: where it is switched off, and where the cache keeps no notices', async () => {
  const { board, clock, lockstep, products } = openFleet({ announce: { enabled: false } });
  await products.get('1');
  clock.advance(60_000);
  await turns();
  expect(board.posted).toEqual([]);
  expect(await lockstep.fleet.list()).toHaveLength(1);
  const plain = openShop();
  await plain.products.get('1');
  expect(await plain.lockstep.fleet.list()).toHaveLength(1);
});

test('why the breaker is open is said, cut to a bound, and a cache that is away disturbs nobody', async () => {
  const { board, cachePlan, clock, lockstep, products } = openFleet({
    breaker: { threshold: 1, cooldownMs: 60_000 },
  });
  await products.get('1');
  const error = new CacheUnavailableError(`WRONGPASS ${'x'.repeat(1_000)}`);
  cachePlan.always('read', refuse(error));
  board.state.away = true;
  await products.get('1');
  const { cache } = lockstep.fleet.own();
  expect(cache).toMatchObject({ breaker: 'open', cause: expect.stringContaining('WRONGPASS') });
  clock.advance(20_000);
  await turns();
  await expect(lockstep.fleet.list()).rejects.toThrow(CacheUnavailableError);
  expect(await products.get('1')).toBeUndefined();
  expect(cache.cause?.length).toBeLessThanOrEqual(200);
});

test('what others wrote in the place of an announcement is passed by, and nothing of it is longer than it may be', () => {
  const own = openFleet().lockstep.fleet.own();
  const text = announcementText(own);
  expect(parseAnnouncement(text)).toMatchObject({ id: own.id, parts: own.parts });
  const with_ = (more: object): string => JSON.stringify({ ...JSON.parse(text), ...more });
  expect(parseAnnouncement(with_({ name: 'x'.repeat(5_000) }))?.name).toHaveLength(300);
  expect(parseAnnouncement(with_({ facts: { deep: [[[[[[[['x']]]]]]]] } }))?.facts).toEqual({
    deep: [[[[[null]]]]],
  });
  for (const wrong of [
    '',
    '{',
    '[]',
    'null',
    with_({ format: 2 }),
    with_({ pid: '1' }),
    with_({ parts: [{ kind: 'table' }] }),
    with_({ parts: {} }),
    with_({ cache: null }),
    with_({ relay: { running: true } }),
    with_({ cache: { ...own.cache, breaker: '<b>' } }),
    `${text}${' '.repeat(40_000)}`,
  ]) {
    expect(parseAnnouncement(wrong), wrong.slice(0, 80)).toBeUndefined();
  }
});

test('an announcement stays short, however many parts there are and whatever tools add', () => {
  const { fleet } = (() => {
    const { lockstep, store } = openFleet();
    for (let i = 0; i < 100; i++) lockstep.collection({ name: `c${i}${'x'.repeat(100)}`, store });
    return lockstep;
  })();
  fleet.describe('long', () => Array.from({ length: 64 }, () => Array(64).fill('y'.repeat(300))));
  const own = fleet.own();
  expect(own.parts.length + own.omitted).toBe(101);
  const text = announcementText(own);
  expect(text.length).toBeLessThanOrEqual(32_768);
  const said = parseAnnouncement(text);
  expect((said?.parts.length ?? 0) + (said?.omitted ?? 0)).toBe(101);
  expect(said?.facts).toEqual({});
});

test.each([
  [{ intervalMs: 999 }, 'announce.intervalMs'],
  [{ name: '' }, 'announce.name'],
  [{ interval: 5 }, 'announce.interval'],
])('a wrong option is named: %j', (announce, name) => {
  const { adapt } = boardInMemory();
  const { memory } = openShop();
  expect(() => createLockstep({ cache: adapt(memory), announce: announce as never })).toThrow(name);
});
