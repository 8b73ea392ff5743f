import type { CacheAdapter, LeaseReply } from '@lockstep/core';
import { believedUpTo } from '@lockstep/core';
import { type RedisService, startRedis } from '@lockstep/dev-services';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decode } from '../src/format.js';
import { redisCache } from '../src/index.js';
import { invalidate, LONG_MS, newKey, put, reserve, run } from './support/entries.js';

const HOUR_US = 3_600_000_000;
let service: RedisService;
let raw: Redis;
let cache: CacheAdapter;
beforeAll(async () => {
  service = await startRedis();
  raw = new Redis(service.url);
  cache = redisCache({ url: service.url });
  await cache.open?.();
}, 120_000);
afterAll(async () => {
  raw.disconnect();
  await cache.close();
  await service.stop();
});

async function lease(key: string, encoding: 'utf8' | 'binary' = 'utf8'): Promise<LeaseReply> {
  return run(cache, { kind: 'lease', key, token: 'own', leaseMs: LONG_MS, holeTtlMs: LONG_MS, encoding });
}

const CLOSED = '9007199254740991';
const zeros = '0'.repeat(13);
const padded = (version: number | string): string => String(version).padStart(16, '0');
const now = Date.now() * 1_000;

const version = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, now, now + 12 * HOUR_US, now + 36 * HOUR_US).map(padded),
  fc.constantFrom(CLOSED, '9007199254740992', '9999999999999999', '000000000000001x', '             123'),
);
const DAY_MS = 24 * 3_600_000;
const inDays = (days: number): string => String(Date.now() + days * DAY_MS);
const time = fc.constantFrom(
  ...[zeros, inDays(1), inDays(3), inDays(5), '9999999999999', '18934560000', '-893456000000'],
);
const token = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 6 }).map((text) => `${Buffer.byteLength(text)}:${text}`),
  fc.constantFrom(
    '1:a',
    '1:a',
    '0:',
    '0:',
    '3:a',
    '-4:',
    '01:a',
    '1:',
    ':a',
    '1e1:aaaaaaaaaa',
    '200:',
    '999999999:a',
  ),
  fc.constantFrom(`200:${'t'.repeat(200)}`, `201:${'t'.repeat(201)}`, ' 1:a', '0x1:a', '\ufffd:a', '4:'),
);
const lost = fc.tuple(fc.constant('L'), token, time).map((parts) => parts.join(''));
const reserved = token.map((own) => `R${own}`);
const intent = fc
  .tuple(fc.constant('I'), token, time, fc.constantFrom('0', '1', '2', ''))
  .map((parts) => parts.join(''));
const tail = fc.oneof(
  fc.constant(''),
  fc
    .tuple(fc.option(lost), fc.option(reserved), fc.array(intent, { maxLength: 3 }))
    .map(([first, second, others]) => `${first ?? ''}${second ?? ''}${others.join('')}`),
  fc.array(fc.oneof(lost, reserved, intent), { maxLength: 3 }).map((parts) => parts.join('')),
);
const text = fc
  .oneof(
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom('V-', 'VU', 'V2', 'v-'), version, time, fc.string()) },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom('A-', 'AU'), version, time, fc.constantFrom('', 'x')) },
    { weight: 5, arbitrary: fc.tuple(fc.constantFrom('H-', 'K-', 'HU'), version, fc.constant(zeros), tail) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom('H-', 'K-'), version, time, tail) },
    {
      weight: 1,
      arbitrary: fc.tuple(
        fc.constantFrom('L2:', 'L1:', 'L02:', 'L9999:', 'L10000:', 'L:', 'L2'),
        fc.string(),
      ),
    },
  )
  .map((parts) => Buffer.from(parts.join('')));
/** Cut short, or with a byte that is no UTF-8. */
const bytes = fc
  .tuple(text, fc.option(fc.nat({ max: 80 }), { freq: 6 }), fc.option(fc.nat({ max: 80 }), { freq: 6 }))
  .map(([whole, length, at]) => {
    const some = Buffer.from(length === null ? whole : whole.subarray(0, length));
    if (at !== null && at < some.length) some[at] = 0xff;
    return some;
  });

