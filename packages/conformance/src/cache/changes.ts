import type { ChangeWatch } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, type CacheContext, run } from './context.js';
import type { CacheHook } from './under-test.js';

interface Watched {
  readonly watch: ChangeWatch;
  /** The keys that were told since the last time. */
  readonly told: () => string[];
  readonly lost: () => number;
}

/** A watch over the kit's keys that is proven. */
async function watched(c: CacheContext): Promise<Watched> {
  const told: string[] = [];
  let lost = 0;
  const { watchChanges } = c.cache;
  expectThat(watchChanges !== undefined, 'options.changes is set, but cache.watchChanges is not there');
  const watch = watchChanges.call(c.cache, `${c.keyStart}-own:`, {
    changed: (key) => void told.push(key),
    lost: () => {
      lost++;
    },
  });
  watch.add(`${c.keyStart}:`);
  await proven(c, watch);
  return { watch, told: () => told.splice(0), lost: () => lost };
}

async function proven(c: CacheContext, watch: ChangeWatch): Promise<void> {
  await c.eventually('a ping of the watch resolves', () =>
    watch.ping().then(
      () => true,
      () => false,
    ),
  );
}

/** The heads of entries, where the cache reads them. */
export function headCases(test: CacheCase): void {
  test('heads: what read() tells of an entry, without its payload', async (c) => {
    const { readHeads } = c.cache;
    if (readHeads === undefined) return;
    const [value, absent, known, hole, empty] = [c.key(), c.key(), c.key(), c.key(), c.key()];
    await c.setValue(value, 10, 'x'.repeat(5_000));
    await c.setValue(absent, 12, null);
    await c.lease(known, 'reader');
    await c.fill(known, 'reader', 0, null);
    await c.setHole(hole, 10);
    const keys = [value, absent, known, hole, empty];
    const hits = await c.cache.read(keys, 'utf8');
    const expected = hits.map((hit) => {
      if (hit === undefined || hit instanceof Error) return hit;
      return { version: hit.version, staleAtMs: hit.staleAtMs, absent: hit.payload === null };
    });
    expectEqual(await readHeads.call(c.cache, keys), expected, 'the heads');
    expectEqual(await readHeads.call(c.cache, [value]), expected.slice(0, 1), 'the head of one');
  });
}

/** What a cache tells of changes of its entries. */
export function changeCases(test: CacheCase, hooks: readonly CacheHook[]): void {
  test('changes: each is told before a later ping resolves, whoever makes it', async (c) => {
    const { told, watch } = await watched(c);
    const maker = c.underTest.second ?? c.cache;
    const key = c.key();
    const steps = [
      ['a put', () => c.setValue(key, 10)],
      [
        'a put of another client',
        () =>
          run(maker, {
            ...{ kind: 'put', key, token: undefined, version: 12, payload: 'x' },
            ...{ ttlMs: 60_000, staleAtMs: 0, holeTtlMs: 60_000 },
          }),
      ],
      ['an invalidation', () => c.invalidate(key, 14)],
      ['a lease', () => c.lease(key, 'reader')],
      ['a fill', () => c.fill(key, 'reader', 14)],
      ['a refresh', () => c.refresh(key, 16)],
      ...(hooks.includes('evict') ? [['an eviction', () => c.underTest.evict?.(key)] as const] : []),
    ] as const;
    for (const [name, step] of steps) {
      await step();
      await watch.ping();
      expectThat(told().includes(key), `${name} was not told before the ping's answer`);
    }
    await watch.close();
  });

  test('changes: a long row of them is told whole', async (c) => {
    const { told, watch } = await watched(c);
    const keys = Array.from({ length: 500 }, () => c.key());
    await c.cache.execute(
      keys.map((key) => ({
        kind: 'lease',
        key,
        token: 't',
        leaseMs: 1_000,
        holeTtlMs: 1_000,
        encoding: 'utf8',
      })),
    );
    await watch.ping();
    const found = new Set(told());
    const missing = keys.filter((key) => !found.has(key));
    expectThat(missing.length === 0, `${missing.length} of ${keys.length} changes were not told`);
    await watch.close();
  });

  if (hooks.includes('cut')) {
    test('changes: connections that are cut are told as a loss, and made again', async (c) => {
      const { lost, told, watch } = await watched(c);
      const before = lost();
      await c.underTest.cut?.();
      await c.eventually('the loss is told', () => lost() > before);
      await proven(c, watch);
      const key = c.key();
      await c.eventually('the cache is back', () =>
        c.setValue(key, 10).then(
          () => true,
          () => false,
        ),
      );
      await watch.ping();
      expectThat(told().includes(key), 'a change after the loss was not told');
      await watch.close();
    });
  }

  if (hooks.includes('freeze')) {
    test('changes: a ping of a server that does not answer rejects', async (c) => {
      const { watch } = await watched(c);
      await c.underTest.freeze?.();
      const answered = await watch.ping().then(
        () => true,
        () => false,
      );
      await c.underTest.thaw?.();
      expectThat(!answered, 'a ping resolved though the server was frozen');
      await proven(c, watch);
      await watch.close();
    });
  }
}
