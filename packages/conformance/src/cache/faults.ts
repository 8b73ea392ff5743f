import { expectEqual, expectThat } from '../kit/expect.js';
import { bounded } from '../kit/runner.js';
import { type CacheCase, type CacheContext, LONG_MS, payloadOf, run } from './context.js';
import type { CacheHook } from './under-test.js';

function hook<Name extends Exclude<CacheHook, 'second'> | 'thaw'>(
  c: CacheContext,
  name: Name,
): NonNullable<CacheContext['underTest'][Name]> {
  const found = c.underTest[name];
  expectThat(found !== undefined, `the factory must give the hook ${name}, since options.hooks names it`);
  return found.bind(c.underTest) as NonNullable<CacheContext['underTest'][Name]>;
}

/** A key that the kit can write again after a fault. */
async function expectRecovers(c: CacheContext): Promise<void> {
  await c.eventually('the cache takes writes and reads again', async () => {
    const [key, token] = [c.key(), c.token()];
    try {
      await c.reserve(key, token);
      return (await c.put(key, 10, token)) === 'stored' && (await c.hit(key))?.version === 10;
    } catch {
      return false;
    }
  });
}

/** Faults of the server and the network, and acts of other processes; each case needs its hook. */
export function faultCases(test: CacheCase, hooks: readonly CacheHook[]): void {
  if (hooks.includes('second')) {
    test('two clients: what one writes the other reads, with one lease between them (G2, G8)', async (c) => {
      const { second } = c.underTest;
      expectThat(second !== undefined, 'the factory must give second, since options.hooks names it');
      const [key, cold, token] = [c.key(), c.key(), c.token()];
      await c.setValue(key, 10);
      const reply = await run(second, {
        kind: 'invalidate',
        key,
        version: 20,
        holeTtlMs: LONG_MS,
        holeOnEmpty: false,
      });
      expectEqual(reply.outcome, 'floored', "the other client's invalidation");
      await c.expectMiss(key);
      await c.lease(cold, token);
      const bid = {
        kind: 'lease',
        key: cold,
        token: c.token(),
        leaseMs: LONG_MS,
        holeTtlMs: LONG_MS,
      } as const;
      expectEqual(
        (await run(second, { ...bid, encoding: 'utf8' })).outcome,
        'busy',
        "the other client's lease",
      );
      await c.fill(cold, token, 10);
      const [hit] = await second.read([cold], 'utf8');
      expectThat(
        !(hit instanceof Error) && hit?.payload === payloadOf(10),
        'the other client must hit the fill',
      );
    });
  }

  if (hooks.includes('evict')) {
    test('eviction: a late put of an older version does not come back (G3)', async (c) => {
      const [key, token] = [c.key(), c.token()];
      await c.setValue(key, 20);
      await hook(c, 'evict')(key);
      await c.expectMiss(key);
      expectEqual(await c.put(key, 10, token), 'floored', 'a late put after the eviction');
      await c.expectMiss(key);
    });

    test('eviction: a put whose reservation was evicted leaves a hole (G3)', async (c) => {
      const [key, token] = [c.key(), c.token()];
      await c.reserve(key, token);
      await hook(c, 'evict')(key);
      expectEqual(await c.put(key, 10, token), 'floored', 'the put');
      await c.expectFloor(key, 10);
    });

    test('eviction: a fill whose lease was evicted is lost (G3)', async (c) => {
      const [key, token] = [c.key(), c.token()];
      await c.lease(key, token);
      await hook(c, 'evict')(key);
      expectEqual(await c.fill(key, token, 10), { kind: 'fill', outcome: 'lost' }, 'the fill');
      await c.expectMiss(key);
    });
  }

  if (hooks.includes('flushScripts')) {
    test('lost scripts: every command works again by itself', async (c) => {
      const flush = hook(c, 'flushScripts');
      const [key, writer, strict, reader] = [c.key(), c.token(), c.token(), c.token()];
      const steps: readonly (readonly [() => Promise<unknown>, unknown])[] = [
        [() => c.reserve(key, writer), 0],
        [() => c.put(key, 10, writer), 'stored'],
        [() => c.refresh(key, 12), 'stored'],
        [() => c.invalidate(key, 20), 'floored'],
        [() => c.lease(key, reader), { kind: 'lease', outcome: 'granted', floor: 20 }],
        [() => c.fill(key, reader, 22), { kind: 'fill', outcome: 'filled' }],
        [() => c.intend(key, strict), 22],
        [() => c.release(key, strict), false],
      ];
      for (const [step, expected] of steps) {
        await flush();
        expectEqual(await step(), expected, 'the reply to the next command after the scripts were lost');
      }
      await flush();
      const token = c.token();
      const keys = Array.from({ length: 20 }, () => c.key());
      const replies = await c.cache.execute(
        keys.map((key) => ({ kind: 'reserve', key, token, holeTtlMs: LONG_MS }) as const),
      );
      expectEqual(
        replies.map((reply) => (reply instanceof Error ? reply : reply.kind)),
        keys.map(() => 'reserved'),
        'a batch right after the scripts were lost',
      );
    });
  }

  if (hooks.includes('cut')) {
    test('cut connection: calls under way are answered or rejected, and the cache recovers (G3)', async (c) => {
      const key = c.key();
      await c.setValue(key, 2);
      for (let round = 1; round <= 3; round += 1) {
        const calls = Array.from({ length: 20 }, (_, index) => c.put(key, round * 100 + 2 * index));
        const reads = Array.from({ length: 20 }, () => c.hit(key));
        const cut = Promise.resolve(hook(c, 'cut')());
        await bounded('calls under way', c.deadlineMs, Promise.allSettled([...calls, ...reads, cut]));
        await expectRecovers(c);
        const settled = await Promise.allSettled(calls);
        const stored = settled.filter(
          (call) => call.status === 'fulfilled' && call.value === 'stored',
        ).length;
        // Another server may hold this key than those that were seen to recover.
        const known = await c.eventually('the key answers again', () =>
          c.reserve(key, c.token()).catch(() => undefined),
        );
        expectThat(stored === 0 || known >= round * 100, 'an acknowledged put must not be undone by the cut');
      }
    });
  }

  if (hooks.includes('freeze')) {
    test('frozen server: calls end within the deadline, and late commands harm nothing (G3)', async (c) => {
      const key = c.key();
      await c.setValue(key, 10);
      await hook(c, 'freeze')();
      const calls = [c.put(key, 20), c.hit(key), c.invalidate(key, 15), c.lease(c.key(), c.token())];
      try {
        await bounded('calls to a frozen server', c.deadlineMs, Promise.allSettled(calls));
      } finally {
        await hook(c, 'thaw')();
      }
      await expectRecovers(c);
      await c.eventually('a put after the thaw is stored or leaves a floor', async () => {
        const outcome = await c.put(key, 30).catch(() => undefined);
        return outcome === 'stored' || outcome === 'floored';
      });
      const hit = await c.hit(key);
      expectThat(
        hit === undefined || hit.version === 30,
        `version ${hit?.version} is readable after 30 was put`,
      );
    });
  }
}
