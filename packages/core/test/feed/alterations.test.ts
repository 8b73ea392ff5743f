import { describe, expect, test } from 'vitest';
import type { Alteration, Alterations } from '../../src/contracts/feed.js';
import { refuse } from '../../src/faults/index.js';
import { elapse, LAMP, openShop, turns } from '../support/shop.js';

const SOURCE = 'products';

/** A shop whose store tells of alterations. */
function openAltered() {
  const shop = openShop();
  const told = { found: [] as Alteration[], dealtWith: [] as Alteration[], asked: [] as unknown[] };
  const alterations: Alterations = {
    check: async (consumer, sources) => {
      told.asked.push([consumer, ...sources]);
      return told.found;
    },
    dealtWith: async (_, alteration) => {
      told.dealtWith.push(alteration);
      told.found = told.found.filter((each) => each !== alteration);
    },
  };
  Object.assign(shop.store.feed ?? {}, { alterations });
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i++) {
      await turns();
      shop.clock.advance(1_000);
    }
    await turns();
  };
  return { ...shop, told, pass, events: shop.record('alteration') };
}

const hits = (shop: ReturnType<typeof openAltered>) => shop.record('hit');

describe('a table whose definition was altered', () => {
  test('and only has got more keeps its rows, and loses its views', async () => {
    const shop = openAltered();
    const tagged = shop.lockstep.collection({
      name: 'tagged',
      store: shop.store,
      additional: true,
      tags: [],
    });
    let loads = 0;
    const view = shop.lockstep.view({ name: 'all', load: () => ++loads, dependsOn: () => tagged.any() });
    await shop.products.put('a', LAMP);
    const relay = shop.lockstep.startRelay();
    await shop.pass(2);
    await view.get(undefined);
    await shop.lockstep.drain();
    expect(await view.get(undefined)).toBe(1);
    const grown: Alteration = { source: SOURCE, kind: 'grown', state: 'more' };
    shop.told.found = [grown];
    await shop.pass(1);
    expect(shop.told.dealtWith).toEqual([grown]);
    expect(shop.events).toEqual([]);
    expect(await view.get(undefined)).toBe(2);
    expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    await elapse(shop.clock, relay.stop());
  });

  test('is unreadable at once, and once more for what was on its way, and the store is told', async () => {
    const shop = openAltered();
    await shop.products.put('a', LAMP);
    const seen = hits(shop);
    const relay = shop.lockstep.startRelay();
    await shop.pass(2);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(seen).toHaveLength(1);
    const altered: Alteration = { source: SOURCE, kind: 'altered', state: 'second' };
    shop.told.found = [altered];
    await shop.pass(1);
    expect(shop.events).toEqual([{ source: SOURCE, kind: 'altered', invalidated: 1 }]);
    expect(shop.told.dealtWith).toEqual([altered]);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(seen).toHaveLength(1);
    // What was put from before the alteration, as late as this, goes with the second pass.
    await shop.pass(2);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(seen).toHaveLength(2);
    await shop.pass(4);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(seen).toHaveLength(2);
    await shop.pass(10);
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(seen).toHaveLength(3);
    expect(shop.events).toHaveLength(1);
    expect(shop.told.asked).toContainEqual(['wtc', SOURCE]);
    await relay.stop();
  });

  test('is tried again while the cache does not take it, and noted only then', async () => {
    const shop = openAltered();
    await shop.products.put('a', LAMP);
    const relay = shop.lockstep.startRelay();
    await shop.pass(1);
    const errors = shop.record('error');
    shop.cachePlan.always('execute', refuse());
    shop.told.found = [{ source: SOURCE, kind: 'altered', state: 'second' }];
    await shop.pass(3);
    expect(errors).toContainEqual(expect.objectContaining({ where: 'alterations' }));
    expect(shop.told.dealtWith).toEqual([]);
    expect(shop.events).toEqual([]);
    shop.cachePlan.clear();
    await shop.pass(60);
    expect(shop.told.dealtWith).toHaveLength(1);
    expect(shop.events).toHaveLength(1);
    await relay.stop();
  });
});

test('a table that is detached is unreadable once, until it is attached and detached again', async () => {
  const shop = openAltered();
  await shop.products.put('a', LAMP);
  const seen = hits(shop);
  const relay = shop.lockstep.startRelay();
  const detached: Alteration = { source: SOURCE, kind: 'detached', state: '' };
  shop.told.found = [detached];
  await shop.pass(20);
  expect(shop.events).toEqual([{ source: SOURCE, kind: 'detached', invalidated: 1 }]);
  expect(shop.told.dealtWith).toEqual([]);
  await shop.products.get('a');
  expect(seen).toEqual([]);
  shop.told.found = [];
  await shop.pass(2);
  shop.told.found = [detached];
  await shop.pass(2);
  expect(shop.events).toHaveLength(2);
  await relay.stop();
});
