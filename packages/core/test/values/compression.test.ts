import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import zlib from 'node:zlib';
import { expect, test } from 'vitest';
import type { Payload } from '../../src/contracts/cache-commands.js';
import type { CollectionOptions, CompressionOptions, LockstepOptions } from '../../src/contracts/options.js';
import { InvalidOptionError } from '../../src/errors.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { jsonSerializer } from '../../src/serializers/json.js';
import { msgpackSerializer } from '../../src/serializers/msgpack.js';
import { Codec } from '../../src/values/codec.js';
import { COMPRESSION, Compression, checkCompression, isCompressed } from '../../src/values/compression.js';

type Row = Readonly<Record<string, unknown>>;

const KEY = { id: 'one', secret: 'a secret of one and of its friends, long' };
const MAX = 2 ** 20;
const THRESHOLD = COMPRESSION.thresholdBytes.fallback;
/** About so long in JSON: `aside` is compressed, and decompressed, in the thread pool. */
const LENGTHS = { small: 100, atOnce: 20_000, aside: 600_000 };

const rowOf = (length: number): Row => ({ text: 'äb c'.repeat(length / 5), at: new Date(5), zero: -0 });

function world() {
  return { database: memoryDatabase(), cache: memoryCache() };
}

function processOf(
  { cache, database }: ReturnType<typeof world>,
  collection: Partial<CollectionOptions<Row>> = {},
  options: Partial<LockstepOptions> = {},
) {
  const rows = memoryStore<Row>({ name: 'users', database });
  const shape = { order: 1, properties: new Map(Object.keys(rowOf(1)).map((name) => [name, 'any'])) };
  const store = { ...rows, shape: { current: () => shape, renew: async () => {} } };
  const lockstep = createLockstep({ cache, ...options });
  const misses: string[] = [];
  lockstep.events.on('miss', ({ reason }) => void misses.push(reason));
  const users = lockstep.collection<Row>({ name: 'users', store, ...collection });
  const encoding = collection.serializer?.encoding ?? 'utf8';
  return {
    rows,
    misses,
    users,
    lockstep,
    cached: async (key: string): Promise<Payload> => {
      const [hit] = await cache.read([`wtc:users:${key}`], encoding);
      if (hit instanceof Error || !hit?.payload) throw new Error(`nothing is cached at ${key}`);
      return hit.payload;
    },
  };
}

const VARIANTS = [
  ['JSON', jsonSerializer()],
  ['MessagePack', msgpackSerializer()],
] as const;
const ALGORITHMS = ['zstd', 'brotli'] as const;
const SIGNED = [{}, { integrity: { keys: [KEY] } }];

for (const [name, serializer] of VARIANTS) {
  for (const algorithm of ALGORITHMS) {
    for (const options of SIGNED) {
      const signed = 'integrity' in options ? ', signed' : '';
      test(`${name}, ${algorithm}${signed}: who has no such option reads what was put, and what was filled`, async () => {
        const at = world();
        const writer = processOf(at, { serializer, compression: { algorithm } }, options);
        const reader = processOf(at, { serializer }, options);
        for (const [key, length] of Object.entries(LENGTHS)) {
          const row = rowOf(length);
          await writer.users.put(key, row);
          expect((await writer.cached(key)).length < length / 4).toBe(length > THRESHOLD);
          expect(isDeepStrictEqual(await reader.users.get(key), row)).toBe(true);
        }
        const all = Object.values(LENGTHS).map(rowOf);
        const ids = Object.keys(LENGTHS);
        expect(isDeepStrictEqual(await reader.users.getMany(ids), all)).toBe(true);
        expect(reader.misses).toEqual([]);
        await writer.rows.foreignWrite('filled', rowOf(LENGTHS.aside));
        await writer.users.get('filled');
        await writer.lockstep.drain();
        expect((await writer.cached('filled')).length).toBeLessThan(50_000);
        expect(isDeepStrictEqual(await reader.users.get('filled'), rowOf(LENGTHS.aside))).toBe(true);
        expect(reader.misses).toEqual([]);
        const [info] = reader.lockstep.collections;
        const [hit] = await at.cache.read(['wtc:users:aside'], serializer.encoding);
        if (hit instanceof Error || hit === undefined) throw new Error('nothing is cached');
        const decoded = await info?.decode(hit, 'aside');
        expect(isDeepStrictEqual(decoded, rowOf(LENGTHS.aside))).toBe(true);
      });

      test(`${name}, ${algorithm}${signed}: buffered writes keep their order, and are flushed by who has no such option`, async () => {
        const at = world();
        const collection = { serializer, strategy: 'write-behind' } as const;
        const writer = processOf(at, { ...collection, compression: { algorithm } }, options);
        const worker = processOf(at, collection, options);
        await writer.users.put('1', { text: 'first' });
        await writer.users.get('1');
        // The long one is still being compressed when the short one comes.
        const results = await Promise.all([
          writer.users.put('1', rowOf(LENGTHS.aside)),
          writer.users.put('2', rowOf(LENGTHS.aside)),
          new Promise((resolve) => setImmediate(resolve)).then(() => writer.users.put('1', { text: 'last' })),
        ]);
        expect(results.map(({ store }) => store)).toContain('buffered');
        expect(await worker.users.get('1')).toEqual({ text: 'last' });
        await worker.users.flush();
        const [one, two] = await worker.rows.read(['1', '2'], { timeoutMs: 100, primary: true });
        expect(one?.value).toEqual({ text: 'last' });
        expect(isDeepStrictEqual(two?.value, rowOf(LENGTHS.aside))).toBe(true);
      });
    }
  }
}

