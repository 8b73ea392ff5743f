import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, LONG_MS, payloadOf, run } from './context.js';

/** Short enough to wait for, long enough for a slow machine to act within it, in ms. */
const SHORT_MS = 150;

/** Rules 5 and 6: leases, fills, known absence, time. */
export function readerCases(test: CacheCase): void {
  test('rule 5: a fill under its own lease becomes the value', async (c) => {
    const [key, token] = [c.key(), c.token()];
    expectEqual(
      await c.lease(key, token),
      { kind: 'lease', outcome: 'granted', floor: 0 },
      'a lease on an empty key',
    );
    await c.expectMiss(key);
    expectEqual(await c.fill(key, token, 10), { kind: 'fill', outcome: 'filled' }, 'the fill');
    await c.expectHit(key, 10);
  });

  test('rule 5: a fill without a lease is lost: on empty, on a hole, on a value (G3)', async (c) => {
    const [empty, hole, value, leased] = [c.key(), c.key(), c.key(), c.key()];
    await c.setHole(hole, 10);
    await c.setValue(value, 10);
    await c.lease(leased, c.token());
    for (const [key, what] of [
      [empty, 'an empty key'],
      [hole, 'a hole'],
      [value, 'a value'],
      [leased, "a key that is another's to fill"],
    ] as const) {
      expectEqual(
        await c.fill(key, c.token(), 20),
        { kind: 'fill', outcome: 'lost' },
        `a fill without a lease on ${what}`,
      );
      expectEqual(
        await c.fill(key, c.token(), 0, null),
        { kind: 'fill', outcome: 'lost' },
        `an absence without a lease on ${what}`,
      );
    }
    await c.expectMiss(empty);
    await c.expectMiss(hole);
    await c.expectMiss(leased);
    await c.expectHit(value, 10);
  });

  test('rule 5: a fill below the floor is refused with the floor, and keeps its lease for a restamped row', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.setHole(key, 20);
    expectEqual(
      await c.lease(key, token),
      { kind: 'lease', outcome: 'granted', floor: 20 },
      'a lease on a hole',
    );
    expectEqual(
      await c.fill(key, token, 18),
      { kind: 'fill', outcome: 'below-floor', floor: 20 },
      'a fill below the floor',
    );
    await c.expectMiss(key);
    expectEqual(
      await c.fill(key, token, 22),
      { kind: 'fill', outcome: 'filled' },
      'a fill of the restamped row',
    );
    await c.expectHit(key, 22);
  });

  test('rule 5: a fill that lands after a write is lost, and the write stays (G3)', async (c) => {
    const [key, reader, writer] = [c.key(), c.token(), c.token()];
    await c.lease(key, reader);
    await c.reserve(key, writer);
    expectEqual(await c.put(key, 20, writer), 'stored', 'the reserved put');
    expectEqual(await c.fill(key, reader, 10), { kind: 'fill', outcome: 'lost' }, 'the late fill');
    await c.expectHit(key, 20);
  });

  test('rule 5: one lease serves one fill', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token);
    await c.fill(key, token, 10);
    await c.invalidate(key, 20);
    expectEqual(await c.fill(key, token, 30), { kind: 'fill', outcome: 'lost' }, 'a second fill');
    await c.expectMiss(key);
  });

  test('rule 5: no row found is a known absence without version, not a value', async (c) => {
    const [key, reader, writer] = [c.key(), c.token(), c.token()];
    await c.setHole(key, 10);
    await c.lease(key, reader);
    expectEqual(
      await c.fill(key, reader, 0, null),
      { kind: 'fill', outcome: 'filled' },
      'the fill of an absence',
    );
    await c.expectHit(key, 0, null);
    const again = await c.lease(key, c.token());
    expectThat(
      again.outcome === 'hit' && again.hit.payload === null,
      'a lease on a known absence must be a hit',
    );
    expectEqual(await c.reserve(key, writer), 10, 'the floor known of a known absence');
    expectEqual(await c.put(key, 12, writer), 'stored', 'a reserved put on a known absence');
    await c.expectHit(key, 12);
  });

  test('rule 6: a lease is for one reader; others learn how long to wait (G8)', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token, 5_000);
    const busy = await c.lease(key, c.token(), 5_000);
    expectThat(busy.outcome === 'busy', `a second lease must be busy, got ${busy.outcome}`);
    expectThat(
      busy.remainingMs > 0 && busy.remainingMs <= 5_000,
      `remainingMs must be within the lease's 5000 ms, got ${busy.remainingMs}`,
    );
    expectEqual(busy.floor, 0, 'the floor that a busy lease tells');
    expectEqual((await c.lease(key, token, 5_000)).outcome, 'granted', 'the holder asking again');
  });

  test('rule 6: a lease on a value is a hit with what a read gives', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    const lease = await c.lease(key, c.token());
    expectThat(lease.outcome === 'hit', `a lease on a value must be a hit, got ${lease.outcome}`);
    expectEqual(
      { version: lease.hit.version, payload: lease.hit.payload, staleAtMs: lease.hit.staleAtMs },
      { version: 10, payload: payloadOf(10), staleAtMs: 0 },
      'the hit of a lease',
    );
  });

  test("rule 6: a lease may be taken over after its time; the first holder's fill is lost then (G3)", async (c) => {
    const [key, first, second] = [c.key(), c.token(), c.token()];
    await c.lease(key, first, SHORT_MS);
    await c.eventually('a lease that ran out is granted to another reader', async () => {
      const reply = await c.lease(key, second);
      return reply.outcome === 'granted';
    });
    expectEqual(
      await c.fill(key, first, 10),
      { kind: 'fill', outcome: 'lost' },
      'the fill of the first holder',
    );
    await c.expectMiss(key);
    expectEqual(await c.fill(key, second, 12), { kind: 'fill', outcome: 'filled' }, 'the fill of the second');
    await c.expectHit(key, 12);
  });

  test('rule 6: a released lease is free at once; a stranger releases nothing', async (c) => {
    const [key, token, next] = [c.key(), c.token(), c.token()];
    await c.lease(key, token);
    await c.release(key, c.token());
    expectEqual((await c.lease(key, next)).outcome, 'busy', "a lease after a stranger's release");
    await c.release(key, token);
    expectEqual((await c.lease(key, next)).outcome, 'granted', "a lease after its holder's release");
    expectEqual((await c.fill(key, token, 10)).outcome, 'lost', 'the fill of the one that released');
  });

  test('rule 6: a released reservation lets no put become the value', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.reserve(key, token);
    await c.release(key, token);
    expectEqual(await c.put(key, 10, token), 'floored', 'a put after its release');
    await c.expectMiss(key);
  });

  test('rule 6: a release of nothing changes nothing', async (c) => {
    const [value, empty] = [c.key(), c.key()];
    await c.setValue(value, 10);
    await c.release(value, c.token());
    await c.release(empty, c.token());
    await c.expectHit(value, 10);
    await c.expectMiss(empty);
  });

  test('rule 6: a value expires after its TTL and leaves an empty key', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.reserve(key, token);
    await run(c.cache, {
      kind: 'put',
      key,
      token,
      version: 10,
      payload: 'x',
      ttlMs: SHORT_MS,
      staleAtMs: 0,
      holeTtlMs: LONG_MS,
    });
    await c.eventually('the value expires', async () => (await c.hit(key)) === undefined);
    await c.expectFloor(key, 0);
  });

  test('rule 6: a known absence expires after its TTL', async (c) => {
    const [key, token] = [c.key(), c.token()];
    await c.lease(key, token);
    await run(c.cache, {
      kind: 'fill',
      key,
      token,
      version: 0,
      payload: null,
      ttlMs: SHORT_MS,
      staleAtMs: 0,
    });
    await c.eventually('the known absence expires', async () => (await c.hit(key)) === undefined);
  });

  test('rule 6: a hole expires after its TTL; a lease keeps it for as long as the lease stands', async (c) => {
    const [hole, leased, token] = [c.key(), c.key(), c.token()];
    const put = { kind: 'put', token: undefined, version: 10, payload: 'x', ttlMs: 1, staleAtMs: 0 } as const;
    await run(c.cache, {
      kind: 'lease',
      key: leased,
      token,
      leaseMs: LONG_MS,
      holeTtlMs: 1,
      encoding: 'utf8',
    });
    await run(c.cache, { ...put, key: hole, holeTtlMs: SHORT_MS });
    await c.eventually('the hole expires', async () => {
      const probe = await run(c.cache, { kind: 'reserve', key: hole, token: c.token(), holeTtlMs: 1 });
      return probe.known === 0;
    });
    expectEqual(
      (await c.fill(leased, token, 12)).outcome,
      'filled',
      'a fill under a lease that still stands',
    );
  });

  test('rule 6: staleAtMs comes back as it was sent', async (c) => {
    const [key, token] = [c.key(), c.token()];
    const staleAtMs = 1_893_456_000_123;
    await c.lease(key, token);
    await run(c.cache, { kind: 'fill', key, token, version: 10, payload: 'x', ttlMs: LONG_MS, staleAtMs });
    expectEqual((await c.hit(key))?.staleAtMs, staleAtMs, 'staleAtMs');
  });
}
