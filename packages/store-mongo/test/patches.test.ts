import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { Decimal128, type Document, Double, Int32, Long } from 'mongodb';
import { beforeAll, describe, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
let things: MongoCollection<Document, string>;
/** The rows with every number in its BSON type. */
let typed: MongoCollection<Document, string>;

beforeAll(async () => {
  const store = await server.store();
  things = store.collection<Document, string>('things');
  await store.attach([things]);
  await things.open();
  typed = (await server.store()).collection<Document, string>('things', { bson: { promoteValues: false } });
});

let rows = 0;

async function insert(value: Document): Promise<string> {
  rows += 1;
  const key = `row ${rows}`;
  await things.write([{ kind: 'put', key, value: { _id: key, ...value }, above: 0 }], CALL);
  return key;
}

async function patch(key: string, set: Document, unset: readonly string[] = []) {
  const [outcome] = await things.write([{ kind: 'patch', key, set, unset, above: 0 }], CALL);
  return outcome;
}

const stored = async (key: string) => (await typed.read([key], PRIMARY))[0]?.value;

describe('patch', () => {
  test('leaves every other property as the server holds it', async () => {
    const value = {
      long: Long.fromNumber(5),
      double: new Double(5),
      minus: new Double(-0),
      money: Decimal128.fromString('1.50'),
    };
    const key = await insert(value);
    expect(await patch(key, { n: 1, text: '$long' })).toMatchObject({ kind: 'written', value: { n: 1 } });
    expect(await stored(key)).toStrictEqual({ _id: key, ...value, n: new Int32(1), text: '$long' });
  });

  test.each([
    ['within a document', { a: { b: 1, c: 2 } }, 'a.b', { a: { b: '$new', c: 2 } }],
    ['deep', { a: { b: { c: { d: 1, e: 2 } } } }, 'a.b.c.d', { a: { b: { c: { d: '$new', e: 2 } } } }],
    ['where nothing is', {}, 'a.b.c', { a: { b: { c: '$new' } } }],
    ['where null is', { a: null }, 'a.b', { a: { b: '$new' } }],
    ['an element', { a: [1, 2, 3] }, 'a.1', { a: [1, '$new', 3] }],
    ['within an element', { a: [{ b: 1, c: 2 }, 3] }, 'a.0.b', { a: [{ b: '$new', c: 2 }, 3] }],
    ['a number that is a name', { a: { 0: 1 } }, 'a.0', { a: { 0: '$new' } }],
    ['a name that is the path', { 'a.b': 1, a: { b: 2 } }, 'a.b', { 'a.b': '$new', a: { b: 2 } }],
    ['a name with a $', { a: { $b: 1 } }, 'a.$b', { a: { $b: '$new' } }],
  ])('sets a path: %s', async (_, before, path, after) => {
    const key = await insert(before);
    expect(await patch(key, { [path]: '$new', n: 1 })).toMatchObject({
      kind: 'written',
      value: { _id: key, ...after, n: 1 },
    });
  });

  test.each([
    ['text', { a: 'x' }, 'a.b', 'string'],
    ['a number', { a: { b: 5 } }, 'a.b.c', 'int'],
    ['an array, by name', { a: [{ b: 1 }] }, 'a.b', 'array'],
    ['an element that is not there', { a: [1] }, 'a.1', 'array'],
  ])('refuses a path through %s, and changes nothing', async (_, before, path, type) => {
    const key = await insert(before);
    const outcome = await patch(key, { [path]: 1, n: 1 });
    expect(outcome).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED', key } });
    const message = outcome?.kind === 'failed' ? outcome.error.message : '';
    expect(message).toContain(`"${path}" leads nowhere`);
    expect(message).toContain(type);
    expect((await things.read([key], PRIMARY))[0]?.value).toEqual({ _id: key, ...before });
  });

  test('takes nobody’s key and version away', async () => {
    const key = await insert({ n: 1 });
    for (const set of [{ _id: 'other' }, { '_id.x': 1 }, { '_lockstep.x': 1 }]) {
      expect(await patch(key, set)).toMatchObject({
        kind: 'failed',
        error: { code: 'LOCKSTEP_STORE_REFUSED' },
      });
    }
    const outcome = await patch(key, { _id: key, _lockstep: 7, n: 2 }, ['_id', '_lockstep']);
    expect(outcome).toMatchObject({ kind: 'written', value: { _id: key, n: 2 } });
    expect(outcome?.kind === 'written' && outcome.version).toBeGreaterThan(1_000_000);
  });

  test('unsets properties by their own names', async () => {
    const key = await insert({ 'a.b': 1, a: { b: 2 }, $c: 3, d: 4 });
    expect(await patch(key, { d: 5 }, ['a.b', '$c', 'none'])).toMatchObject({ kind: 'written' });
    expect((await things.read([key], PRIMARY))[0]?.value).toEqual({ _id: key, a: { b: 2 }, d: 5 });
  });
});

describe('update', () => {
  test('sends what changed: the rest keeps its BSON type, and what others add', async () => {
    await using lockstep = createLockstep({ cache: memoryCache() });
    const own = (await server.store()).collection<Document, string>('things');
    const collection = lockstep.collection({ name: 'things', store: own });
    const untouched = { long: Long.fromNumber(5), double: new Double(5), nested: { double: new Double(1) } };
    const key = await insert({ ...untouched, n: 1, gone: 1 });
    const { value } = await collection.update(key, (row) => {
      const { gone: _, ...rest } = row as Document;
      return { ...rest, n: 2 };
    });
    expect(value).toEqual({ _id: key, long: 5, double: 5, nested: { double: 1 }, n: 2 });
    expect(await stored(key)).toStrictEqual({ _id: key, ...untouched, n: new Int32(2) });
    await collection.update(key, (row) => ({ ...row, order: { a: 1, b: 2 } }) as Document);
    await collection.update(key, (row) => ({ ...row, order: { b: 2, a: 1 } }) as Document);
    expect(Object.keys((await stored(key))?.['order'] as object)).toEqual(['b', 'a']);
    // A new property is what it is called, and no path.
    await collection.update(key, (row) => ({ ...row, 'new.name': 1 }) as Document);
    await collection.update(key, (row) => ({ ...row, 'new.name': 2 }) as Document);
    expect(await stored(key)).toMatchObject({ 'new.name': new Int32(2) });
    expect(await collection.get(key)).toEqual({ ...value, order: { a: 1, b: 2 }, 'new.name': 2 });
  });

  test('merges patches of one row that wait, in and outside of transactions', async () => {
    await using lockstep = createLockstep({ cache: memoryCache() });
    const own = (await server.store()).collection<Document, string>('things');
    const collection = lockstep.collection({ name: 'things', store: own });
    const key = await insert({ a: { x: 0, y: 0 }, b: 0 });
    await Promise.all([
      collection.patch(key, { 'a.x': 1 }),
      collection.patch(key, { b: 1 }),
      collection.patch(key, { 'a.y': 2 }),
      collection.patch(key, { 'a.x': 3 }),
    ]);
    expect(await collection.get(key)).toEqual({ _id: key, a: { x: 3, y: 2 }, b: 1 });
    await lockstep.transaction(async (tx) => {
      await collection.patch(key, { 'a.z': 4 }, { tx });
      await collection.patch(key, { b: 5 }, { tx });
    });
    expect(await collection.get(key)).toEqual({ _id: key, a: { x: 3, y: 2, z: 4 }, b: 5 });
    await expect(collection.patch('none', { b: 1 })).rejects.toMatchObject({ key: 'none' });
  });
});
