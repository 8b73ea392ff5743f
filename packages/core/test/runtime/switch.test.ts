import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { InvalidOptionError } from '../../src/errors.js';
import { refuse } from '../../src/faults/index.js';
import { memoryCache } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { CHAIR, elapse, LAMP, openShop, storeOf, turns } from '../support/shop.js';

const warned = vi.spyOn(process, 'emitWarning');
beforeEach(() => {
  warned.mockReset().mockImplementation(() => undefined);
});
afterEach(() => vi.unstubAllEnvs());

const warnings = (): unknown[] => warned.mock.calls.map(([message]) => message);

test('off, every read goes to the store, and fills nothing; on, the cache is used at once', async () => {
  const { entry, lockstep, products, record, rows } = openShop();
  const misses = record('miss');
  await products.put('1', LAMP);
  const before = await entry('1');
  // Nobody relays: what is cached is old.
  await rows.foreignWrite('1', CHAIR);
  await rows.foreignWrite('2', CHAIR);
  expect(await products.get('1')).toEqual(LAMP);
  lockstep.enabled = false;
  expect(lockstep.enabled).toBe(false);
  expect(await products.getVersioned('1')).toMatchObject({ value: CHAIR, from: 'store' });
  expect(await products.getMany(['1', '2', '3'])).toEqual([CHAIR, CHAIR, undefined]);
  expect(await products.refresh('2')).toEqual(CHAIR);
  expect(await products.get('2', { fresh: true })).toEqual(CHAIR);
  expect(misses.map(({ reason }) => reason)).toEqual(['off', 'off', 'off', 'off', 'off', 'off']);
  await lockstep.drain();
  expect([await entry('1'), await entry('2'), await entry('3')]).toEqual([before, undefined, undefined]);
  lockstep.enabled = true;
  expect(await products.getVersioned('1')).toMatchObject({ value: LAMP, from: 'cache' });
});

test('off, writes invalidate: nobody reads what was there before, in any process', async () => {
  const shop = openShop();
  const { clock, entry, lockstep, products } = shop;
  const other = shop.join();
  await products.put('1', LAMP);
  await products.put('2', LAMP);
  await products.put('3', LAMP);
  expect(await other.products.getMany(['1', '2', '3'])).toEqual([LAMP, LAMP, LAMP]);
  lockstep.enabled = false;
  const { version } = await products.put('1', CHAIR);
  expect((await products.update('2', () => CHAIR)).cache).toBe('invalidated');
  await elapse(
    clock,
    lockstep.transaction(async (tx) => void (await products.delete('3', { tx }))),
  );
  expect(await entry('1')).toMatchObject({ state: 'hole', version });
  expect((await entry('2'))?.state).toBe('hole');
  expect((await entry('3'))?.state).toBe('hole');
  expect(await other.products.getMany(['1', '2', '3'])).toEqual([CHAIR, CHAIR, undefined]);
  await other.lockstep.drain();
  lockstep.enabled = true;
  expect(await products.getVersioned('1')).toMatchObject({ value: CHAIR, version, from: 'cache' });
  expect((await products.put('1', LAMP)).cache).toBe('updated');
});

