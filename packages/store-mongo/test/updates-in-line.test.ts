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
  await lockstep.drain();
});

test('callers of several processes all get on, and each unit is sold once', async () => {
  const cache = memoryCache();
  const processes = Array.from({ length: 2 }, () => {
    const lockstep = createLockstep({ cache });
    return { lockstep, rows: lockstep.collection<Document>({ name: 'things', store: things }) };
  });
  await processes[0]?.rows.put('sale', { _id: 'sale', left: 50 });
  const sold = (row: Document | undefined): Document => {
    if (row?.['left'] === 0) throw new Error('sold out');
    return { ...row, left: row?.['left'] - 1 } as Document;
  };
  const calls = Array.from({ length: 60 }, (_, i) => processes[i % 2]?.rows.update('sale', sold));
  const results = await Promise.allSettled(calls);
  const got = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value?.value?.['left']] : []));
  expect(got.toSorted((a, b) => b - a)).toEqual(Array.from({ length: 50 }, (_, i) => 49 - i));
  const failed = results.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
  expect(failed).toEqual(Array(10).fill('Error: sold out'));
  expect(await processes[1]?.rows.get('sale', { fresh: true })).toEqual({ _id: 'sale', left: 0 });
  for (const { lockstep } of processes) await lockstep.drain();
});

test('a row that is held for a change is changed by nobody else', async () => {
  const lockstep = createLockstep({ cache: memoryCache() });
  const rows = lockstep.collection<Document>({ name: 'things', store: things });
  await rows.put('held', { _id: 'held', n: 1 });
  const { version } = await rows.getVersioned('held');
  await things.write([{ kind: 'put', key: 'held', value: { _id: 'held', n: 5 }, above: 0 }], CALL);
  let foreign: Promise<unknown> | undefined;
  const seen: unknown[] = [];
  const result = await rows.update('held', (row) => {
    seen.push(row?.['n']);
    foreign ??=
      seen.length === 2
        ? things.write([{ kind: 'put', key: 'held', value: { _id: 'held', n: 9 }, above: 0 }], CALL)
        : undefined;
    return { ...row, n: row?.['n'] + 1 } as Document;
  });
  expect(result).toMatchObject({ value: { n: 6 }, cache: 'updated', store: 'committed' });
  expect(result.version).toBeGreaterThan(version);
  expect(seen).toEqual([1, 5]);
  await foreign;
  expect(await rows.get('held', { fresh: true })).toEqual({ _id: 'held', n: 9 });
  await lockstep.drain();
});