/** The latest time that is noted in a hole's tail that parses. */
function latestMs(hole: Buffer): number {
  let text = hole.toString('latin1', 31);
  let latest = 0;
  while (text !== '') {
    const [head = '', tag, length] = /^([LRI])(\d+):/.exec(text) ?? [];
    const end = head.length + Number(length);
    if (tag !== 'R') latest = Math.max(latest, Number(text.slice(end, end + 13)));
    text = text.slice(end + { L: 13, R: 0, I: 14 }[tag as 'L' | 'R' | 'I']);
  }
  return latest;
}

describe('one grammar', () => {
  test('client and script judge any text alike, and what is no entry is replaced', async () => {
    await fc.assert(
      fc.asyncProperty(
        bytes,
        fc.constantFrom('utf8' as const, 'binary' as const),
        async (written, encoding) => {
          const key = newKey();
          await raw.set(key, written);
          const [hit] = await cache.read([key], encoding);
          const entry = decode(written, 'binary');
          const timely = entry?.state !== 'hole' || latestMs(written) <= Date.now() + 4 * DAY_MS;
          const believed = entry !== undefined && entry.version <= believedUpTo(Date.now()) && timely;
          const closed = entry?.state === 'hole' && padded(entry.version) === CLOSED && timely;
          // Read as text, bytes that are no UTF-8 have another length: the client leaves such a hole to the script.
          const legible = encoding === 'binary' || !written.toString('utf8').includes('\ufffd');
          const foreign = /^L(?!1:)[1-9]\d{0,3}:/.test(written.toString('latin1'));
          const reply = await lease(key, encoding);
          const after = await raw.getBuffer(key);
          if (foreign) {
            expect([hit, reply, after]).toEqual([undefined, { kind: 'lease', outcome: 'foreign' }, written]);
          } else if (closed && !entry.knownAbsent) {
            expect([hit, reply.outcome]).toEqual([undefined, 'pass']);
          } else if (!believed && !closed) {
            // A hit of a version or a time beyond belief is not the client's to refuse: it does not know the server's clock.
            if (entry === undefined) expect(hit).toBeUndefined();
            expect(reply).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
            expect(after?.toString('latin1')).toMatch(/^H-0{29}L3:own\d{13}$/);
          } else if (entry.state === 'value' || entry.knownAbsent) {
            if (hit === undefined && entry.knownAbsent && !legible) return;
            expect(reply).toMatchObject({ outcome: 'hit', hit });
            expect(hit).toMatchObject(entry.knownAbsent ? { version: 0 } : { version: entry.version });
          } else {
            expect(hit).toBeUndefined();
            expect(['granted', 'busy', 'pass']).toContain(reply.outcome);
            expect(reply).toMatchObject({ floor: entry.version });
          }
        },
      ),
      { numRuns: 3_000 },
    );
  }, 120_000);

  test.for([
    ['a length below nothing', `H-${padded(5)}${zeros}R-4:`],
    ['a length beyond the text', `H-${padded(5)}${zeros}R999:a`],
    ['a length of many digits', `H-${padded(5)}${zeros}R${'9'.repeat(400)}:a`],
    ['no end to the length', `H-${padded(5)}${zeros}R${'9'.repeat(100_000)}`],
    ['no end to the intents', `H-${padded(5)}${zeros}${`I1:a${zeros}0`.repeat(300)}`],
    ['a tail of a megabyte', `H-${padded(5)}${zeros}${'I1:a'.repeat(250_000)}`],
    ['a known absence with a broken tail', `K-${padded(5)}${zeros}R3:a`],
  ])('%s is no entry: every command ends, and a write leaves a floor', async ([, written]) => {
    for (const own of [
      put('', 4),
      reserve('', 't'),
      invalidate('', 4),
      { kind: 'release', key: '', token: 'x' },
    ] as const) {
      const key = newKey();
      await raw.set(key, written as string);
      expect(await cache.read([key], 'utf8')).toEqual([undefined]);
      await run(cache, { ...own, key });
      await run(cache, put(key, 6));
      expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: 6 });
    }
  });

  test.for([254, 255, 256, 257, 258])(
    'a hole of %d bytes, about what the script reads at first, is judged to its end',
    async (size) => {
      const key = newKey();
      const [reservation, after] = ['r'.repeat(190), `${inDays(1)}0`];
      const name = 'i'.repeat(size - 31 - `R190:I10:${after}`.length - reservation.length);
      const written = `H-${padded(4)}${zeros}R190:${reservation}I${name.length}:${name}${after}`;
      expect(written).toHaveLength(size);
      await raw.set(key, written, 'PX', DAY_MS);
      expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'pass', floor: 4 });
      await raw.set(key, written.slice(0, -1));
      expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
    },
  );

  test('a payload that goes on with the digits of the header is one', async () => {
    const key = newKey();
    await raw.set(key, `V-${padded(4)}${zeros}123`);
    expect(await run(cache, reserve(key, 't'))).toEqual({ kind: 'reserved', known: 4 });
    expect(await lease(key)).toMatchObject({ outcome: 'hit', hit: { version: 4, payload: '123' } });
    expect(await run(cache, put(key, 6, '456'))).toEqual({ kind: 'put', outcome: 'stored' });
  });

  test('what is no text is no entry', async () => {
    const key = newKey();
    await raw.hset(key, 'a', '1');
    expect(await cache.read([key], 'utf8')).toEqual([undefined]);
    expect(await cache.read([key], 'binary')).toEqual([undefined]);
    expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
    await raw.del(key);
    await raw.rpush(key, '1');
    expect(await run(cache, invalidate(key, 4))).toEqual({ kind: 'invalidate', outcome: 'nothing' });
    expect(await run(cache, put(key, 4))).toEqual({ kind: 'put', outcome: 'floored' });
  });
});