describe('with a buffer', () => {
  const collection = { strategy: 'write-behind' } as const;

  test('what is unflushed is flushed before it is read, whoever wrote it, and nothing more is buffered', async () => {
    const shop = openShop({ collection });
    const { clock, lockstep, products, rows } = shop;
    const other = shop.join();
    await products.put('1', LAMP);
    await products.get('1');
    await products.put('2', LAMP);
    await products.get('2');
    await lockstep.drain();
    const stored = async (id: string) => (await rows.read([id], { timeoutMs: 100, primary: true }))[0]?.value;
    // The queue has the jobs, and nobody who runs them.
    expect((await other.products.put('1', CHAIR)).store).toBe('buffered');
    expect((await products.put('2', CHAIR)).store).toBe('buffered');
    lockstep.enabled = false;
    expect([await stored('1'), await stored('2')]).toEqual([LAMP, LAMP]);
    const reading = products.getMany(['1', '2']);
    expect(await elapse(clock, reading)).toEqual([CHAIR, CHAIR]);
    expect([await stored('1'), await stored('2')]).toEqual([CHAIR, CHAIR]);
    expect((await elapse(clock, products.put('1', LAMP))).store).toBe('committed');
    expect(await elapse(clock, other.products.get('1'))).toEqual(LAMP);
    await elapse(clock, lockstep.drain());
    lockstep.enabled = true;
    await elapse(clock, products.get('1'));
    await elapse(clock, lockstep.drain());
    expect((await elapse(clock, products.put('1', CHAIR))).store).toBe('buffered');
  });

  test('what this process has buffered is flushed when it is switched off, unread', async () => {
    const { clock, lockstep, products, rows } = openShop({ collection });
    await products.put('1', LAMP);
    await products.get('1');
    await elapse(clock, lockstep.drain());
    expect((await products.put('1', CHAIR)).store).toBe('buffered');
    lockstep.enabled = false;
    await elapse(clock, lockstep.drain());
    expect((await rows.read(['1'], { timeoutMs: 100, primary: true }))[0]?.value).toEqual(CHAIR);
  });

  test('where the cache is away the store answers', async () => {
    const { cachePlan, clock, lockstep, products } = openShop({ collection });
    await products.put('1', LAMP);
    lockstep.enabled = false;
    cachePlan.always('read', refuse());
    cachePlan.always('execute', refuse());
    expect(await elapse(clock, products.get('1'))).toEqual(LAMP);
  });
});

test('a switch that changes is an event and a warning; one that does not is neither', async () => {
  const { lockstep, record } = openShop();
  const events = record('switch');
  expect(lockstep.status()).toEqual({ enabled: true, switchedOff: [] });
  lockstep.enabled = true;
  expect([events, warnings()]).toEqual([[], []]);
  lockstep.enabled = false;
  lockstep.enabled = false;
  expect(lockstep.status()).toEqual({ enabled: false, switchedOff: ['process'] });
  lockstep.enabled = true;
  expect(events).toEqual([
    { enabled: false, switchedOff: ['process'] },
    { enabled: true, switchedOff: [] },
  ]);
  expect(warnings()).toEqual([
    'the cache of prefix "wtc" is switched off in this process: every read goes to the store',
    'the cache of prefix "wtc" is switched on again',
  ]);
});

test('LOCKSTEP_DISABLED switches a process off from its start; other values are refused by name', async () => {
  const made = (value: string | undefined) => {
    vi.stubEnv('LOCKSTEP_DISABLED', value);
    return createLockstep({ cache: memoryCache() });
  };
  for (const value of ['1', 'true']) {
    const lockstep = made(value);
    expect(lockstep.status()).toEqual({ enabled: false, switchedOff: ['process'] });
    lockstep.enabled = true;
    expect(lockstep.status().enabled).toBe(true);
  }
  for (const value of [undefined, '', '0', 'false']) expect(made(value).enabled).toBe(true);
  for (const value of ['yes', 'TRUE', ' 1', 'toString']) {
    expect(() => made(value), value).toThrow(InvalidOptionError);
    expect(() => made(value), value).toThrow(
      `LOCKSTEP_DISABLED: must be 1 or 0, true or false, got ${JSON.stringify(value)}`,
    );
  }
  const lockstep = made('0');
  for (const value of ['no', 0, undefined]) {
    expect(() => Object.assign(lockstep, { enabled: value })).toThrow('enabled: must be true or false');
  }
});

