import { expectEqual, expectThat } from '../kit/expect.js';
import type { CacheCase, CacheContext } from './context.js';

/** A fixed shuffle, so that a failure can be seen again. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const result = [...items];
  let state = seed;
  for (let at = result.length - 1; at > 0; at -= 1) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    const other = state % (at + 1);
    [result[at], result[other]] = [result[other] as T, result[at] as T];
  }
  return result;
}

/** Reads until told to stop; fails when a later read returns a lower version than an earlier one. */
async function readMonotonically(c: CacheContext, key: string, over: () => boolean): Promise<void> {
  let last = 0;
  while (!over()) {
    const hit = await c.hit(key);
    if (hit !== undefined && hit.version > 0) {
      expectThat(hit.version >= last, `a read returned version ${hit.version} after ${last} (G3)`);
      last = hit.version;
    }
    await new Promise(setImmediate);
  }
}

/** Many at once: each transition is atomic on its key. */
export function raceCases(test: CacheCase): void {
  test('race: of many readers of a cold key exactly one gets the lease (G8)', async (c) => {
    const key = c.key();
    const replies = await Promise.all(Array.from({ length: 40 }, () => c.lease(key, c.token())));
    const granted = replies.filter((reply) => reply.outcome === 'granted').length;
    expectEqual(granted, 1, 'the number of granted leases');
    expectEqual(replies.filter((reply) => reply.outcome === 'busy').length, 39, 'the number of busy ones');
  });

  test('race: puts, refreshes and invalidations in any order end at the highest version (G3)', async (c) => {
    for (let round = 1; round <= 8; round += 1) {
      const key = c.key();
      await c.setValue(key, 2);
      let over = false;
      const reader = readMonotonically(c, key, () => over);
      const versions = shuffled(
        Array.from({ length: 30 }, (_, index) => 2 * index + 4),
        round,
      );
      await Promise.all(
        versions.map((version, index) => {
          if (version === 62 || index % 3 === 0) return c.put(key, version);
          return index % 3 === 1 ? c.refresh(key, version) : c.invalidate(key, version);
        }),
      );
      over = true;
      await reader;
      const known = await c.reserve(key, c.token());
      expectThat(known >= 60, `the entry must know a version of at least 60, knows ${known}`);
      const hit = await c.hit(key);
      if (hit !== undefined) expectEqual(hit.version, known, 'a hit after all is over');
    }
  });

  test('race: a load from before a write never becomes readable after it (G2)', async (c) => {
    for (let round = 0; round < 25; round += 1) {
      const [key, reader, writer] = [c.key(), c.token(), c.token()];
      await c.lease(key, reader);
      if (round % 2 === 0) await c.reserve(key, writer);
      await Promise.all([c.put(key, 20, writer), c.fill(key, reader, 10)]);
      const hit = await c.hit(key);
      expectThat(
        hit === undefined || hit.version === 20,
        `after the write of version 20 a read returned version ${hit?.version}`,
      );
    }
  });

  test('race: strict writers side by side never leave a value below the highest (G7)', async (c) => {
    for (let round = 1; round <= 10; round += 1) {
      const key = c.key();
      await c.setValue(key, 2);
      const writers = Array.from({ length: 6 }, (_, index) => ({ token: c.token(), version: 2 * index + 4 }));
      await Promise.all(writers.map(({ token }) => c.intend(key, token)));
      await Promise.all(shuffled(writers, round).map(({ token, version }) => c.put(key, version, token)));
      const hit = await c.hit(key);
      expectThat(
        hit === undefined || hit.version === 14,
        `a value below the highest is readable: ${hit?.version}`,
      );
      expectEqual(await c.reserve(key, c.token()), 14, 'the version known after all puts');
    }
  });
}
