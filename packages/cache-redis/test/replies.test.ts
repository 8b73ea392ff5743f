import { type RedisService, startRedis } from '@lockstep/dev-services';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisCache } from '../src/index.js';
import { type DecodeAt, ReadCommand } from '../src/replies/read-command.js';
import { readReplies } from '../src/replies/reply-reader.js';
import { LONG_MS, newKey } from './support/entries.js';

// Replies are taken out of what ioredis receives. Here ioredis itself says what they should have been.

let service: RedisService;
let plain: Redis;
beforeAll(async () => {
  service = await startRedis();
  plain = new Redis(service.url);
}, 120_000);
afterAll(async () => {
  plain.disconnect();
  await service.stop();
});

const text = (bytes: Buffer, from: number, to: number): string => bytes.toString('latin1', from, to);

/** A client whose replies come in pieces of so many bytes, and what its reads took out by themselves. */
async function inPieces(protocol: 2 | 3, sizes: readonly number[]) {
  const client = new Redis(service.url, { lazyConnect: true, protocol });
  const taken = { replies: 0 };
  client.once('connect', () => {
    readReplies(client);
    const { stream } = client;
    const [read] = stream.listeners('data') as [(chunk: Buffer) => void];
    let turn = 0;
    stream.prependListener('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; ) {
        const size = sizes[turn++ % sizes.length] ?? 1;
        read(chunk.subarray(at, at + size));
        at += size;
      }
    });
    stream.off('data', read);
  });
  await client.connect();
  const reading = async <Found = string>(
    keys: readonly string[],
    decode: DecodeAt<Found> = text as unknown as DecodeAt<Found>,
  ): Promise<readonly (Found | undefined)[]> => {
    const command = new ReadCommand(keys, decode, '');
    const { take } = command;
    command.take = (bytes, from) => {
      const took = take.call(command, bytes, from);
      if (took) taken.replies++;
      return took;
    };
    return (await client.sendCommand(command)) as readonly (Found | undefined)[];
  };
  return { client, reading, taken };
}

const SCRIPTS = [
  "return {1, 'two', {3, {}, false}}",
  "return redis.error_reply('MISCONF or so')",
  "return redis.status_reply('so')",
  'return {}',
  'return false',
  'redis.setresp(3); return {map = {a = 1, b = {double = 0.5}}}',
  "return string.rep('x', 70000)",
];

interface Sent {
  readonly reads: readonly number[];
  readonly script: number;
}

const sent: fc.Arbitrary<readonly Sent[]> = fc.array(
  fc.record({
    reads: fc.array(fc.nat({ max: 7 }), { maxLength: 5 }),
    script: fc.nat({ max: SCRIPTS.length - 1 }),
  }),
  { minLength: 1, maxLength: 12 },
);

describe.each([2, 3] as const)('RESP %i', (protocol) => {
  test('whatever the pieces in which replies come, each command gets its own', async () => {
    const start = newKey();
    const keys = Array.from({ length: 8 }, (_, n) => `${start}:${n}`);
    const values = [
      '',
      'a\r\n$3\r\nb',
      '-ERR',
      'é\u{1f600}',
      'x'.repeat(70_000),
      Buffer.from([0, 255, 13, 10]),
    ];
    await plain.mset(values.flatMap((value, n) => [keys[n] ?? '', value]));
    await plain.rpush(keys[6] ?? '', 'a list');
    const texts = [...values.map((value) => Buffer.from(value).toString('latin1')), undefined, undefined];
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(50_000)), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(sent, sizes, async (all, pieces) => {
        const { client, reading, taken } = await inPieces(protocol, pieces);
        try {
          const outcomes = all.flatMap(({ reads, script }) => [
            ...(reads.length === 0 ? [] : [reading(reads.map((n) => keys[n] ?? ''))]),
            client.eval(SCRIPTS[script] ?? '', 0),
          ]);
          const expected = all.flatMap(({ reads, script }) => [
            ...(reads.length === 0 ? [] : [reads]),
            plain.eval(SCRIPTS[script] ?? '', 0),
          ]);
          const [got, meant] = await Promise.all([
            Promise.allSettled(outcomes),
            Promise.allSettled(expected),
          ]);
          let reads = 0;
          for (const [index, each] of meant.entries()) {
            const one = got[index];
            if (each.status === 'fulfilled' && Array.isArray(expected[index])) {
              const wanted = expected[index] as number[];
              // GET refuses what MGET passes over; to who reads there is nothing either way.
              if (wanted.length !== 1 || wanted[0] !== 6) reads++;
              expect(one).toEqual({ status: 'fulfilled', value: wanted.map((n) => texts[n]) });
            } else if (each.status === 'rejected') {
              expect(one).toMatchObject({ status: 'rejected', reason: { message: each.reason.message } });
            } else expect(one).toEqual(each);
          }
          expect(taken.replies).toBe(reads);
          expect(await client.ping()).toBe('PONG');
        } finally {
          client.disconnect();
        }
      }),
      { numRuns: 25 },
    );
  });
});

test('bytes that came in pieces stay as they are, whatever comes later', async () => {
  const keys = [newKey(), newKey()] as const;
  await plain.mset(keys[0], 'a'.repeat(1_000), keys[1], 'b'.repeat(1_000));
  const { client, reading } = await inPieces(2, [300]);
  const bytes = Object.assign((all: Buffer, from: number, to: number) => all.subarray(from, to), {
    keeps: true,
  });
  const [first] = await reading([keys[0]], bytes);
  await reading([keys[1]], bytes);
  await reading([keys[1]]);
  client.disconnect();
  expect(first?.toString()).toBe('a'.repeat(1_000));
});

test('a cache with a connection of its own takes its replies out, before and after it was cut off', async () => {
  const cache = redisCache({ url: service.url });
  await cache.open?.();
  const key = newKey();
  const put = {
    kind: 'put',
    key,
    token: 't',
    version: 4,
    payload: 'row',
    ttlMs: LONG_MS,
    staleAtMs: 0,
  } as const;
  await cache.execute([{ kind: 'reserve', key, token: 't', holeTtlMs: LONG_MS }]);
  await cache.execute([{ ...put, holeTtlMs: LONG_MS }]);
  const { take } = ReadCommand.prototype;
  let taken = 0;
  ReadCommand.prototype.take = function (bytes, from) {
    taken++;
    return take.call(this, bytes, from);
  };
  try {
    const hit = { version: 4, payload: 'row', staleAtMs: 0 };
    expect(await cache.read([key, `${key}:none`, key], 'utf8')).toEqual([hit, undefined, hit]);
    expect(taken).toBe(1);
    await plain.call('client', 'kill', 'type', 'normal', 'skipme', 'yes');
    await expect.poll(() => cache.read([key], 'utf8').catch(() => [])).toEqual([hit]);
    expect(taken).toBe(2);
  } finally {
    ReadCommand.prototype.take = take;
    await cache.close();
  }
});

test.each([
  ['a line that ends otherwise', 1, '$3\nabc\r\n'],
  ['no line end at all', 1, '$3\nabcxx'],
  ['a length that is none', 1, '$?\r\n'],
  ['a text that is shorter than it says', 1, '$9\r\nabc\r\n'],
  ['fewer texts than keys', 2, '*1\r\n$1\r\na\r\n'],
  ['a count that is none', 2, '*2\n$1\r\na\r\n$1\r\nb\r\n'],
])('what no Redis sends is left to ioredis: %s', (_, keys, reply) => {
  const command = new ReadCommand(['a', 'b'].slice(0, keys), text, '');
  expect(command.take(Buffer.from(reply), 0)).toBe(false);
});
