import type { BufferReply } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { encounterCases } from './buffer-encounters.js';
import { flushCases } from './buffer-flushes.js';
import {
  buffer,
  bufferCommand,
  buffered,
  clockOf,
  expectFlushed,
  expectUnflushed,
  flushed,
  indexOf,
  SHORT_MS,
  unflushedKey,
} from './buffer-steps.js';
import { type CacheCase, type CacheContext, LONG_MS, run, runAll } from './context.js';

/** Rule 8, for a cache that holds buffered writes. */
export function bufferCases(test: CacheCase): void {
  numberCases(test);
  unfitCases(test);
  encounterCases(test);
  flushCases(test);
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
