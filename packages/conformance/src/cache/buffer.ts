import type {
  BufferCommand,
  BufferReply,
  FlushedCommand,
  FlushedReply,
  InvalidateReply,
  Payload,
  ReserveReply,
  UnflushedIndex,
  Version,
} from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, type CacheContext, LONG_MS, payloadOf, run, runAll } from './context.js';

/** A lifetime that cases wait out, in ms. */
const SHORT_MS = 30;

export function indexOf(c: CacheContext): UnflushedIndex {
  const { unflushed } = c.cache;
  expectThat(unflushed !== undefined, 'cache.unflushed must be there');
  return unflushed;
}

/** The cache's own clock, in ms. */
export async function clockOf(c: CacheContext): Promise<number> {
  return (await indexOf(c).add(c.key(), [], 1)).nowMs;
}

export function bufferCommand(key: string, notAfterMs: number, payload: Payload | null): BufferCommand {
  return { kind: 'buffer', key, payload, notAfterMs, durable: false };
}

async function buffer(c: CacheContext, key: string, payload: Payload | null = 'new'): Promise<BufferReply> {
  return run(c.cache, bufferCommand(key, (await clockOf(c)) + LONG_MS, payload));
}

/** Buffers a write that must be taken: its version. */
export async function buffered(c: CacheContext, key: string, payload?: Payload | null): Promise<Version> {
  const reply = await buffer(c, key, payload);
  expectThat(reply.outcome === 'buffered', `the write must be buffered, but is ${reply.outcome}`);
  return reply.version;
}

export async function flushed(
  c: CacheContext,
  key: string,
  version: Version,
  more: Partial<FlushedCommand> = {},
): Promise<FlushedReply['outcome']> {
  const times = { ttlMs: LONG_MS, staleAtMs: 0, holeTtlMs: LONG_MS };
  const command: FlushedCommand = { kind: 'flushed', key, version, outcome: 'stored', ...times, ...more };
  return (await run(c.cache, command)).outcome;
}

/** Fails unless readers get this buffered write. */
export async function expectUnflushed(
  c: CacheContext,
  key: string,
  version: Version,
  payload: Payload | null = 'new',
): Promise<void> {
  await c.expectHit(key, version, payload);
  expectEqual((await c.hit(key))?.unflushed, true, 'the mark of a buffered write');
}

/** Fails unless readers get this version, and it is no buffered write any more. */
async function expectFlushed(
  c: CacheContext,
  key: string,
  version: Version,
  payload: Payload | null = payloadOf(version),
): Promise<void> {
  await c.expectHit(key, version, payload);
  expectThat((await c.hit(key))?.unflushed !== true, 'the mark of a buffered write must be gone');
}

/** A key with a buffered write. */
async function unflushedKey(c: CacheContext): Promise<{ key: string; version: Version }> {
  const key = c.key();
  await c.setValue(key, 10);
  return { key, version: await buffered(c, key) };
}

function invalidate(c: CacheContext, key: string, version: Version): Promise<InvalidateReply> {
  return run(c.cache, { kind: 'invalidate', key, version, holeTtlMs: LONG_MS, holeOnEmpty: false });
}

/** Rule 8, for a cache that holds buffered writes. */
export function bufferCases(test: CacheCase): void {
  numberCases(test);
  unfitCases(test);
  encounterCases(test);
  flushCases(test);
  lifetimeCases(test);
}

