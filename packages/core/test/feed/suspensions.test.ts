import { expect, test } from 'vitest';
import type { StoreOpenOptions } from '../../src/contracts/store-open.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, LAMP, openShop, turns } from '../support/shop.js';

const SOURCE = 'products';

/** A shop whose store tells whether it keeps its rows in step. */
async function openKept() {
  const shop = openShop();
  const told: StoreOpenOptions[] = [];
  const store = { ...shop.store, open: async (options: StoreOpenOptions = {}) => void told.push(options) };
  const lockstep = createLockstep({ cache: shop.memory, clock: shop.clock, random: () => 0.5 });
  const products = lockstep.collection({ name: 'products', store });
  await products.put('a', LAMP);
  expect(await products.get('a')).toEqual(LAMP);
  const kept = (now: boolean): void => told[0]?.onKept?.(now, now ? '' : 'it is detached');
  const states: string[] = [];
  lockstep.events.on('suspension', ({ source, state }) => void states.push(`${source} ${state}`));
  const seconds = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await turns();
      shop.clock.advance(1_000);
    }
    await turns();
  };
  /** Somebody who has not noticed puts what it read before. */
  const putLate = async (): Promise<void> => {
    const version = Math.trunc(shop.clock.now() * 1_000);
    const key = 'wtc:products:a';
    const life = { ttlMs: 3_600_000, staleAtMs: 0 };
    await shop.memory.execute([
      { kind: 'lease', key, token: 't', leaseMs: 1_000, holeTtlMs: 1_000, encoding: 'utf8' },
      { kind: 'fill', key, token: 't', version, payload: JSON.stringify(LAMP), ...life },
    ]);
    expect((await shop.entry('a'))?.version).toBe(version);
  };
  return { ...shop, kept, lockstep, products, putLate, seconds, states };
}

test('a suspended table is not read from the cache, and comes back without what is in it', async () => {
  const { kept, products, putLate, rows, seconds, states } = await openKept();
  kept(false);
  await turns();
  await putLate();
  await rows.foreignWrite('a', CHAIR);
  expect(await products.get('a')).toEqual(CHAIR);
  expect(await products.getMany(['a'])).toEqual([CHAIR]);
  expect(await products.put('a', CHAIR)).toMatchObject({ cache: 'invalidated' });
  await putLate();
  kept(true);
  await seconds(5);
  expect(states).toEqual([`${SOURCE} suspended`, `${SOURCE} resumed`]);
  expect(await products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'store' });
});

test('a load that was under way when the table was suspended fills nothing', async () => {
  const { entry, kept, memory, products, rows, storePlan } = await openKept();
  await rows.foreignWrite('b', LAMP);
  const { scan } = memory;
  // The entries of before are not reached yet.
  Object.assign(memory, {
    scan: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }),
  });
  const gate = storePlan.pauseNext('read');
  const reading = products.get('b');
  await gate.reached;
  kept(false);
  gate.release();
  expect(await reading).toEqual(LAMP);
  await turns();
  Object.assign(memory, { scan });
  expect((await entry('b'))?.version).toBe(0);
});

test('it stays suspended while the cache can’t be cleaned, or it is suspended again', async () => {
  const { kept, lockstep, memory, seconds, states } = await openKept();
  const errors: string[] = [];
  lockstep.events.on('error', ({ where }) => void errors.push(where));
  kept(false);
  await turns();
  const { scan } = memory;
  const away = (): AsyncIterable<never> => {
    throw new Error('away');
  };
  Object.assign(memory, { scan: away });
  kept(true);
  await seconds(5);
  expect(states).toEqual([`${SOURCE} suspended`]);
  expect(errors).toContain('suspension');
  kept(false);
  Object.assign(memory, { scan });
  await seconds(5);
  expect(states).toEqual([`${SOURCE} suspended`]);
  kept(true);
  await seconds(5);
  expect(states).toEqual([`${SOURCE} suspended`, `${SOURCE} resumed`]);
});
