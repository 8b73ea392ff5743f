import { describe, expect, test } from 'vitest';
import { refuse } from '../../src/faults/index.js';
import { CHAIR, LAMP, openShop, turns } from '../support/shop.js';

const INTENT_MS = 3_000;
const HOLE_MS = 10_000;

const openStrict = (more: Parameters<typeof openShop>[0] = {}) =>
  openShop({
    ...more,
    collection: {
      consistency: 'strict',
      storeTimeoutMs: 1_000,
      batch: { queueTimeoutMs: 1_000 },
      holeTtlMs: HOLE_MS,
      ttlMs: 3_600_000,
      ...more.collection,
    },
  });

type Shop = ReturnType<typeof openStrict>;

/** A transaction that a server holds on to after its time: it holds the row's lock, and may still commit. */
function holdRow(shop: Shop, value: typeof LAMP) {
  const { promise: commit, resolve } = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const transaction = shop.database.transactions.transaction(
    async (tx) => {
      await shop.rows.write([{ kind: 'put', key: 'a', value, above: 0 }], { timeoutMs: 1_000, tx });
      held.resolve();
      await commit;
    },
    { timeoutMs: 3_600_000 },
  );
  return {
    held: held.promise,
    commit: () => {
      resolve();
      return transaction;
    },
  };
}

/** Leaves an intent that will run out: its write's outcome is not known. */
async function leaveIntent(shop: Shop): Promise<void> {
  shop.storePlan.next('write', refuse(new Error('socket hang up')));
  await expect(shop.products.put('a', CHAIR)).rejects.toMatchObject({ outcome: 'unknown' });
}

/** What the next reader finds in the cache, once one has read before it. */
async function cachedAfterRead(
  shop: Shop,
  { products, lockstep }: Pick<Shop, 'products' | 'lockstep'> = shop,
) {
  const reading = products.getVersioned('a');
  await turns();
  // What a reader waits for whoever may still commit.
  shop.clock.advance(250);
  const first = await reading;
  await lockstep.drain();
  return { first, entry: await shop.entry('a') };
}

describe('G7: commits that outlive their intents', () => {
  test('a write that arrives after its deadline is refused by the store', async () => {
    const shop = openStrict();
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', CHAIR);
    const told = expect(writing).rejects.toMatchObject({ code: 'LOCKSTEP_STORE_TIMEOUT' });
    await held.reached;
    shop.clock.advance(INTENT_MS);
    await told;
    expect(await cachedAfterRead(shop)).toMatchObject({ entry: { state: 'value' } });
    held.release();
    await turns();
    expect((await shop.rows.read(['a'], { timeoutMs: 1_000, primary: true }))[0]?.value).toEqual(LAMP);
  });

  test('a fill behind an intent that ran out waits for whoever may still commit, and fills nothing until then', async () => {
    const shop = openStrict();
    await shop.products.put('a', LAMP);
    await leaveIntent(shop);
    const late = holdRow(shop, CHAIR);
    await late.held;
    shop.clock.advance(INTENT_MS);
    const refused = shop.record('fillRefused');
    for (let i = 0; i < 3; i++) {
      expect(await cachedAfterRead(shop)).toMatchObject({
        first: { value: LAMP, from: 'store' },
        entry: { state: 'hole' },
      });
    }
    expect(refused).toMatchObject([{ reason: 'writers' }, { reason: 'writers' }, { reason: 'writers' }]);
    await late.commit();
    expect(await cachedAfterRead(shop)).toMatchObject({ first: { value: CHAIR }, entry: { state: 'value' } });
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
  });

  test('so does the fill of a key without a row', async () => {
    const shop = openStrict();
    await leaveIntent(shop);
    const late = holdRow(shop, CHAIR);
    await late.held;
    shop.clock.advance(INTENT_MS);
    expect((await cachedAfterRead(shop)).first).toMatchObject({ value: null, from: 'store' });
    await late.commit();
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: CHAIR });
  });

  test.each(['write', 'transaction'] as const)(
    'the intent of a %s() stands for as long as it may take',
    async (how) => {
      const shop = openStrict();
      await shop.products.put('a', LAMP);
      const { promise: end, resolve } = Promise.withResolvers<void>();
      const body = async (): Promise<void> => {
        shop.clock.advance(20_000);
        await end;
      };
      const writing =
        how === 'write'
          ? shop.products.write('a', body, { timeoutMs: 60_000 })
          : shop.lockstep.transaction(
              async (tx) => {
                await shop.products.put('a', CHAIR, { tx });
                await body();
              },
              { timeoutMs: 60_000 },
            );
      await turns();
      expect(await cachedAfterRead(shop, shop.join())).toMatchObject({
        first: { value: LAMP, from: 'store' },
        entry: { state: 'hole' },
      });
      resolve();
      await writing;
      expect(await shop.products.getVersioned('a')).toMatchObject({ from: 'cache' });
    },
  );
});

