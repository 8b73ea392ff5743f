import { expectEqual, expectThat } from '../kit/expect.js';
import {
  buffer,
  buffered,
  expectFlushed,
  expectUnflushed,
  flushed,
  SHORT_MS,
  unflushedKey,
} from './buffer-steps.js';
import { type CacheCase, LONG_MS, run } from './context.js';

/** Rule 8: what a flush leaves, and for how long. */
export function flushCases(test: CacheCase): void {
  test('rule 8: a flush takes the mark away and says when the value is to be refreshed; repeated, it does nothing', async (c) => {
    const { key, version } = await unflushedKey(c);
    const staleAtMs = 1_893_456_000_123;
    expectEqual((await c.hit(key))?.staleAtMs, 0, 'staleAtMs of a buffered write');
    expectEqual(await flushed(c, key, version, { staleAtMs }), 'cleared', 'the flush');
    await expectFlushed(c, key, version, 'new');
    expectEqual((await c.hit(key))?.staleAtMs, staleAtMs, 'staleAtMs after the flush');
    for (const outcome of ['stored', 'refused'] as const) {
      expectEqual(await flushed(c, key, version, { outcome }), 'nothing', 'a second flush');
    }
    await expectFlushed(c, key, version, 'new');
  });

  test('rule 8: the flush of another version leaves a buffered write as it is', async (c) => {
    const { key, version } = await unflushedKey(c);
    const later = await buffered(c, key, 'later');
    for (const outcome of ['stored', 'refused'] as const) {
      for (const other of [version, later - 2, later + 2]) {
        expectEqual(await flushed(c, key, other, { outcome }), 'kept', `a flush ${outcome} of ${other}`);
      }
    }
    await expectUnflushed(c, key, later, 'later');
  });

  test('rule 8: a flushed deletion is an absence of that version', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    const version = await buffered(c, key, null);
    expectEqual(await flushed(c, key, version), 'cleared', 'the flush');
    await expectFlushed(c, key, version, null);
  });

  test('rule 8: where the store refused a buffered write, a hole with its floor is left', async (c) => {
    const { key, version } = await unflushedKey(c);
    expectEqual(await flushed(c, key, version, { outcome: 'refused' }), 'cleared', 'the refused flush');
    await c.expectMiss(key);
    await c.expectFloor(key, version);
  });

  test('rule 8: a flush of what is not buffered changes nothing', async (c) => {
    const [empty, hole, value] = [c.key(), c.key(), c.key()];
    await c.setHole(hole, 10);
    await c.setValue(value, 10);
    for (const outcome of ['stored', 'refused'] as const) {
      for (const key of [empty, hole, value]) {
        expectEqual(await flushed(c, key, 10, { outcome, ttlMs: 1 }), 'nothing', 'the flush');
      }
    }
    await c.pass(SHORT_MS);
    expectEqual(await c.invalidate(empty, 20), 'nothing', 'an invalidation of the empty key');
    await c.expectFloor(hole, 10);
    await expectFlushed(c, value, 10);
  });

  test('rule 8: a buffered write stands on a flushed one as on any other', async (c) => {
    const { key, version } = await unflushedKey(c);
    await flushed(c, key, version);
    const later = await buffered(c, key, 'later');
    expectThat(later > version, 'the later write must be above the flushed one');
    expectEqual(await flushed(c, key, version), 'kept', 'the earlier flush, repeated');
    await expectUnflushed(c, key, later, 'later');
  });
  lifetimeCases(test);
}

function lifetimeCases(test: CacheCase): void {
  const short = { token: undefined, ttlMs: SHORT_MS, staleAtMs: 0, holeTtlMs: LONG_MS } as const;

  test('rule 8: a buffered write outlives the lifetime of the value that it stands on (G9)', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    await run(c.cache, { kind: 'put', key, version: 12, payload: 'x', ...short });
    // The value may have run out before on a slow machine: then there is nothing to stand on.
    const reply = await buffer(c, key);
    if (reply.outcome === 'unfit') return;
    expectThat(reply.outcome === 'buffered', 'the write must be buffered');
    await c.pass(3 * SHORT_MS);
    await expectUnflushed(c, key, reply.version);
  });

  test('rule 8: after its flush it expires again', async (c) => {
    const { key, version } = await unflushedKey(c);
    expectEqual(await flushed(c, key, version, { ttlMs: SHORT_MS }), 'cleared', 'the flush');
    await c.pass(3 * SHORT_MS);
    await c.expectMiss(key);
    expectEqual(await c.invalidate(key, version + 2), 'nothing', 'an invalidation of what has expired');
  });

  test('rule 8: the hole of a refused flush expires', async (c) => {
    const { key, version } = await unflushedKey(c);
    await flushed(c, key, version, { outcome: 'refused', holeTtlMs: SHORT_MS });
    await c.pass(3 * SHORT_MS);
    expectEqual(await c.invalidate(key, version + 2), 'nothing', 'an invalidation of what has expired');
  });

  test('rule 8: what takes the place of a buffered write expires as it would anywhere', async (c) => {
    const [a, b, d] = [await unflushedKey(c), await unflushedKey(c), await unflushedKey(c)];
    const { key, version } = a;
    await run(c.cache, { kind: 'put', key, version: version + 1, payload: 'x', ...short });
    await run(c.cache, { kind: 'refresh', key: b.key, version: b.version, payload: 'x', ...short });
    await run(c.cache, {
      kind: 'invalidate',
      key: d.key,
      version: d.version + 1,
      holeTtlMs: SHORT_MS,
      holeOnEmpty: false,
    });
    await c.pass(3 * SHORT_MS);
    await c.expectMiss(key);
    await c.expectMiss(b.key);
    expectEqual(await c.invalidate(d.key, await c.ahead()), 'nothing', 'an invalidation of an expired hole');
  });
}