test('a write-behind on a long row that is not cached stands on what was loaded for it', async () => {
  const at = world();
  const collection = { strategy: 'write-behind', compression: { algorithm: 'zstd' } } as const;
  const { rows, users } = processOf(at, collection);
  await rows.foreignWrite('1', rowOf(LENGTHS.aside));
  expect(await users.put('1', { text: 'new' })).toMatchObject({ store: 'buffered' });
});

function codecOf(compression: CompressionOptions | undefined, serializer = jsonSerializer(), maxBytes = MAX) {
  const settings = compression && { thresholdBytes: THRESHOLD, ...compression };
  return new Codec<unknown>({
    ...{ collection: 'users', serializer, schema: undefined, maxBytes, shapes: undefined },
    compression: new Compression(settings, maxBytes),
  });
}

const hitOf = (payload: Payload) => ({ payload, version: 2, staleAtMs: 0 });

test('a hit that is not compressed, and a short one that is, are decoded without a promise', async () => {
  const codec = codecOf({ algorithm: 'zstd' });
  for (const length of [LENGTHS.small, LENGTHS.atOnce]) {
    const payload = codec.encode(rowOf(length), 'k', 2);
    expect(payload).not.toBeInstanceOf(Promise);
    expect(codec.decode(hitOf(payload as Payload), 'k')).not.toBeInstanceOf(Promise);
  }
  const plain = codecOf(undefined).encode(rowOf(LENGTHS.aside), 'k', 2) as Payload;
  expect(codec.decode(hitOf(plain), 'k')).not.toBeInstanceOf(Promise);
  const payload = codec.encode(rowOf(LENGTHS.aside), 'k', 2);
  expect(payload).toBeInstanceOf(Promise);
  expect(codec.decode(hitOf(await payload), 'k')).toBeInstanceOf(Promise);
});

test('what does not get shorter stays as it is, and so does what is too long to be cached', async () => {
  for (const algorithm of ALGORITHMS) {
    const codec = codecOf({ algorithm });
    for (const length of [10_000, 100_000]) {
      const noise = { noise: randomBytes(length).toString('base64') };
      expect(await codec.encode(noise, 'k', 2)).toBe(JSON.stringify(noise));
    }
    const long = { text: 'a'.repeat(MAX) };
    const payload = codec.encode(long, 'k', 2) as Payload;
    expect(payload).toBe(JSON.stringify(long));
    expect(codec.fits(payload)).toBe(false);
  }
});

test('the threshold counts bytes', () => {
  const codec = codecOf({ algorithm: 'zstd', thresholdBytes: 1_000 });
  expect(isCompressed(codec.encode('ä'.repeat(498), 'k', 2) as Payload)).toBe(false);
  expect(isCompressed(codec.encode('ä'.repeat(499), 'k', 2) as Payload)).toBe(true);
  expect(codecOf({ algorithm: 'zstd', thresholdBytes: 0 }).encode('', 'k', 2)).toBe('""');
});

test('a payload of a serializer that looks compressed comes back as it was', async () => {
  const text = '~Z1z5~anything';
  const bytes = Buffer.concat([Buffer.from([0xc1]), Buffer.from('Z1b9~x')]);
  for (const body of [text, bytes]) {
    const encoding = typeof body === 'string' ? 'utf8' : 'binary';
    const same = {
      name: 'same',
      encoding,
      serialize: () => body,
      deserialize: (given: Payload) => given,
    } as const;
    const payload = codecOf(undefined, same).encode(null, 'k', 2) as Payload;
    const decoded = await codecOf(undefined, same).decode(hitOf(payload), 'k');
    expect(decoded).toEqual({ ok: true, value: body });
  }
});

const HUGE = Buffer.alloc(8 * 2 ** 20);
/** Of a small window: only its length tells what it is. */
const level = {
  params: { [zlib.constants.ZSTD_c_compressionLevel]: 1, [zlib.constants.ZSTD_c_windowLog]: 10 },
};
const ZSTD_BOMB = zlib.zstdCompressSync(HUGE, level);
const BROTLI_BOMB = zlib.brotliCompressSync(HUGE, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } });
const wide = {
  params: { [zlib.constants.ZSTD_c_windowLog]: 27, [zlib.constants.ZSTD_c_contentSizeFlag]: 0 },
};

/** Streamed, so that its header does not say how long it is. */
function frameOf(body: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream = zlib.createZstdCompress(wide);
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => resolve(Buffer.concat(parts)));
    stream.on('error', reject);
    stream.write(body.subarray(0, 10));
    stream.end(body.subarray(10));
  });
}