function numberCases(test: CacheCase): void {
  test('rule 8: a buffered write is numbered oddly, above the value and by the clock, and readers see it', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    const fromMs = await clockOf(c);
    const version = await buffered(c, key);
    const toMs = await clockOf(c);
    expectThat(version % 2 === 1, `the version must be odd, got ${version}`);
    expectThat(
      version >= fromMs * 1_000 && version <= (toMs + 1) * 1_000 + 1,
      `the version must be the cache's clock in µs, ${fromMs * 1_000} to ${(toMs + 1) * 1_000}, got ${version}`,
    );
    await expectUnflushed(c, key, version);
  });

  test('rule 8: where the value is ahead of the clock, a buffered write is numbered just above it', async (c) => {
    const [even, odd, ahead] = [c.key(), c.key(), await c.ahead()];
    await c.setValue(even, ahead);
    await c.setValue(odd, ahead + 1);
    expectEqual(await buffered(c, even), ahead + 1, 'the version above an even one');
    expectEqual(await buffered(c, odd), ahead + 3, 'the version above an odd one');
    await expectUnflushed(c, odd, ahead + 3);
  });

  test('rule 8: buffered writes of one key are numbered in their order, in one call, too', async (c) => {
    const { key, version } = await unflushedKey(c);
    const notAfterMs = (await clockOf(c)) + LONG_MS;
    const replies = await runAll(
      c.cache,
      ['a', 'b', 'c'].map((payload) => bufferCommand(key, notAfterMs, payload)),
    );
    let last = version;
    for (const reply of replies) {
      expectThat(reply.kind === 'buffer' && reply.outcome === 'buffered', 'each write must be buffered');
      expectThat(
        reply.version > last && reply.version % 2 === 1,
        `odd and above ${last}: got ${reply.version}`,
      );
      last = reply.version;
    }
    await expectUnflushed(c, key, last, 'c');
  });

  test('rule 8, race: buffered writes of many callers each get a number of their own; the highest stays', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    const versions = await Promise.all(Array.from({ length: 50 }, (_, i) => buffered(c, key, `${i}`)));
    expectEqual(new Set(versions).size, versions.length, 'the number of different versions');
    const top = Math.max(...versions);
    await expectUnflushed(c, key, top, String(versions.indexOf(top)));
  });

  test('rule 8: an absence of known version is written over, and a deletion is buffered', async (c) => {
    const key = c.key();
    await c.setValue(key, 10, null);
    const version = await buffered(c, key);
    await expectUnflushed(c, key, version);
    const later = await buffered(c, key, null);
    expectThat(later > version, 'a buffered deletion must be above the write before');
    await expectUnflushed(c, key, later, null);
    await expectUnflushed(c, key, await buffered(c, key, 'again'), 'again');
  });

  for (const [what, payload] of [
    ['text', '{"name":"ü😀\0"}'],
    ['an empty text', ''],
    ['every byte', Uint8Array.from({ length: 256 }, (_, i) => i)],
    ['a megabyte', new Uint8Array(1_048_576).fill(0xfe)],
  ] as const) {
    test(`rule 8: the payload of a buffered write comes back exactly, before and after its flush: ${what}`, async (c) => {
      const encoding = typeof payload === 'string' ? 'utf8' : 'binary';
      const key = c.key();
      await c.setValue(key, 10, payload);
      const version = await buffered(c, key, payload);
      const before = await c.hit(key, encoding);
      expectEqual(await flushed(c, key, version), 'cleared', 'the flush');
      for (const found of [before?.payload, (await c.hit(key, encoding))?.payload]) {
        const plain = typeof found === 'string' || !found ? found : Buffer.from(found).toString('hex');
        expectEqual(
          plain,
          typeof payload === 'string' ? payload : Buffer.from(payload).toString('hex'),
          'the payload',
        );
      }
    });
  }

  test('rule 8: scan tells buffered writes from others', async (c) => {
    const prefix = `${c.key()}:`;
    await c.setValue(`${prefix}a`, 10);
    await c.setValue(`${prefix}b`, 10);
    await c.setHole(`${prefix}c`, 10);
    const version = await buffered(c, `${prefix}b`);
    const found = new Map<string, unknown>();
    for await (const entry of c.cache.scan(prefix, 'utf8')) {
      found.set(entry.key, [entry.version, entry.unflushed === true]);
    }
    expectEqual(
      found,
      new Map([
        [`${prefix}a`, [10, false]],
        [`${prefix}b`, [version, true]],
        [`${prefix}c`, [10, false]],
      ]),
      'what scan finds',
    );
  });
}

