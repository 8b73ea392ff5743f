import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import { type Clock, systemClock } from '../../src/contracts/clock.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { manualClock } from '../../src/faults/index.js';
import { createLockstep, InvalidOptionError } from '../../src/index.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';

interface User {
  readonly name: string;
}

const stores = () => memoryStore<User>({ name: 'users' });

/** Stands for Redis: every process sees the same entries. */
const sharedCache = (): CacheAdapter => ({ ...memoryCache(), shared: true });

function service(
  prefix: string,
  store: StoreAdapter<User>,
  { clock = systemClock, ...options }: { additional?: boolean; clock?: Clock } = {},
) {
  const lockstep = createLockstep({ cache: sharedCache(), prefix, clock });
  return { lockstep, users: lockstep.collection<User>({ name: 'users', store, ...options }) };
}

const consumersOf = async (store: ReturnType<typeof stores>): Promise<string[]> =>
  (await store.feed.registry.consumers(['users'])).map(({ consumer }) => consumer).sort();

test('a cache of another prefix is refused when it opens, with both named, and records nothing', async () => {
  const store = stores();
  await service('shop', store).users.get('a');
  const other = service('wtc', store);
  for (const call of [() => other.users.get('a'), () => other.users.put('a', { name: 'Ada' })]) {
    await expect(call()).rejects.toThrow(InvalidOptionError);
    await expect(call()).rejects.toThrow(
      /users is kept in step with the cache of prefix "shop" \(collection "users"\); this is the cache of prefix "wtc".*additional: true.*forget\("shop", \["users"\]\)/,
    );
  }
  expect(await consumersOf(store)).toEqual(['shop']);
  expect(store.keys()).toEqual([]);
});

test('a relay of another prefix does nothing, and says why, until the other cache is forgotten', async () => {
  const store = stores();
  // Its process was killed: it does not record itself again.
  await service('shop', store, { clock: manualClock() }).users.get('a');
  const { lockstep } = service('typo', store);
  const errors: unknown[] = [];
  lockstep.events.on('error', ({ error }) => errors.push(error));
  const relay = lockstep.startRelay();
  await expect.poll(() => relay.status().refused).toEqual([expect.stringContaining('prefix "shop"')]);
  await store.feed.registry.forget('shop', ['users']);
  await expect.poll(() => relay.status().refused).toBeUndefined();
  expect(errors).toEqual([expect.any(InvalidOptionError)]);
  expect(await consumersOf(store)).toEqual(['typo']);
  await relay.stop();
});

test('a table that is refused keeps none of the others from being relayed', async () => {
  const database = memoryDatabase({ name: 'shop' });
  const [users, orders] = ['users', 'orders'].map((name) => memoryStore<User>({ name, database }));
  if (users === undefined || orders === undefined) throw new Error('no stores');
  await service('shop', users).users.get('a');
  const lockstep = createLockstep({ cache: sharedCache(), prefix: 'typo' });
  lockstep.collection<User>({ name: 'users', store: users });
  const cached = lockstep.collection<User>({ name: 'orders', store: orders });
  const relay = lockstep.startRelay();
  await expect.poll(() => relay.status().refused).toHaveLength(1);
  await orders.foreignWrite('a', { name: 'old' });
  await expect.poll(async () => (await cached.getVersioned('a')).from).toBe('cache');
  await orders.foreignWrite('a', { name: 'new' });
  await expect.poll(() => cached.get('a')).toEqual({ name: 'new' });
  await relay.stop();
});

test('a second cache that is meant is taken, and who is recorded stays, whatever comes beside it', async () => {
  const store = stores();
  await service('green', store).users.get('a');
  await service('blue', store, { additional: true }).users.get('a');
  // They start again.
  await service('green', store).users.get('a');
  await service('blue', store).users.get('a');
  expect(await consumersOf(store)).toEqual(['blue', 'green']);
});

test('several collections of one prefix, declared by different processes, are one cache', async () => {
  const store = stores();
  await service('shop', store).users.get('a');
  const lockstep = createLockstep({ cache: sharedCache(), prefix: 'shop' });
  await lockstep.collection<User>({ name: 'people', store }).get('a');
});

test('of two caches that are recorded at once one takes its record back', async () => {
  const store = stores();
  const both = [service('one', store), service('two', store)];
  const opening = await Promise.allSettled(both.map(({ users }) => users.get('a')));
  const refused = opening.filter(({ status }) => status === 'rejected');
  expect(refused.length).toBeGreaterThan(0);
  expect(await consumersOf(store)).toHaveLength(2 - refused.length);
});

test('memory caches, of which each process has its own, are no second cache', async () => {
  const store = stores();
  for (const prefix of ['one', 'two']) {
    const lockstep = createLockstep({ cache: memoryCache(), prefix });
    await lockstep.collection<User>({ name: 'users', store }).get('a');
  }
});

test('a cache that was closed makes room for one of another prefix, and may come back beside it', async () => {
  const store = stores();
  const first = service('shop', store);
  await first.users.get('a');
  const { lockstep, users } = service('wtc', store);
  await first.lockstep.close();
  expect(await users.get('a')).toBeUndefined();
  await service('shop', store).users.get('a');
  expect(await consumersOf(store)).toEqual(['shop', 'wtc']);
  await lockstep.close();
});