const text = (start: string, packed: Uint8Array): string => start + Buffer.from(packed).toString('base64');
const BOMBS: readonly (readonly [string, () => string | Promise<string>])[] = [
  ['zstd, longer than it says', () => text('~Z1z1000~', ZSTD_BOMB)],
  ['brotli, longer than it says', () => text('~Z1b1000~', BROTLI_BOMB)],
  ['zstd in the pool, longer than it says', () => text('~Z1z300000~', ZSTD_BOMB)],
  ['brotli in the pool, longer than it says', () => text('~Z1b300000~', BROTLI_BOMB)],
  ['longer than may be cached, as it says', () => text(`~Z1z${HUGE.length}~`, ZSTD_BOMB)],
  ['shorter than it says', () => text('~Z1z1000~', zlib.zstdCompressSync(Buffer.from('"short"')))],
  ['cut off', () => text('~Z1z7~', zlib.zstdCompressSync(Buffer.from('"short"')).subarray(0, -2))],
  ['of a window of 128 MiB', async () => text('~Z1z300~', await frameOf(Buffer.alloc(300, 32)))],
  ['of no algorithm', () => '~Z1x7~AAAA'],
  ['of a length that is none', () => '~Z1z99999999999~AAAA'],
  ['of a header without end', () => '~Z1z7'],
  ['no base64', () => '~Z1b7~\u0000\u0000'],
];

test.each(BOMBS)('an entry that is %s can not be read, and is loaded anew', async (_, make) => {
  const at = world();
  const { cached, lockstep, misses, rows, users } = processOf(at, { compression: { algorithm: 'zstd' } });
  const row = { text: 'of the store' };
  await rows.foreignWrite('1', row);
  const { version } = await users.getVersioned('1');
  await lockstep.drain();
  const shape = /^.+?~(?=\{)/.exec(String(await cached('1')))?.[0] ?? '';
  const payload = shape + (await make());
  await at.cache.execute([
    { kind: 'refresh', key: 'wtc:users:1', version, payload, ttlMs: 60_000, staleAtMs: 0 },
  ]);
  expect(await cached('1')).toBe(payload);
  expect(await users.get('1')).toEqual(row);
  await lockstep.drain();
  expect(misses).toEqual(['absent', 'undecodable']);
});

test('no more is decompressed than the header says', async () => {
  const compression = new Compression(undefined, MAX);
  for (const [name, make] of BOMBS.slice(0, 4)) {
    const body = await make();
    const plain = async () => await compression.plain(body);
    await expect(plain(), name).rejects.toThrow(/larger than (1000|300000) bytes/);
  }
  // The bound of the header is that of a value.
  const { length } = HUGE;
  expect(() => compression.plain(`~Z1z${length}~`)).toThrow(`it is of ${length} bytes, more than ${MAX}`);
});

test('the window of a frame is bounded by the length that its header says', async () => {
  const frame = await frameOf(Buffer.alloc(300, 32));
  // The frame itself is in order.
  expect(zlib.zstdDecompressSync(frame).length).toBe(300);
  expect(() => new Compression(undefined, MAX).plain(text('~Z1z300~', frame))).toThrow('too much memory');
});

test('the default is that of the Lockstep; `none` turns it off for a collection', async () => {
  const at = world();
  const options = { compression: { algorithm: 'brotli' } } as const;
  const all = processOf(at, {}, options);
  const none = processOf(at, { compression: { algorithm: 'none' } }, options);
  await all.users.put('1', rowOf(LENGTHS.atOnce));
  expect(String(await all.cached('1'))).toContain('~Z1b');
  await none.users.put('1', rowOf(LENGTHS.atOnce));
  expect(String(await all.cached('1'))).not.toContain('~Z1');
  expect(none.misses).toEqual([]);
});

test('options that are wrong are refused by name, and so is zstd where Node.js lacks it', () => {
  const at = world();
  const refusal = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (error instanceof InvalidOptionError) return error.message;
    }
    return 'nothing';
  };
  const given = (compression: object): string =>
    refusal(() => processOf(at, { compression: compression as CompressionOptions }));
  expect(given({ algorithm: 'gzip' })).toContain(
    'collection("users").compression.algorithm: must be one of zstd, brotli, none',
  );
  expect(given({})).toContain('compression.algorithm: must be one of');
  expect(given({ algorithm: 'zstd', thresholdBytes: -1 })).toContain(
    'compression.thresholdBytes: must be a whole number',
  );
  expect(given({ algorithm: 'zstd', level: 1 })).toContain('compression.level: unknown option');
  expect(
    refusal(() => processOf(at, {}, { compression: { algorithm: 'lz4' } as unknown as CompressionOptions })),
  ).toContain('createLockstep.compression.algorithm');
  const settings = { algorithm: 'zstd', thresholdBytes: 0 } as const;
  expect(refusal(() => checkCompression(settings, 'createLockstep', {}))).toMatch(
    /^createLockstep\.compression\.algorithm: must be brotli or none: .* zstd needs 22\.15/,
  );
  expect(refusal(() => checkCompression({ ...settings, algorithm: 'brotli' }, 'createLockstep', {}))).toBe(
    'nothing',
  );
});
