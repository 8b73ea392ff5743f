import { expect, test } from 'vitest';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

const HANGS = new Promise<never>(() => undefined);

/** A store whose adapter does not keep to `timeoutMs`. */
function hangingStore(): StoreAdapter<{ n: number }> {
  const rows = memoryStore<{ n: number }>({ name: 'rows' });
  return { ...rows, open: async () => undefined, keyOf: (id) => id, read: () => HANGS, write: () => HANGS };
}

test('a store that never answers does not keep its callers', async () => {
  const clock = manualClock();
  const lockstep = createLockstep({ cache: memoryCache({ clock }), clock });
  const rows = lockstep.collection({ name: 'rows', store: hangingStore(), storeTimeoutMs: 100 });
  const calls = Promise.allSettled([rows.get('a'), rows.put('b', { n: 1 })]);
  let ended = false;
  void calls.then(() => {
    ended = true;
  });
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.monotonic() < 1_000) clock.advance(10);
  }
  for (const call of await calls) {
    expect(call).toMatchObject({ status: 'rejected', reason: { code: 'LOCKSTEP_STORE_TIMEOUT' } });
  }
});