describe('a version beyond belief', () => {
  const BEYOND = now + 48 * HOUR_US;

  test.for([String(BEYOND), '9007199254740990', CLOSED, '9999999999999999'])(
    'in a value (%s) is not told to writers, and the value is replaced',
    async (beyond) => {
      const key = newKey();
      await raw.set(key, `V-${beyond}${zeros}{"tampered":true}`);
      expect(await run(cache, reserve(key, 't'))).toEqual({ kind: 'reserved', known: 0 });
      expect(await run(cache, { ...put(key, 4), token: 't' })).toEqual({ kind: 'put', outcome: 'stored' });
    },
  );

  test('as the version of an invalidation closes the hole: nobody fills it, writers hear of nothing', async () => {
    const key = newKey();
    await run(cache, reserve(key, 'late'));
    await run(cache, { ...invalidate(key, BEYOND), holeOnEmpty: true });
    expect(await run(cache, { ...put(key, 4), token: 'late' })).toEqual({ kind: 'put', outcome: 'floored' });
    expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'pass', floor: 0 });
    expect(await run(cache, reserve(key, 't'))).toEqual({ kind: 'reserved', known: 0 });
    expect(await run(cache, { ...put(key, 6), token: 't' })).toEqual({ kind: 'put', outcome: 'floored' });
  });

  test('of a put over a value leaves nothing to read', async () => {
    const key = newKey();
    await run(cache, reserve(key, 't'));
    await run(cache, { ...put(key, 4), token: 't' });
    await run(cache, put(key, BEYOND));
    expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
  });
});

