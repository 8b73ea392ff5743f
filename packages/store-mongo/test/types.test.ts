import { once } from 'node:events';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { createLockstep, jsonSerializer, type Serializer } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { msgpackSerializer } from '@lockstep/core/msgpack';
import {
  Binary,
  BSON,
  type BSONSerializeOptions,
  Code,
  DBRef,
  Decimal128,
  type Document,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from 'mongodb';
import { describe, expect, test } from 'vitest';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();

const id = new ObjectId('507f1f77bcf86cd799439011');

/** A value of each type, and of each that JavaScript could take for another. */
const TYPES: Document = {
  int: new Int32(5),
  double: new Double(5),
  long: Long.fromNumber(5),
  big: Long.fromString('9007199254740993'),
  largest: Long.MAX_VALUE,
  minus: new Double(-0),
  nan: new Double(Number.NaN),
  infinity: new Double(Number.POSITIVE_INFINITY),
  money: Decimal128.fromString('1.50'),
  huge: Decimal128.fromString('9.999E+6144'),
  notANumber: Decimal128.fromString('NaN'),
  text: '$$NOW \u0000 \ud83d\ude00',
  no: false,
  nothing: null,
  at: new Date(0),
  first: new Date(-8.64e15),
  stamp: new Timestamp({ t: 4_294_967_295, i: 7 }),
  id,
  uuid: new UUID('6c3f2e1a-0000-4000-8000-00000000000b'),
  bytes: new Binary(Buffer.from([0, 1, 255])),
  old: new Binary(Buffer.from([1, 2]), 2),
  md5: new Binary(Buffer.alloc(16, 7), 5),
  custom: new Binary(Buffer.from([3]), 128),
  empty: new Binary(Buffer.alloc(0)),
  pattern: /a.b/i,
  lowest: new MinKey(),
  highest: new MaxKey(),
  code: new Code('function () {}'),
  scoped: new Code('x', { x: new Int32(1) }),
  ref: new DBRef('others', id),
  refElsewhere: new DBRef('others', id, 'elsewhere', { more: new Int32(1) }),
  nested: [[[new Int32(1), [null, { deep: [new Double(2)] }]], []], {}],
  'dotted.name': { $set: '$x' },
};

/** Inserts what the driver reads and can't write: `undefined`, and times beyond JavaScript's. */
async function insertOld(db: string, collection: string): Promise<void> {
  const far = Long.MAX_VALUE;
  const document = { _id: 'a', gone: null, list: [null, 1], far, inner: { far, 'a.b': { gone: null } } };
  const bytes = Buffer.from(BSON.serialize({ insert: collection, documents: [document], $db: db }));
  const retype = (name: string, from: number, to: number): void => {
    const field = Buffer.from([from, ...Buffer.from(name), 0]);
    for (let at = bytes.indexOf(field); at >= 0; at = bytes.indexOf(field, at + 1)) bytes[at] = to;
  };
  retype('gone', 10, 6);
  retype('0', 10, 6);
  retype('far', 18, 9);
  const header = Buffer.alloc(21);
  header.writeInt32LE(header.length + bytes.length, 0);
  header.writeInt32LE(2013, 12);
  const { hostname, port } = new URL(server.service.url);
  const socket = connect(Number(port), hostname);
  socket.end(Buffer.concat([header, bytes]));
  await once(socket, 'data');
  socket.destroy();
}

const OPTIONS: readonly (readonly [string, BSONSerializeOptions])[] = [
  ['the defaults', {}],
  ['bigints', { useBigInt64: true }],
  ['Longs', { promoteLongs: false }],
  ['no promotion', { promoteValues: false }],
  ['buffers', { promoteBuffers: true }],
  ['bsonRegExp', { bsonRegExp: true }],
];

describe.each(OPTIONS)('with %s', (title, bson) => {
  async function open(name: string, serializer?: Serializer) {
    const store = await server.store();
    const binding = store.collection<Document, string>(name, { bson });
    await store.attach([binding]);
    const raw = (await server.client()).db(server.service.databaseName);
    const lockstep = createLockstep({ cache: memoryCache() });
    const collection = lockstep.collection({ name, store: binding, ...(serializer && { serializer }) });
    return { binding, collection, lockstep, rows: raw.collection<Document>(name, bson), raw };
  }

  test('each type is on a hit what the driver reads, and stays what it was through an update', async () => {
    const { collection, lockstep, raw, rows } = await open(`types ${title}`);
    await raw.collection(`types ${title}`).insertOne({ _id: 'a' as never, ...TYPES, n: 1 });
    const { _lockstep: _, ...driver } = (await rows.findOne({ _id: 'a' as never })) as Document;
    const missed = await collection.get('a');
    const hit = await collection.getVersioned('a', {});
    expect(hit.from).toBe('cache');
    expect(missed).toStrictEqual(driver);
    expect(hit.value).toStrictEqual(driver);
    const { value } = await collection.update('a', (row) => {
      expect(row).toStrictEqual(driver);
      return { ...row, n: 2 } as Document;
    });
    const after = { ...driver, n: typeof driver['n'] === 'number' ? 2 : new Int32(2) };
    expect(value).toStrictEqual(after);
    expect(await collection.get('a')).toStrictEqual(after);
    const typed = raw.collection(`types ${title}`, { promoteValues: false });
    const { _lockstep: __, ...stored } = (await typed.findOne({ _id: 'a' as never })) as Document;
    expect(stored).toStrictEqual({ _id: 'a', ...TYPES, n: new Int32(2) });
    await lockstep.close();
  });

  test('what the driver reads and would write as something else comes out of the cache as it read it', async () => {
    const { collection, lockstep, raw, rows } = await open(`old ${title}`);
    await insertOld(raw.databaseName, `old ${title}`);
    const driver = (await rows.findOne({ _id: 'a' as never })) as Document;
    expect(driver['gone']).toBeUndefined();
    expect(driver['far']).toStrictEqual(new Date(Number.NaN));
    expect(driver['list'][0]).toBeUndefined();
    expect(await collection.get('a')).toStrictEqual(driver);
    const hit = await collection.getVersioned('a');
    expect(hit.from).toBe('cache');
    expect(hit.value).toStrictEqual(driver);
    await collection.patch('a', { n: 1 });
    const { _lockstep: _, ...after } = (await rows.findOne({ _id: 'a' as never })) as Document;
    expect(after['far']).toStrictEqual(new Date(Number.NaN));
    expect((await collection.getVersioned('a')).value).toStrictEqual(after);
    await lockstep.close();
  });

  test.each([
    ['JSON', jsonSerializer()],
    ['MessagePack', msgpackSerializer()],
  ])('%s carries each type as the driver reads it, or refuses it by name', async (name, serializer) => {
    const { collection, lockstep, raw, rows } = await open(`${name} ${title}`, serializer);
    for (const [type, value] of Object.entries(TYPES)) {
      await raw.collection(`${name} ${title}`).insertOne({ _id: type as never, value });
      const { _lockstep: _, ...driver } = (await rows.findOne({ _id: type as never })) as Document;
      const read = () => collection.getVersioned(type, {}).catch((error: unknown) => error);
      const [missed, hit] = [await read(), await read()];
      for (const result of [missed, hit]) {
        if (result instanceof Error) {
          expect(result).toMatchObject({ code: 'LOCKSTEP_SERIALIZATION' });
          expect(result.message).toContain('value');
        } else {
          expect(result, type).toMatchObject({ value: driver });
          expect((result as { value: unknown }).value, type).toStrictEqual(driver);
        }
      }
    }
    await lockstep.close();
  });
});

test('a time that no date reaches is refused by name, rather than stored as 1970', async () => {
  const store = await server.store();
  const things = store.collection<Document, string>('dates');
  await store.attach([things]);
  const at = new Date(Number.NaN);
  const outcomes = await things.write(
    [
      { kind: 'put', key: 'a', value: { _id: 'a', list: [{ at }] }, above: 0 },
      { kind: 'put', key: 'b', value: { _id: 'b' }, above: 0 },
      { kind: 'patch', key: 'c', set: { at }, above: 0 },
    ],
    CALL,
  );
  const refused = (path: string) => ({
    kind: 'failed',
    error: { code: 'LOCKSTEP_STORE_REFUSED', message: expect.stringContaining(path) },
  });
  expect(outcomes).toMatchObject([refused('"list.0.at"'), { kind: 'written' }, refused('"at"')]);
});

test('options under which the driver gives no values are refused by name', async () => {
  const store = await server.store();
  for (const bson of [
    { raw: true },
    { fieldsAsRaw: { a: true } },
    { useBigInt64: true, promoteLongs: false },
  ]) {
    expect(() => store.collection('refused', { bson })).toThrow(/collection\("refused"\)\.bson\./);
  }
});

test('ids of another copy of the bson package are the ids that they are to the driver', async () => {
  const driver = createRequire(import.meta.url).resolve('mongodb');
  const own = createRequire(driver).resolve('bson');
  const other = (await import(own.replace('bson.cjs', 'bson.node.mjs'))) as typeof BSON;
  expect(other.ObjectId).not.toBe(ObjectId);
  const store = await server.store();
  const things = store.collection<Document, unknown>('copies');
  await store.attach([things]);
  const pairs: [unknown, unknown][] = [
    [new other.ObjectId(id.toHexString()), id],
    [other.Long.fromNumber(5), 5],
    [new other.Int32(5), 5],
    [other.Decimal128.fromString('1.5'), 1.5],
    [
      new other.UUID('6c3f2e1a-0000-4000-8000-00000000000b'),
      new UUID('6c3f2e1a-0000-4000-8000-00000000000b'),
    ],
    [
      { tenant: new other.ObjectId(id.toHexString()), n: 1 },
      { tenant: id, n: 1 },
    ],
    [new other.Timestamp({ t: 1, i: 2 }), new Timestamp({ t: 1, i: 2 })],
    [new other.MinKey(), new MinKey()],
  ];
  for (const [theirs, ours] of pairs) expect(things.keyOf(theirs)).toBe(things.keyOf(ours));
  const theirs = new other.ObjectId(id.toHexString());
  const key = things.keyOf(id);
  const value = { _id: theirs, price: other.Decimal128.fromString('1.50') };
  const [outcome] = await things.write([{ kind: 'put', key, value, above: 0 }], CALL);
  expect(outcome).toMatchObject({
    kind: 'written',
    value: { _id: id, price: Decimal128.fromString('1.50') },
  });
  const [row] = await things.read([things.keyOf(theirs)], PRIMARY);
  expect(row?.value['_id']).toStrictEqual(id);
  // What the driver would not send is named.
  const older = { _bsontype: 'ObjectId', toHexString: () => id.toHexString() };
  expect(() => things.keyOf(older)).toThrow(/another release of the bson package/);
});
