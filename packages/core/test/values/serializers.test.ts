import { describe, expect, test } from 'vitest';
import { jsonSerializer } from '../../src/serializers/json.js';
import { msgpackSerializer } from '../../src/serializers/msgpack.js';
import { LAMP, openShop } from '../support/shop.js';

const json = jsonSerializer();
const msgpack = msgpackSerializer();
const through = (value: unknown): unknown => json.deserialize(json.serialize(value));

describe('the JSON serializer', () => {
  test.each([
    ['plain values', { text: 'x', number: 1.5, yes: true, none: null, list: [1, [2]], nested: { a: {} } }],
    ['a string', 'text'],
    ['a string like a tag', '~{"~d":1}'],
    ['null', null],
    ['dates', { at: new Date('2026-01-02T03:04:05.678Z'), list: [new Date(0)] }],
    ['bigints', { big: 2n ** 80n, negative: -1n }],
    ['bytes', { bytes: Buffer.from([0, 255, 128]) }],
    ['keys that look like tags', { '~d': 'x', '~~n': 1, '~b': new Date(1), '~f': '-0', '~': { '~n': '5' } }],
    ['lone surrogates', { odd: '\ud800' }],
    [
      'numbers that JSON lacks',
      { odd: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0] },
    ],
    ['such a number alone', -0],
  ])('%s come back as they were', (_what, value) => {
    expect(through(value)).toEqual(value);
  });

  test('__proto__ is a key like any other, and pollutes nothing', () => {
    for (const extra of ['1', '{"~n":"1"}']) {
      const payload = `~{"__proto__":{"polluted":${extra}}}`;
      const back = json.deserialize(payload) as object;
      expect(Object.hasOwn(back, '__proto__')).toBe(true);
      expect((back as { polluted?: unknown }).polluted).toBeUndefined();
      expect(json.deserialize(json.serialize(back))).toEqual(back);
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test('undefined properties are dropped, with and without tags', () => {
    expect(through({ a: undefined, b: 1 })).toEqual({ b: 1 });
    expect(through({ a: undefined, b: 1n })).toEqual({ b: 1n });
  });

  test('plain payloads are plain JSON', () => {
    expect(json.serialize(LAMP)).toBe(JSON.stringify(LAMP));
  });

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  test.each([
    [{ a: [{ b: () => 1 }] }, 'a[0].b is function'],
    [{ a: Symbol('s') }, 'a is symbol'],
    [{ a: new Map() }, 'a is an instance of Map'],
    [{ a: new Date(Number.NaN) }, 'a is an invalid Date'],
    [{ a: [1, undefined] }, 'a[1] is undefined in an array'],
    [{ a: { toJSON: () => 1 } }, 'a is an object with toJSON'],
    [undefined, 'the value is undefined'],
    [new (class Lamp {})(), 'the value is an instance of Lamp'],
    [cycle, 'more than 100 levels (a cycle?)'],
  ])('what it can’t carry is an error that names the path (%#)', (value, message) => {
    expect(() => json.serialize(value)).toThrow(TypeError);
    expect(() => json.serialize(value)).toThrow(message);
    expect(() => json.measure?.(value)).toThrow(TypeError);
    expect(() => json.measure?.(value)).toThrow(message);
  });

  test.each([
    [
      'plain',
      Array.from({ length: 20 }, (_, n) => ({ ...LAMP, text: 'a'.repeat(n), yes: true, none: null })),
    ],
    ['a text', 'a'.repeat(1_000)],
    ['dates and bigints', Array.from({ length: 20 }, () => ({ at: new Date(), big: 2n ** 60n }))],
    ['bytes', { bytes: Buffer.alloc(10_000) }],
  ])('it measures about what it would serialize: %s', (_what, value) => {
    const ratio = (json.measure?.(value) ?? 0) / json.serialize(value).length;
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
  });

  test.each(['', '{', '~', '~{"~n":"abc"}', 'undefined'])(
    'a payload that is none of its own throws: %o',
    (payload) => {
      expect(() => json.deserialize(payload)).toThrow();
    },
  );

  test('bytes from a binary cache are read as UTF-8', () => {
    expect(json.deserialize(Buffer.from('{"a":"é"}'))).toEqual({ a: 'é' });
  });
});

describe('the MessagePack serializer', () => {
  test.each([
    ['plain values', { text: 'é', number: 1.5, none: null, list: [1, [2]] }],
    ['dates', { at: new Date('2026-01-02T03:04:05.678Z') }],
    ['bigints', { big: 2n ** 60n, bigger: 2n ** 80n, negative: -1n }],
    ['maps and sets', { map: new Map([['a', 1]]), set: new Set([1, 2]) }],
    ['NaN and infinities', { nan: Number.NaN, most: Number.POSITIVE_INFINITY }],
    ['minus zeros', { a: -0, list: [0, -0, { b: -0 }] }],
    ['a minus zero', -0],
    ['nothing', { a: undefined, list: [undefined, null] }],
    ['regular expressions', { a: /a.b/gi }],
    ['no times', { at: new Date(Number.NaN) }],
    ['names of every object', { constructor: 1, hasOwnProperty: 2 }],
  ])('%s come back as they were', (_what, value) => {
    expect(msgpack.deserialize(msgpack.serialize(value))).toStrictEqual(value);
  });

  test('what leads back to itself does', () => {
    const loop: Record<string, unknown> = { zero: -0 };
    loop['self'] = loop;
    const back = msgpack.deserialize(msgpack.serialize(loop)) as typeof loop;
    expect(back['self']).toBe(back);
    expect(back['zero']).toBe(-0);
  });

  test.each([
    ['the value', new (class Money {})()],
    ['a.list.1', { a: { list: [1, new (class Money {})()] } }],
  ])('an instance of another class is refused by its path: %s', (path, value) => {
    expect(() => msgpack.serialize(value)).toThrow(`${path} is an instance of Money, which MessagePack`);
  });

  test('a payload that somebody made up changes nothing but zeros', () => {
    const made = msgpack.serialize({
      value: { a: 1 },
      zeros: [['value', 'a'], ['value', '__proto__', 'x'], []],
    });
    const payload = Buffer.concat([Buffer.from([0xc1]), made as Uint8Array]);
    expect(msgpack.deserialize(payload)).toStrictEqual({ a: 1 });
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  test('bytes come back as bytes', () => {
    const back = msgpack.deserialize(msgpack.serialize({ bytes: Buffer.from([1, 2, 255]) }));
    expect(Buffer.from((back as { bytes: Uint8Array }).bytes)).toEqual(Buffer.from([1, 2, 255]));
  });

  test.each([[{ a: () => 1 }], [{ a: Symbol('s') }]])('functions and symbols throw (%#)', (value) => {
    expect(() => msgpack.serialize(value)).toThrow();
  });

  test('a payload is read by a process that never saw another', () => {
    const rows = [LAMP, LAMP].map((value) => msgpackSerializer().serialize(value));
    expect(rows.map((payload) => msgpackSerializer().deserialize(payload))).toEqual([LAMP, LAMP]);
    msgpack.serialize(LAMP);
    expect(msgpackSerializer().deserialize(msgpack.serialize(LAMP))).toEqual(LAMP);
  });

  test('a payload cut short throws', () => {
    const payload = msgpack.serialize({ text: 'a longer text than this' }) as Uint8Array;
    expect(() => msgpack.deserialize(payload.subarray(0, payload.length - 5))).toThrow();
  });

  test('a collection with it hits, and heals what it can’t read', async () => {
    const shop = openShop({ collection: { serializer: msgpackSerializer() } });
    const { version } = await shop.products.put('a', LAMP);
    expect(await shop.products.getVersioned('a')).toMatchObject({ value: LAMP, from: 'cache' });
    const broken = { payload: Buffer.from([0xd9, 0xff]), ttlMs: 60_000, staleAtMs: 0 };
    await shop.memory.execute([{ kind: 'refresh', key: 'wtc:products:a', version, ...broken }]);
    const misses = shop.record('miss');
    expect(await shop.products.get('a')).toEqual(LAMP);
    expect(misses).toMatchObject([{ reason: 'undecodable' }]);
  });
});

test('a write is measured, and serialized only once it is committed', async () => {
  const calls: string[] = [];
  const serializer = {
    ...json,
    measure: (value: unknown): number => {
      calls.push('measure');
      return json.measure?.(value) ?? 0;
    },
    serialize: (value: unknown): string | Uint8Array => {
      calls.push('serialize');
      return json.serialize(value);
    },
  };
  const shop = openShop({ collection: { serializer } });
  await shop.products.put('a', LAMP);
  expect(calls).toEqual(['measure', 'serialize']);
  await expect(shop.products.put('a', { ...LAMP, stock: Symbol('s') as never })).rejects.toThrow(
    'stock is symbol',
  );
  expect(calls).toEqual(['measure', 'serialize', 'measure']);
});

test('a serializer that returns no payload is a SerializationError', async () => {
  const serializer = {
    name: 'odd',
    encoding: 'utf8',
    serialize: () => 5 as never,
    deserialize: String,
  } as const;
  const shop = openShop({ collection: { serializer } });
  await expect(shop.products.put('a', LAMP)).rejects.toMatchObject({
    code: 'LOCKSTEP_SERIALIZATION',
    message: expect.stringContaining('serializer "odd" returned number'),
  });
});
