import type { Payload, PayloadEncoding, Version } from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type CacheCase, type CacheContext, LONG_MS, run } from './context.js';

const TEXTS: readonly (readonly [string, string])[] = [
  ['empty text', ''],
  ['plain text', 'plain'],
  ['NUL and other control characters', 'a\u0000b\u0001\u001f\u007f\u0080'],
  ['line ends and quotes', '\r\n\t"\'\\ $1 %s {0}'],
  ['surrogate pairs', '😀 𝒳 👩‍👩‍👧'],
  ['the ends of the planes', '\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}'],
  ['what looks like an entry', '10:0:{"version":99}'],
  ['a number', '9007199254740993'],
  ['the word null', 'null'],
];

const BYTES: readonly (readonly [string, Uint8Array])[] = [
  ['no bytes', new Uint8Array(0)],
  ['every byte', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
  ['bytes that are no UTF-8', Uint8Array.of(0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80)],
  ['a view into a larger buffer', new Uint8Array(Uint8Array.of(9, 0, 1, 2, 255, 9).buffer, 1, 4)],
  ['64 KiB', Uint8Array.from({ length: 65_536 }, (_, index) => (index * 31) % 256)],
];

const KEYS: readonly (readonly [string, string])[] = [
  ['colons and per cent signs', 'a:b%3A:c'],
  ['braces, which Redis Cluster reads as a hash tag', '{tag}:{}:}{'],
  ['blanks, quotes, line ends', ' a "b" \'c\'\r\n'],
  ['NUL', 'a\u0000b'],
  ['text beyond ASCII', 'ключ-鍵-😀'],
  ['1,024 characters', 'k'.repeat(1024)],
  ['a name from Object.prototype', '__proto__'],
];

/** Written by a put, read by `read`, by `lease` and, written by a fill, again. */
async function roundTrip(
  c: CacheContext,
  key: string,
  payload: Payload,
  encoding: PayloadEncoding,
): Promise<void> {
  const [writer, reader] = [c.token(), c.token()];
  await c.reserve(key, writer);
  await c.put(key, 10, writer, payload);
  expectSame((await c.hit(key, encoding))?.payload, payload, encoding, 'after a put');
  const lease = await run(c.cache, {
    kind: 'lease',
    key,
    token: reader,
    leaseMs: LONG_MS,
    holeTtlMs: LONG_MS,
    encoding,
  });
  expectThat(lease.outcome === 'hit', `a lease on a value must be a hit, got ${lease.outcome}`);
  expectSame(lease.hit.payload, payload, encoding, 'in the hit of a lease');
  await c.invalidate(key, 12);
  await c.lease(key, reader);
  await c.fill(key, reader, 14, payload);
  expectSame((await c.hit(key, encoding))?.payload, payload, encoding, 'after a fill');
  expectEqual(await c.refresh(key, 16, payload), 'stored', 'a refresh');
  expectSame((await c.hit(key, encoding))?.payload, payload, encoding, 'after a refresh');
}

function expectSame(actual: unknown, sent: Payload, encoding: PayloadEncoding, when: string): void {
  if (encoding === 'utf8') {
    expectEqual(actual, sent, `the text read ${when}`);
    return;
  }
  expectThat(actual instanceof Uint8Array, `the payload read as binary ${when} must be a Uint8Array`);
  const same = Buffer.compare(actual, sent as Uint8Array) === 0;
  expectThat(
    same,
    `the bytes read ${when} must be those sent (${actual.length} of ${sent.length} bytes came back)`,
  );
}

/** Payloads, keys and versions come back exactly. */
export function payloadCases(test: CacheCase): void {
  for (const [what, text] of TEXTS) {
    test(`payload: text comes back exactly: ${what}`, (c) => roundTrip(c, c.key(), text, 'utf8'));
  }
  for (const [what, bytes] of BYTES) {
    test(`payload: binary comes back exactly: ${what}`, (c) => roundTrip(c, c.key(), bytes, 'binary'));
  }
  for (const [what, name] of KEYS) {
    test(`key: any text is a key of its own: ${what}`, async (c) => {
      const [key, neighbour] = [`${c.key()}:${name}`, `${c.key()}:${name}`];
      await roundTrip(c, key, 'mine', 'utf8');
      await c.expectMiss(neighbour);
    });
  }

  test('payload: a mebibyte of text', (c) => roundTrip(c, c.key(), 'äb😀'.repeat(2 ** 17), 'utf8'));

  test('payload: an absence is not an empty payload', async (c) => {
    const [absent, empty] = [c.key(), c.key()];
    await c.setValue(absent, 10, null);
    await c.setValue(empty, 10, '');
    await c.expectHit(absent, 10, null);
    await c.expectHit(empty, 10, '');
  });

  test('version: numbers up to half a minute ahead of the clock are kept and compared exactly (G3)', async (c) => {
    const top = (await c.ahead()) - 12 * LONG_MS * 1_000 + 30_000_000;
    const versions: readonly Version[] = [1, 2, 999_999_999_999_999, top - 3, top - 2];
    for (const version of versions) {
      const key = c.key();
      await c.setValue(key, version);
      expectEqual(await c.reserve(key, c.token()), version, 'the version known');
      if (version > 1) expectEqual(await c.put(key, version - 1), 'superseded', `a put one below ${version}`);
      expectEqual(await c.invalidate(key, version), 'nothing', `an invalidation at ${version}`);
      await c.expectHit(key, version);
      expectEqual(await c.invalidate(key, version + 1), 'floored', `an invalidation one above ${version}`);
      await c.expectFloor(key, version + 1);
    }
  });

  test('version: what is further ahead than clocks differ gives way to every change, and stays as a floor (G2)', async (c) => {
    const ahead = await c.ahead();
    const changes = [(key: string) => c.put(key, 10), (key: string) => c.invalidate(key, 10)];
    for (const change of changes) {
      const [value, absent, own] = [c.key(), c.key(), c.token()];
      await c.setValue(value, ahead);
      await c.expectHit(value, ahead);
      expectEqual(await change(value), 'floored', 'a lower change of a value');
      await c.expectMiss(value);
      await c.expectFloor(value, ahead);
      await c.setHole(absent, ahead);
      await c.lease(absent, own);
      await c.fill(absent, own, 0, null);
      await c.expectHit(absent, 0, null);
      expectEqual(await change(absent), 'floored', 'a lower change of a known absence');
      await c.expectMiss(absent);
      await c.expectFloor(absent, ahead);
    }
  });

  test('version: one that is far ahead of the clock is told to no writer, and leaves nothing to fill', async (c) => {
    const days = 24 * LONG_MS * 1_000;
    for (const beyond of [
      (await c.ahead()) + 2 * days,
      Number.MAX_SAFE_INTEGER - 1,
      Number.MAX_SAFE_INTEGER,
    ]) {
      const [value, hole, own, late] = [c.key(), c.key(), c.token(), c.token()];
      await c.setValue(value, 10);
      await c.put(value, beyond);
      expectEqual(await c.reserve(value, own), 0, 'the version known after a put beyond belief');
      await c.reserve(hole, late);
      expectEqual(await c.invalidate(hole, beyond), 'floored', 'an invalidation beyond belief');
      expectEqual(await c.put(hole, 20, late), 'floored', 'a late put');
      expectEqual(await c.lease(hole, own), { kind: 'lease', outcome: 'pass', floor: 0 }, 'a lease');
      expectEqual(await c.reserve(hole, own), 0, 'the version known of a closed hole');
      expectEqual(await c.put(hole, 30, own), 'floored', 'a reserved put');
      await c.expectMiss(hole);
    }
  });
}
