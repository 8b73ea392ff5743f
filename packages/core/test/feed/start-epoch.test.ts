import { describe, expect, test } from 'vitest';
import { hang, refuse } from '../../src/faults/index.js';
import { memoryDatabase } from '../../src/memory/index.js';
import { CHAIR, LAMP, openShop, type Product, storeOf, turns } from '../support/shop.js';

type Shop = ReturnType<typeof openShared>;

/** A shop whose cache is a server that says who it is. */
function openShared() {
  const server = { generation: 'first', asked: () => {} };
  const shop = openShop({
    adapt: (cache) => ({
      ...cache,
      shared: true,
      info: async () => {
        const { generation } = server;
        server.asked();
        return { evicts: false, generation, description: 'a server' };
      },
    }),
  });
  return { ...shop, server };
}

async function pass(shop: Pick<Shop, 'clock'>, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    await turns();
    shop.clock.advance(1_000);
  }
  await turns();
}

/** An entry that is in the cache before anything was recorded, of a row that has changed since. */
async function fillBefore({ memory, rows }: Shop): Promise<void> {
  await rows.foreignWrite('a', LAMP);
  const [row] = await rows.read(['a'], { timeoutMs: 1_000, primary: true });
  const { version = 0 } = row ?? {};
  const key = 'wtc:products:a';
  const life = { ttlMs: 3_600_000, staleAtMs: 0 };
  await memory.execute([
    { kind: 'lease', key, token: 't', leaseMs: 1_000, holeTtlMs: 1_000, encoding: 'utf8' },
    { kind: 'fill', key, token: 't', version, payload: JSON.stringify(LAMP), ...life },
  ]);
  await rows.foreignWrite('a', CHAIR);
  const [newer] = await rows.read(['a'], { timeoutMs: 1_000, primary: true });
  // Nobody was recorded, so that nobody is to deal with it.
  rows.feed.acknowledge([{ source: 'products', key: 'a', version: newer?.version ?? 0 }]);
}

const recordOf = async ({ rows }: Pick<Shop, 'rows'>) =>
  (await rows.feed.registry.read('wtc', ['products']))[0];

describe('the start of an epoch', () => {
  test('what was cached before a relay started stays readable: no replay', async () => {
    const shop = openShared();
    const generations = shop.record('cacheGeneration');
    await shop.products.put('a', LAMP);
    expect(await recordOf(shop)).toMatchObject({ epoch: 1, identity: 'first', replayed: true });
    const relay = shop.lockstep.startRelay();
    await pass(shop, 3);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    expect(generations).toEqual([]);
    expect(relay.status()).toMatchObject({ handled: 0, floored: 0 });
    await relay.stop();
  });

  test('a relay that starts first replays nothing, either', async () => {
    const shop = openShared();
    const generations = shop.record('cacheGeneration');
    const relay = shop.lockstep.startRelay();
    await pass(shop, 3);
    expect(await recordOf(shop)).toMatchObject({ epoch: 1, replayed: true });
    expect(generations).toEqual([]);
    await relay.stop();
  });

  const FILLED: Record<string, (shop: Shop) => void | Promise<void>> = {
    'was filled before its record: by an older release, or under a prefix that was in use': () => {},
    'can’t be searched': ({ cachePlan }) => cachePlan.next('scan', refuse()),
    'can’t be searched in time': async ({ cachePlan, clock, products }) => {
      const held = hang();
      cachePlan.next('scan', held);
      const reading = products.get('a');
      await held.reached;
      clock.advance(1_000);
      await reading;
    },
  };
  test.each(Object.entries(FILLED))('a cache that %s is replayed (G5)', async (_, prepare) => {
    const shop = openShared();
    await fillBefore(shop);
    await prepare(shop);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(await recordOf(shop)).toMatchObject({ epoch: 1, replayed: false });
    const relay = shop.lockstep.startRelay();
    await pass(shop, 3);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('an empty cache that is replaced while it is searched is replayed', async () => {
    const shop = openShared();
    let times = 0;
    shop.server.asked = () => {
      if (++times === 1) shop.server.generation = 'second';
    };
    const calls: string[] = [];
    const when = ({ call }: { readonly call: string }) => calls.push(call) === 0;
    shop.storePlan.next('registry', refuse(), { when });
    await shop.products.get('a');
    expect(calls).toContain('release');
    expect(calls).not.toContain('replayed');
  });

  test('a store that lost its record while the cache is full: the cache is replayed (G5)', async () => {
    const shop = openShared();
    await shop.products.put('a', LAMP);
    const restored = storeOf(memoryDatabase({ name: 'shop', clock: shop.clock, feedGraceMs: 0 }), 'products');
    await restored.foreignWrite('a', CHAIR);
    const [row] = await restored.read(['a'], { timeoutMs: 1_000, primary: true });
    restored.feed.acknowledge([{ source: 'products', key: 'a', version: row?.version ?? 0 }]);
    const second = shop.joinStore(restored);
    expect(await second.products.get('a')).toEqual(LAMP);
    const relay = second.lockstep.startRelay();
    await pass(shop, 3);
    expect(await second.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('a cache that was replaced before a relay ever started is replayed, and acknowledged to meanwhile', async () => {
    const shop = openShared();
    const { version } = await shop.products.put('a', LAMP);
    await shop.products.put('a', CHAIR);
    shop.server.generation = 'second';
    shop.memory.clear();
    const key = 'wtc:products:a';
    const life = { ttlMs: 3_600_000, staleAtMs: 0 };
    await shop.memory.execute([
      { kind: 'lease', key, token: 't', leaseMs: 1_000, holeTtlMs: 1_000, encoding: 'utf8' },
      { kind: 'fill', key, token: 't', version, payload: JSON.stringify(LAMP), ...life },
    ]);
    for (let i = 0; i < 3; i++) {
      await pass(shop, 2);
      await shop.products.put('b', LAMP);
      await turns();
    }
    expect(await recordOf(shop)).toMatchObject({ epoch: 2, identity: 'second', replayed: false });
    await shop.products.put('c', LAMP);
    const waiting = await shop.rows.feed.status(['products']);
    await shop.products.put('c', CHAIR);
    await shop.products.put('d', CHAIR);
    expect(await shop.rows.feed.status(['products'])).toMatchObject({ pending: waiting.pending });
    expect(await shop.products.get('a')).toEqual(LAMP);
    const relay = shop.lockstep.startRelay();
    await pass(shop, 3);
    expect(await shop.products.get('a')).toEqual(CHAIR);
    await relay.stop();
  });

  test('who comes while another searches fills nothing before that can be over', async () => {
    const shop = openShared();
    const held = hang();
    shop.cachePlan.next('scan', held);
    const first = shop.products.put('a', LAMP);
    await held.reached;
    const second = shop.join();
    await shop.rows.foreignWrite('b', LAMP);
    await second.products.get('b');
    await turns();
    expect(await second.products.getVersioned('b')).toMatchObject({ from: 'store' });
    held.release();
    await first;
    expect(await recordOf(shop)).toMatchObject({ epoch: 1, replayed: true });
    shop.clock.advance(1_000);
    await second.products.get('b');
    await turns();
    expect(await second.products.getVersioned('b')).toMatchObject<{ value: Product; from: string }>({
      value: LAMP,
      from: 'cache',
    });
  });
});