describe('a hole that would never heal', () => {
  const SOON_MS = 60_000;
  const pass = (key: string) =>
    run(cache, {
      kind: 'lease',
      key,
      token: 'own',
      leaseMs: SOON_MS,
      holeTtlMs: SOON_MS,
      encoding: 'utf8',
    });

  const expiry = async (key: string): Promise<number> => await raw.pttl(key);

  const DECADES_MS = 20 * 365 * DAY_MS;
  test.for([undefined, DECADES_MS, 5 * DAY_MS])(
    'a closed one (expiry %s) expires once a command met it',
    async (ttlMs) => {
      const commands = [
        pass,
        (key: string) => run(cache, { ...put(key, 4), holeTtlMs: SOON_MS }),
        (key: string) => run(cache, { ...invalidate(key, 4), holeTtlMs: SOON_MS }),
        (key: string) => run(cache, { ...reserve(key, 't'), holeTtlMs: SOON_MS }),
      ];
      for (const state of ['H', 'K']) {
        // A known absence is a hit for a reader, and no lease changes it.
        for (const command of state === 'K' ? commands.slice(1) : commands) {
          const key = newKey();
          await raw.set(key, `${state}-${CLOSED}${zeros}`);
          if (ttlMs !== undefined) await raw.pexpire(key, ttlMs);
          await command(key);
          expect(await expiry(key)).toBeGreaterThan(0);
          expect(await expiry(key)).toBeLessThanOrEqual(SOON_MS);
        }
      }
    },
  );

  test('one with an intent is kept for as long as an intent may stand', async () => {
    const key = newKey();
    await raw.set(key, `H-${padded(4)}${zeros}I1:a${inDays(1)}1`);
    expect(await pass(key)).toEqual({ kind: 'lease', outcome: 'pass', floor: 4 });
    expect(await expiry(key)).toBeGreaterThan(3 * DAY_MS);
    expect(await expiry(key)).toBeLessThanOrEqual(4 * DAY_MS);
  });

  test('an expiry that a command may have given stays', async () => {
    const key = newKey();
    await raw.set(key, `H-${CLOSED}${zeros}`, 'PX', DAY_MS);
    await pass(key);
    expect(await expiry(key)).toBeGreaterThan(DAY_MS / 2);
  });

  test.for([
    ['an intent decades ahead', `H-${padded(0)}${zeros}I1:a99999999999991`],
    ['an intent of nobody, five days ahead', `H-${padded(0)}${zeros}I0:${inDays(5)}1`],
    ['a second intent', `H-${padded(0)}${zeros}I1:a${inDays(1)}0I1:b${inDays(5)}0`],
    ['a lease', `H-${padded(0)}${zeros}L1:a${inDays(5)}`],
    ['an intent in a closed hole', `H-${CLOSED}${zeros}I1:a99999999999991`],
    ['a lease of a known absence', `K-${padded(0)}${zeros}L1:a9999999999999`],
  ])('%s that stands for too long is none: readers fill, writers place', async ([, written]) => {
    const key = newKey();
    await raw.set(key, written as string);
    expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: 0 });
    await raw.set(key, written as string);
    expect(await run(cache, reserve(key, 't'))).toEqual({ kind: 'reserved', known: 0 });
    expect(await run(cache, { ...put(key, 4), token: 't' })).toEqual({ kind: 'put', outcome: 'stored' });
  });
});

