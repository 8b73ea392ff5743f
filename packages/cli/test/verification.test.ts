import { setImmediate } from 'node:timers/promises';
import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryStore } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import type { Session } from '../src/session.js';
import { verifyCollection } from '../src/verification.js';

test('a row is compared as the schema shows it', async () => {
  const lockstep = createLockstep({ cache: memoryCache() });
  const store = memoryStore<{ name: string }>({ name: 'users' });
  const users = lockstep.collection({
    name: 'users',
    store,
    schema: {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (row) => ({ value: { name: (row as { name: string }).name } }),
      },
    },
  });
  await store.foreignWrite('1', { name: 'Ada', internal: true } as { name: string });
  // The row is filled in behind its reader.
  while ((await users.getVersioned('1')).from !== 'cache') await setImmediate();
  expect(await users.get('1')).toEqual({ name: 'Ada' });
  const [collection] = lockstep.collections;
  if (collection === undefined) throw new Error('there is no collection');
  const session = { lockstep, progress: () => undefined } as unknown as Session;
  const options = {
    from: undefined,
    lag: 0,
    limit: 10,
    perSecond: 1_000,
    repair: false,
    save: () => undefined,
  };
  expect(await verifyCollection(session, collection, options)).toMatchObject({ inStep: 1, different: 0 });
  await lockstep.close();
});
