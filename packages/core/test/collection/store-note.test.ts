import { expect, test } from 'vitest';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import { createLockstep, InvalidOptionError } from '../../src/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';

interface User {
  readonly owner: string;
}

/** Stands for Redis. */
const sharedCache = (): CacheAdapter => ({ ...memoryCache(), shared: true });

/** A service on a database of its own, with the prefix that nobody has set. */
async function service(owner: string, cache: CacheAdapter, options: { additional?: boolean } = {}) {
  const store = memoryStore<User>({ name: 'users' });
  await store.foreignWrite('1', { owner });
  const identified = { ...store, identity: async () => `test:${owner}.users` };
  const lockstep = createLockstep({ cache });
  return lockstep.collection<User>({ name: 'users', store: identified, ...options });
}

test('keys of the cache that hold another database’s rows are refused, with both named', async () => {
  const cache = sharedCache();
  expect(await (await service('shop', cache)).get('1')).toEqual({ owner: 'shop' });
  expect(await (await service('shop', cache)).get('1')).toEqual({ owner: 'shop' });
  const billing = await service('billing', cache);
  for (const call of [() => billing.get('1'), () => billing.put('1', { owner: 'billing' })]) {
    await expect(call()).rejects.toThrow(InvalidOptionError);
    await expect(call()).rejects.toThrow(
      /"wtc:users:…" hold rows of test:shop\.users, .* store is test:billing\.users.*prefix.*additional: true/,
    );
  }
  const moved = await service('moved', cache, { additional: true });
  expect(await moved.get('1')).toEqual({ owner: 'moved' });
  await (await service('moved', cache)).get('2');
});

test('a cache that can’t be reached refuses nobody', async () => {
  const cache: CacheAdapter = {
    ...sharedCache(),
    execute: async () => {
      throw new Error('away');
    },
  };
  for (const owner of ['shop', 'billing']) {
    expect(await (await service(owner, cache)).get('1')).toEqual({ owner });
  }
});