function unfitCases(test: CacheCase): void {
  async function expectUnfit(c: CacheContext, key: string, what: string): Promise<void> {
    expectEqual(await buffer(c, key), { kind: 'buffer', outcome: 'unfit' }, `a buffered write on ${what}`);
  }

  test('rule 8: an empty key takes no buffered write, and stays empty', async (c) => {
    const key = c.key();
    await expectUnfit(c, key, 'an empty key');
    expectEqual(await c.invalidate(key, 20), 'nothing', 'an invalidation of the empty key');
  });

  test('rule 8: a hole takes no buffered write, and keeps its floor and its reservation', async (c) => {
    const [plain, reserved, own] = [c.key(), c.key(), c.token()];
    await c.setHole(plain, 10);
    await expectUnfit(c, plain, 'a hole');
    await c.expectFloor(plain, 10);
    await c.reserve(reserved, own);
    await expectUnfit(c, reserved, 'a reserved hole');
    expectEqual(await c.put(reserved, 10, own), 'stored', "the reservation's put");
  });

  test('rule 8: a known absence, which has no version, takes no buffered write', async (c) => {
    const [key, own] = [c.key(), c.token()];
    await c.lease(key, own);
    await c.fill(key, own, 0, null);
    await expectUnfit(c, key, 'a known absence');
    expectEqual((await c.hit(key))?.payload, null, 'what a reader hits');
  });

  test('rule 8: a value without a version takes no buffered write', async (c) => {
    const [key, own] = [c.key(), c.token()];
    await c.intend(key, own);
    expectEqual(await c.put(key, 0, own, 'old'), 'stored', 'the put of an unversioned store');
    await expectUnfit(c, key, 'a value without a version');
    await expectFlushed(c, key, 0, 'old');
  });

  test('rule 8: a value of a version that is not believed takes no buffered write', async (c) => {
    const key = c.key();
    await c.setValue(key, Number.MAX_SAFE_INTEGER);
    await expectUnfit(c, key, 'the highest version');
  });

  test('rule 8: a command that comes after its deadline does nothing', async (c) => {
    const [key, empty] = [c.key(), c.key()];
    await c.setValue(key, 10);
    const late = { kind: 'buffer', outcome: 'late' };
    const notAfterMs = (await clockOf(c)) - 1;
    expectEqual(await run(c.cache, bufferCommand(key, notAfterMs, 'late')), late, 'a late buffered write');
    expectEqual(await run(c.cache, bufferCommand(empty, notAfterMs, 'late')), late, 'a late one on nothing');
    await expectFlushed(c, key, 10);
    await c.expectMiss(empty);
    await c.pass(SHORT_MS);
    const early = (await clockOf(c)) - SHORT_MS / 2;
    expectEqual(await run(c.cache, bufferCommand(key, early, 'late')), late, 'one that came a moment late');
  });

  test('rule 8: a durable write is confirmed or an error, never merely taken', async (c) => {
    const key = c.key();
    await c.setValue(key, 10);
    const command = { ...bufferCommand(key, (await clockOf(c)) + LONG_MS, 'new'), durable: true };
    const [reply] = await c.cache.execute([command]).catch((error: unknown) => [error]);
    if (!indexOf(c).durable) {
      expectThat(reply instanceof Error, 'unflushed.durable is false: a durable write must be an error');
      return;
    }
    if (!(reply instanceof Error)) {
      expectThat(
        (reply as BufferReply).outcome === 'buffered',
        'a durable write on a value must be buffered or an error',
      );
      await expectUnflushed(c, key, (await c.hit(key))?.version ?? 0);
    }
    expectEqual(await c.put(key, await c.ahead()), 'stored', 'another command afterwards');
  });
}

function encounterCases(test: CacheCase): void {
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

function flushCases(test: CacheCase): void {
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
