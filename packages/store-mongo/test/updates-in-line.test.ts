import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { Decimal128, type Document, Int32, Long, ObjectId } from 'mongodb';
import { beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { CALL, testServer } from './support/server.js';

const server = testServer();
let things: MongoCollection<Document, string>;

beforeAll(async () => {
  const store = await server.store();
  things = store.collection<Document, string>('things');
  await store.attach([things]);
  await things.open();
});

test.each<[unknown, boolean]>([
  [5, true],
  [0.1, true],
  ['$text', true],
  [null, true],
  [new Date(5), true],
  [{ a: [1, { b: null }] }, true],
  [Decimal128.fromString('1.50'), true],
  [new ObjectId(), true],
  [5n, false],
  [new Int32(5), false],
  [Long.fromNumber(5), false],
  [{ gone: undefined }, false],
  [new Map([['a', 1]]), false],
  [Number.NaN, true],
  [-0, true],
])('%o is said to come back as it was sent: %s', async (value, expected) => {
  expect(things.returnsAsSent?.({ value })).toBe(expected);
  await things.write([{ kind: 'put', key: 'sent', value: { _id: 'sent' }, above: 0 }], CALL);
  const [outcome] = await things.write([{ kind: 'patch', key: 'sent', set: { value }, above: 0 }], CALL);
  if (expected) expect(outcome).toMatchObject({ kind: 'written', value: { _id: 'sent', value } });
});

test('nor does what is set for the version', () => {
  expect(things.returnsAsSent?.({ [VERSION]: 1 })).toBe(false);
});

const VERSION = '_lockstep';

test('functions of one row travel as one statement, and each caller has its own', async () => {
  let statements = 0;
  const store: MongoCollection<Document, string> = Object.defineProperties(
    { ...things },
    { ...Object.getOwnPropertyDescriptors(things) },
  );
  const lockstep = createLockstep({ cache: memoryCache() });
  const rows = lockstep.collection<Document>({
    name: 'things',
    store: {
      ...store,
      write: (commands, call) => {
        statements += 1;
        return things.write(commands, call);
      },
    },
  });
  await rows.put('stock', { _id: 'stock', left: 10, tags: [] });
  statements = 0;
  const calls = Array.from({ length: 6 }, (_, i) =>
    rows.update('stock', (row) => row && { ...row, left: row['left'] - 1, tags: [...row['tags'], i] }),
  );
  const results = await Promise.all(calls);
  expect(results.map(({ value }) => value?.['left'])).toEqual([9, 8, 7, 6, 5, 4]);
  expect(results.map(({ coalesced }) => coalesced)).toEqual([true, true, true, true, true, false]);
  expect(results[5]?.value).toEqual({ _id: 'stock', left: 4, tags: [0, 1, 2, 3, 4, 5] });
  expect(statements).toBe(1);
  for (const { value, version } of results.slice(0, 5)) {
    const late = rows.put('stock', value as Document, { ifVersion: version });
    await expect(late).rejects.toMatchObject({ code: 'LOCKSTEP_CONFLICT' });
  }
  await lockstep.close();
});