describe('G7: a cache that lost its intents', () => {
  test('readers pass by, and writes leave floors, until the longest intent would have run out', async () => {
    const shop = openStrict();
    const other = shop.join();
    await shop.products.put('a', LAMP);
    const held = shop.storePlan.pauseNext('write');
    const writing = shop.products.put('a', CHAIR);
    await held.reached;
    shop.memory.clear();
    expect(await other.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'store' });
    await other.lockstep.drain();
    expect(await shop.entry('a')).toMatchObject({ state: 'hole' });
    // Another key's writers may be as far.
    expect(await other.products.put('b', LAMP)).toMatchObject({ cache: 'invalidated' });
    expect(await shop.entry('b')).toMatchObject({ state: 'hole' });
    held.release();
    expect(await writing).toMatchObject({ cache: 'invalidated' });
    // A transaction by default takes longer than a write of this collection.
    shop.clock.advance(11_001);
    for (const id of ['a', 'b']) await other.products.get(id);
    await other.lockstep.drain();
    expect(await other.products.getVersioned('a')).toMatchObject({ value: CHAIR, from: 'cache' });
    expect(await other.products.put('b', CHAIR)).toMatchObject({ cache: 'updated' });
  });

  test('a longer transaction makes it longer', async () => {
    const shop = openStrict();
    await shop.products.write('a', async () => undefined, { timeoutMs: 60_000 });
    shop.memory.clear();
    shop.clock.advance(60_999);
    expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'invalidated' });
    shop.clock.advance(1_000);
    expect(await shop.products.put('a', LAMP)).toMatchObject({ cache: 'updated' });
  });

  test('marks of intents that ran out are lost, too: for a while after that readers wait for whoever may commit', async () => {
    const shop = openStrict();
    await shop.products.put('a', LAMP);
    await leaveIntent(shop);
    const late = holdRow(shop, CHAIR);
    await late.held;
    shop.memory.clear();
    shop.clock.advance(11_001);
    expect(await cachedAfterRead(shop)).toMatchObject({ first: { value: LAMP }, entry: { state: 'hole' } });
    await late.commit();
    expect(await cachedAfterRead(shop)).toMatchObject({ first: { value: CHAIR }, entry: { state: 'value' } });
  });

  test('a cache that does not say counts as one that lost them; available collections never ask', async () => {
    const shop = openStrict();
    await shop.products.put('a', LAMP);
    shop.cachePlan.always('kept', refuse());
    expect(await shop.products.put('a', CHAIR)).toMatchObject({ cache: 'invalidated' });
    expect(await cachedAfterRead(shop)).toMatchObject({ first: { value: CHAIR }, entry: { state: 'hole' } });
    const available = openShop();
    await available.products.put('a', LAMP);
    await available.products.get('b');
    expect(available.cachePlan.calls('kept')).toBe(0);
  });
});
