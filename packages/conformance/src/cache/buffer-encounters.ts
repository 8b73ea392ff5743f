import type { ReserveReply } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { expectFlushed, expectUnflushed, flushed, invalidate, unflushedKey } from './buffer-steps.js';
import { type CacheCase, LONG_MS, run } from './context.js';

/** Rule 8: how other commands meet a buffered write. */
export function encounterCases(test: CacheCase): void {
  test('rule 8: a reservation hears of the buffered write, and changes nothing', async (c) => {
    const { key, version } = await unflushedKey(c);
    const reply = await run(c.cache, { kind: 'reserve', key, token: c.token(), holeTtlMs: LONG_MS });
    expectEqual(reply, { kind: 'reserved', known: version, unflushed: true } as ReserveReply, 'the reply');
    await expectUnflushed(c, key, version);
    await flushed(c, key, version);
    expectThat(
      (await run(c.cache, { kind: 'reserve', key, token: c.token(), holeTtlMs: LONG_MS })).unflushed !== true,
      'a reservation after the flush must not hear of a buffered write',
    );
  });

  test('rule 8: an intent is not noted on a buffered write, and hears so', async (c) => {
    const { key, version } = await unflushedKey(c);
    const own = c.token();
    const reply = await run(c.cache, {
      kind: 'intend',
      key,
      token: own,
      deadlineMs: LONG_MS,
      holeTtlMs: LONG_MS,
    });
    expectEqual(reply, { kind: 'reserved', known: version, unflushed: true } as ReserveReply, 'the reply');
    await expectUnflushed(c, key, version);
    await flushed(c, key, version);
    expectEqual(await c.intend(key, own), version, 'an intent after the flush');
    await c.expectMiss(key);
  });

  test('rule 8: a lease, a fill and a release leave a buffered write as it is', async (c) => {
    const { key, version } = await unflushedKey(c);
    const own = c.token();
    const reply = await c.lease(key, own);
    expectThat(reply.outcome === 'hit', `a lease on a buffered write must hit, got ${reply.outcome}`);
    expectEqual(
      [reply.hit.version, reply.hit.payload, reply.hit.unflushed],
      [version, 'new', true],
      'the hit of the lease',
    );
    expectEqual(await c.fill(key, own, version + 1), { kind: 'fill', outcome: 'lost' }, 'a fill');
    await c.release(key, own);
    await expectUnflushed(c, key, version);
  });

  test('rule 8: a put below a buffered write is superseded, and leaves its mark', async (c) => {
    const { key, version } = await unflushedKey(c);
    expectEqual(await c.put(key, version - 1), 'superseded', 'a lower put');
    await expectUnflushed(c, key, version);
    expectEqual(await flushed(c, key, version), 'cleared', 'the flush of the buffered write');
  });

  test('rule 8: a put above a buffered write takes its place, which no flush finds then', async (c) => {
    const { key, version } = await unflushedKey(c);
    expectEqual(await c.put(key, version + 1), 'stored', 'a higher put');
    await expectFlushed(c, key, version + 1);
    expectEqual(await flushed(c, key, version), 'nothing', 'the flush of the superseded write');
    await expectFlushed(c, key, version + 1);
  });

  test('rule 8: a put or a refresh at the version of a buffered write is from the store: the mark goes', async (c) => {
    const [a, b] = [await unflushedKey(c), await unflushedKey(c)];
    expectEqual(await c.put(a.key, a.version), 'stored', 'the put');
    await expectFlushed(c, a.key, a.version);
    expectEqual(await c.refresh(b.key, b.version - 1), 'refused', 'a lower refresh');
    await expectUnflushed(c, b.key, b.version);
    expectEqual(await c.refresh(b.key, b.version), 'stored', 'the refresh');
    await expectFlushed(c, b.key, b.version);
  });

  test('rule 8: an invalidation of unknown, lower or equal version leaves a buffered write alone', async (c) => {
    const { key, version } = await unflushedKey(c);
    for (const known of [0, version - 1, version]) {
      expectEqual(
        await invalidate(c, key, known),
        { kind: 'invalidate', outcome: 'nothing' },
        `an invalidation at ${known}`,
      );
      await expectUnflushed(c, key, version);
    }
  });

  test('rule 8: an invalidation above a buffered write makes a hole, and tells what it superseded', async (c) => {
    const { key, version } = await unflushedKey(c);
    expectEqual(
      await invalidate(c, key, version + 1),
      { kind: 'invalidate', outcome: 'floored', superseded: version },
      'the reply',
    );
    await c.expectMiss(key);
    expectEqual(await flushed(c, key, version), 'nothing', 'the flush of the superseded write');
    await c.expectFloor(key, version + 1);
  });

  test('rule 8: an invalidation above a flushed write supersedes nothing', async (c) => {
    const { key, version } = await unflushedKey(c);
    await flushed(c, key, version);
    const reply = await invalidate(c, key, version + 1);
    expectEqual([reply.outcome, reply.superseded], ['floored', undefined], 'the reply');
  });
}