describe('an entry that is further ahead of the clock than clocks differ', () => {
  const AHEAD = [`${now + HOUR_US}`, `${now + 23 * HOUR_US}`] as const;
  const ABSENT = [...AHEAD, `${now + 48 * HOUR_US}`, CLOSED] as const;
  const changes = [
    ['a put', (key: string) => put(key, 4)],
    ['an invalidation', (key: string) => invalidate(key, 4)],
  ] as const;
  const found = async (key: string) => (await cache.read([key], 'utf8'))[0];

  test.for(AHEAD.flatMap((version) => changes.map(([name, change]) => [version, name, change] as const)))(
    'is read no more behind a lower change: a value at %s, %s',
    async ([version, , change]) => {
      for (const text of [`V-${version}${zeros}{"forged":true}`, `A-${version}${zeros}`]) {
        const key = newKey();
        await raw.set(key, text);
        expect(await found(key)).toMatchObject({ version: Number(version) });
        expect(await run(cache, change(key))).toMatchObject({ outcome: 'floored' });
        expect(await found(key)).toBeUndefined();
        // What was higher after all stays the floor.
        expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'granted', floor: Number(version) });
      }
    },
  );

  test.for(ABSENT.flatMap((version) => changes.map(([name, change]) => [version, name, change] as const)))(
    'is read no more behind a lower change: a known absence at %s, %s',
    async ([version, , change]) => {
      const key = newKey();
      await raw.set(key, `K-${version}${zeros}`);
      expect(await found(key)).toEqual({ version: 0, payload: null, staleAtMs: 0 });
      await run(cache, change(key));
      expect(await found(key)).toBeUndefined();
      expect((await lease(key)).outcome).toBe(version === CLOSED ? 'pass' : 'granted');
    },
  );

  test('takes no lease with it that saw the rows before a lower change', async () => {
    const key = newKey();
    await raw.set(key, `H-${now + HOUR_US}${zeros}`);
    expect((await lease(key)).outcome).toBe('granted');
    await run(cache, invalidate(key, 4));
    const fill = { kind: 'fill', key, token: 'own', version: 0, payload: null, ttlMs: LONG_MS, staleAtMs: 0 };
    expect(await run(cache, fill as Parameters<typeof run>[1])).toEqual({ kind: 'fill', outcome: 'lost' });
  });

  test('stays where only it has a buffered write, and where the change is its own', async () => {
    const key = newKey();
    const text = `VU${now + HOUR_US + 1}${zeros}x`;
    await raw.set(key, text);
    expect(await run(cache, put(key, 4))).toEqual({ kind: 'put', outcome: 'superseded' });
    expect(await run(cache, invalidate(key, 4))).toEqual({ kind: 'invalidate', outcome: 'nothing' });
    expect(await raw.get(key)).toBe(text);
    const own = `V-${now + HOUR_US}${zeros}x`;
    await raw.set(key, own);
    expect(await run(cache, invalidate(key, now + HOUR_US))).toMatchObject({ outcome: 'nothing' });
    expect(await raw.get(key)).toBe(own);
  });
});

test('another release’s entry is left as it is by every command', async () => {
  const key = newKey();
  const written = 'L2:whatever that release makes of it';
  await raw.set(key, written);
  const shared = { key, token: 't', holeTtlMs: LONG_MS, ttlMs: LONG_MS, staleAtMs: 0 } as const;
  const replies = await cache.execute([
    reserve(key, 't'),
    { kind: 'intend', deadlineMs: LONG_MS, ...shared },
    { ...put(key, 4), token: 't' },
    { kind: 'refresh', version: 4, payload: 'x', ...shared },
    { ...invalidate(key, 4), holeOnEmpty: true },
    { kind: 'lease', leaseMs: LONG_MS, encoding: 'utf8', ...shared },
    { kind: 'fill', version: 4, payload: 'x', ...shared },
    { kind: 'release', ...shared },
    { kind: 'buffer', key, payload: 'x', notAfterMs: 8e12, durable: false },
    { kind: 'flushed', version: 5, outcome: 'stored', ...shared },
    { kind: 'tag', ...shared },
  ]);
  expect(replies).toEqual([
    { kind: 'reserved', known: 0, refused: 'foreign' },
    { kind: 'reserved', known: 0, refused: 'foreign' },
    { kind: 'put', outcome: 'foreign' },
    { kind: 'refresh', outcome: 'refused' },
    { kind: 'invalidate', outcome: 'foreign' },
    { kind: 'lease', outcome: 'foreign' },
    { kind: 'fill', outcome: 'lost' },
    { kind: 'release', held: false },
    { kind: 'buffer', outcome: 'unfit' },
    { kind: 'flushed', outcome: 'kept' },
    { kind: 'tag', token: undefined },
  ]);
  expect(await cache.read([key], 'utf8')).toEqual([undefined]);
  expect(await raw.get(key)).toBe(written);
});

test('more intents than a hole may hold are refused, and those that stand stay', async () => {
  const key = newKey();
  const intend = (token: string) =>
    run(cache, { kind: 'intend', key, token, deadlineMs: LONG_MS, holeTtlMs: LONG_MS });
  const long = (index: number): string => `${index}`.padStart(200, 't');
  for (let index = 0; index < 256; index++)
    expect(await intend(long(index))).toEqual({ kind: 'reserved', known: 0 });
  expect(await intend(long(256))).toEqual({ kind: 'reserved', known: 0, refused: 'full' });
  expect(await lease(key)).toEqual({ kind: 'lease', outcome: 'pass', floor: 0 });
});
