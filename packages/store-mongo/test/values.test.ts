import { Binary, BSON, Collection, Decimal128, type Document, Long, ObjectId, UUID } from 'mongodb';
import { describe, expect, test, vi } from 'vitest';
import { bsonSerializer } from '../src/rows/serializer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();

const VALUE = {
  _id: 'a',
  text: '$$NOW and $field',
  'dotted.name': { $set: { $add: [1, '$x'] } },
  at: new Date('2026-01-02T03:04:05.678Z'),
  price: Decimal128.fromString('12345678901234567890.123456789'),
  ref: new ObjectId('507f1f77bcf86cd799439011'),
  uuid: new UUID('6c3f2e1a-0000-4000-8000-00000000000b'),
  bytes: new Binary(Buffer.from([0, 1, 255])),
  nested: { deep: [{ a: 1.5 }, null, [true, 'x']] },
  pattern: /a.b/i,
};

describe('values', () => {
  test('of every BSON type survive the store and the cache unchanged, and are data, never expressions', async () => {
    const store = await server.store();
    const things = store.collection<Document, string>('things');
    await store.attach([things]);
    const serializer = things.serializer;
    for (const batch of [1, 2]) {
      const commands = Array.from({ length: batch }, (_, n) => ({
        kind: 'put' as const,
        key: `k${n}`,
        value: { ...VALUE, _id: `k${n}`, batch },
        above: 0,
      }));
      const outcomes = await things.write(commands, CALL);
      for (const [n, outcome] of outcomes.entries()) {
        expect(outcome.kind).toBe('written');
        const [row] = await things.read([`k${n}`], PRIMARY);
        const sent = { ...VALUE, _id: `k${n}`, batch };
        expect(row?.value).toEqual(sent);
        expect(Object.hasOwn(row?.value ?? {}, '_lockstep')).toBe(false);
        const payload = serializer?.serialize(row?.value);
        expect(serializer?.deserialize(payload ?? '')).toEqual(sent);
      }
    }
  });

  test('with 64-bit integers come out of the cache as they come out of the store, as numbers, bigints or Longs', async () => {
    for (const [name, bson, big] of [
      ['promoted', {}, 2 ** 40],
      ['bigints', { useBigInt64: true }, 2n ** 40n],
      ['longs', { promoteLongs: false }, Long.fromNumber(2 ** 40)],
    ] as const) {
      const store = await server.store();
      const things = store.collection<Document, string>(name, { bson });
      await store.attach([things]);
      const value = { _id: 'a', big: Long.fromNumber(2 ** 40) };
      const [outcome] = await things.write([{ kind: 'put', key: 'a', value, above: 0 }], CALL);
      expect(outcome).toMatchObject({ kind: 'written', value: { _id: 'a', big } });
      const [row] = await things.read(['a'], PRIMARY);
      expect(row?.version).toBeTypeOf('number');
      expect(row?.value).toEqual({ _id: 'a', big });
      const payload = things.serializer?.serialize(row?.value) ?? '';
      expect(things.serializer?.deserialize(payload)).toEqual({ _id: 'a', big });
    }
  });

  test('a payload of another serializer is refused', () => {
    const serializer = bsonSerializer();
    expect(() => serializer.deserialize('{}')).toThrow(TypeError);
    expect(() => serializer.deserialize(BSON.serialize({ x: 1 }))).toThrow(TypeError);
    expect(() => serializer.deserialize(Buffer.from('nonsense'))).toThrow();
  });

  test('an existing row keeps the BSON type of its _id, and ids of equal value find it', async () => {
    const store = await server.store();
    const things = store.collection<Document, unknown>('typed ids', { bson: { promoteValues: false } });
    await store.attach([things]);
    const raw = (await server.client()).db(server.service.databaseName).collection<Document>('typed ids');
    await raw.insertOne({ _id: Long.fromNumber(5) as never, n: 1 });
    const key = things.keyOf(5);
    await things.write([{ kind: 'put', key, value: { _id: 5, n: 2 }, above: 0 }], CALL);
    const [row] = await things.read([key], PRIMARY);
    expect(row?.key).toBe(key);
    expect(Long.isLong(row?.value['_id'])).toBe(true);
    expect(await raw.countDocuments()).toBe(1);
  });

  test('a value under another id, or that BSON can’t hold, fails its own caller only (G1)', async () => {
    const store = await server.store();
    const things = store.collection<Document, string>('refusals');
    await store.attach([things]);
    const loop: Document = { _id: 'c' };
    loop['self'] = loop;
    const outcomes = await things.write(
      [
        { kind: 'put', key: 'a', value: { _id: 'a' }, above: 0 },
        { kind: 'put', key: 'b', value: { _id: 'other' }, above: 0 },
        { kind: 'put', key: 'c', value: loop, above: 0 },
        { kind: 'put', key: 'd', value: { _id: 'd', huge: 'x'.repeat(17 * 1024 * 1024) }, above: 0 },
        { kind: 'put', key: 'e', value: null as never, above: 0 },
        { kind: 'put', key: 'f', value: { n: 1 }, above: 0 },
        { kind: 'increment', key: 'a', field: 'none', by: 1, above: 0 },
      ],
      CALL,
    );
    expect(
      outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error.code : outcome.kind)),
    ).toEqual([
      'written',
      'LOCKSTEP_STORE_REFUSED',
      'LOCKSTEP_STORE_REFUSED',
      'LOCKSTEP_STORE_REFUSED',
      'LOCKSTEP_STORE_REFUSED',
      'written',
      expect.stringMatching(/missing|REFUSED/),
    ]);
    expect((await things.read(['f'], PRIMARY))[0]?.value).toEqual({ _id: 'f', n: 1 });
  });

  test('an increment whose row is inserted behind its first look is counted', async () => {
    const store = await server.store();
    const things = store.collection<Document, string>('late');
    await store.attach([things]);
    const change = vi.spyOn(Collection.prototype, 'findOneAndUpdate').mockImplementationOnce(async () => {
      await things.write([{ kind: 'put', key: 'a', value: { _id: 'a', n: 1, none: 'x' }, above: 0 }], CALL);
      return null;
    });
    const increment = { kind: 'increment', key: 'a', field: 'n', by: 2, above: 0 } as const;
    const outcomes = await things.write([increment], CALL);
    change.mockRestore();
    expect(outcomes).toMatchObject([{ kind: 'written', value: { n: 3 } }]);
    const [refused] = await things.write([{ ...increment, field: 'none' }], CALL);
    expect(refused).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } });
  });

  test('an increment keeps the number’s BSON type, and takes a name literally', async () => {
    const store = await server.store();
    const things = store.collection<Document, string>('counters', { bson: { promoteValues: false } });
    await store.attach([things]);
    const value = {
      _id: 'a',
      long: Long.fromNumber(1),
      money: Decimal128.fromString('0.10'),
      'a.b': 1,
      none: null,
    };
    await things.write([{ kind: 'put', key: 'a', value, above: 0 }], CALL);
    const increment = async (field: string, by: number) =>
      (await things.write([{ kind: 'increment', key: 'a', field, by, above: 0 }], CALL))[0];
    await increment('long', 2 ** 40);
    await increment('money', 1);
    await increment('a.b', 2);
    for (const field of ['none', 'missing', '_id', '_lockstep']) {
      expect(await increment(field, 1)).toMatchObject({
        kind: 'failed',
        error: { code: 'LOCKSTEP_STORE_REFUSED' },
      });
    }
    const [row] = await things.read(['a'], PRIMARY);
    expect(row?.value['long']).toEqual(Long.fromNumber(2 ** 40 + 1));
    expect(String(row?.value['money'])).toBe('1.10');
    expect(Number(row?.value['a.b'])).toBe(3);
  });
});