describe('for all processes', () => {
  /** Lets processes read what the registry says by now. */
  async function aSecondLater(shop: ReturnType<typeof openShop>): Promise<void> {
    shop.clock.advance(1_010);
    await turns();
  }

  test('each process reads the switch within a second, whether it writes or not', async () => {
    const shop = openShop();
    const others = [shop.join(), shop.join()];
    const events = shop.record('switch');
    await shop.products.put('1', LAMP);
    for (const { products } of others) expect(await products.get('1')).toEqual(LAMP);
    await shop.rows.foreignWrite('1', CHAIR);
    expect(await shop.lockstep.switchOff()).toEqual(['products']);
    // The one that has switched it off knows at once.
    expect(await shop.products.get('1')).toEqual(CHAIR);
    await aSecondLater(shop);
    for (const { lockstep, products } of others) {
      expect(lockstep.status()).toEqual({ enabled: false, switchedOff: ['fleet'] });
      expect(await products.get('1')).toEqual(CHAIR);
      // Their own switches are apart.
      expect(lockstep.enabled).toBe(true);
    }
    const [one, two] = others;
    if (one === undefined || two === undefined) throw new Error('no others');
    one.lockstep.enabled = false;
    await two.products.put('1', LAMP);
    expect(await shop.lockstep.switchOn()).toEqual(['products']);
    await aSecondLater(shop);
    expect(one.lockstep.status()).toEqual({ enabled: false, switchedOff: ['process'] });
    expect(two.lockstep.status()).toEqual({ enabled: true, switchedOff: [] });
    expect(await two.products.get('1')).toEqual(LAMP);
    await two.lockstep.drain();
    expect((await shop.products.getVersioned('1')).from).toBe('cache');
    expect(events).toEqual([
      { enabled: false, switchedOff: ['fleet'] },
      { enabled: true, switchedOff: [] },
    ]);
    expect(warnings()).toContain(
      'the cache of prefix "wtc" is switched off for all processes: every read goes to the store',
    );
  });

  test('who comes later, or has another table, is switched off from the first read', async () => {
    const shop = openShop();
    await shop.products.put('1', LAMP);
    await shop.lockstep.switchOff();
    const late = shop.join();
    expect((await late.products.getVersioned('1')).from).toBe('store');
    const table = shop.joinStore(storeOf(shop.database, 'offers'), {});
    await table.products.put('1', CHAIR);
    expect(table.lockstep.status().enabled).toBe(false);
    expect(await shop.lockstep.switchOn()).toEqual(['products', 'offers']);
    await aSecondLater(shop);
    expect([late, table].map(({ lockstep }) => lockstep.status().enabled)).toEqual([true, true]);
  });

  test('a registry that can not be read leaves the switch as it was, and is one error', async () => {
    const shop = openShop();
    const other = shop.join();
    const errors: unknown[] = [];
    other.lockstep.events.on('error', ({ where }) => errors.push(where));
    await other.products.get('1');
    await shop.products.get('1');
    await shop.lockstep.switchOff();
    await aSecondLater(shop);
    shop.storePlan.always('registry', refuse());
    for (let second = 0; second < 3; second++) await aSecondLater(shop);
    expect(other.lockstep.status().enabled).toBe(false);
    expect(errors).toEqual(['registry']);
    shop.storePlan.clear('registry');
    await shop.lockstep.switchOn();
    await aSecondLater(shop);
    expect(other.lockstep.status().enabled).toBe(true);
  });

  test('it needs a store that records the cache', async () => {
    const lockstep = createLockstep({ cache: memoryCache() });
    await expect(lockstep.switchOff()).rejects.toThrow('no collection has a store with a registry');
    const shop = openShop({ lockstep: { prefix: 'misspelt' } });
    await expect(shop.lockstep.switchOff()).rejects.toThrow(
      'prefix: no store has a record of a cache of prefix "misspelt"',
    );
    await shop.lockstep.close();
    await expect(shop.lockstep.switchOff()).rejects.toThrow('closed');
  });

  test('a process that is closed reads no registry any more', async () => {
    const shop = openShop();
    await shop.products.get('1');
    await shop.lockstep.close();
    const calls = shop.storePlan.calls('registry');
    for (let second = 0; second < 3; second++) await aSecondLater(shop);
    expect(shop.storePlan.calls('registry')).toBe(calls);
  });
});
