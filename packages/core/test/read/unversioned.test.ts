import { expect, test } from 'vitest';
import type { CollectionOptions } from '../../src/contracts/options.js';
import { manualClock } from '../../src/faults/index.js';
import { callbackStore, createLockstep } from '../../src/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { turns } from '../support/shop.js';

interface Rate {
  readonly n: number;
}

/** A collection over a source without versions, whose reads can be held and made to fail. */
function openRates(options: Partial<CollectionOptions<Rate>> = {}, random = Math.random) {
  const clock = manualClock();
  const source = { rate: { n: 1 } as Rate | undefined, down: false, reads: 0, gate: Promise.resolve() };
  const lockstep = createLockstep({ cache: memoryCache({ clock }), clock, random });
  const rates = lockstep.collection<Rate>({
    name: 'rates',
    ttlMs: 1_000,
    ttlJitter: 0,
    store: callbackStore<Rate>({
      read: async () => {
        source.reads++;
        const { rate } = source;
        await source.gate;
        if (source.down) throw new Error('the source is down');
        return rate;
      },
      write: async (_id, rate) => {
        source.rate = rate;
      },
    }),
    ...options,
  });
  /** Holds reads until the function that it returns is called. */
  const hold = (): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    source.gate = promise;
    return resolve;
  };
  return { clock, hold, lockstep, rates, source };
}

const SWR = { staleWhileRevalidateMs: 60_000 };

test('a stale value without a version is served at once while it is loaded again, and after the load failed', async () => {
  const { clock, hold, lockstep, rates, source } = openRates(SWR);
  await rates.get('eur');
  clock.advance(1_500);
  source.rate = { n: 2 };
  const release = hold();
  expect(await rates.get('eur')).toEqual({ n: 1 });
  await turns();
  expect(await rates.get('eur')).toEqual({ n: 1 });
  expect(source.reads).toBe(2);
  source.down = true;
  release();
  await lockstep.drain();
  expect(await rates.get('eur')).toEqual({ n: 1 });
  await lockstep.drain();
  source.down = false;
  await rates.get('eur');
  await lockstep.drain();
  expect(await rates.getVersioned('eur')).toEqual({ value: { n: 2 }, version: 0, from: 'cache' });
});

test.each([{}, SWR])('a refresh that fails keeps the value without a version (%o)', async (options) => {
  const { lockstep, rates, source } = openRates(options);
  await rates.get('eur');
  await lockstep.drain();
  source.down = true;
  await expect(rates.refresh('eur')).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_UNAVAILABLE' });
  expect(await rates.getVersioned('eur')).toMatchObject({ value: { n: 1 }, from: 'cache' });
  source.down = false;
  source.rate = { n: 2 };
  expect(await rates.refresh('eur')).toEqual({ n: 2 });
  await lockstep.drain();
  expect(await rates.getVersioned('eur')).toMatchObject({ value: { n: 2 }, from: 'cache' });
  source.rate = undefined;
  expect(await rates.refresh('eur')).toBeUndefined();
  await lockstep.drain();
  expect(await rates.get('eur')).toBeUndefined();
});

test.each([
  ['another value', [{ n: 3 }]],
  ['the value that was there before', [{ n: 3 }, { n: 1 }]],
])('a refresh does not replace %s that was written after its load began', async (_, written) => {
  const { hold, lockstep, rates, source } = openRates();
  await rates.get('eur');
  await lockstep.drain();
  source.rate = { n: 2 };
  const release = hold();
  const refreshing = rates.refresh('eur');
  await turns();
  for (const rate of written) await rates.put('eur', rate);
  release();
  expect(await refreshing).toEqual({ n: 2 });
  await lockstep.drain();
  expect(await rates.getVersioned('eur')).toMatchObject({ value: written.at(-1), from: 'cache' });
});
