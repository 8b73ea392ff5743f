import { type StoreOutcome, StoreRefusedError } from '@lockstep/core';
import { type Collection, Decimal128, type Document, Long, MinKey } from 'mongodb';
import { beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
let things: MongoCollection<Document, string>;
let rows: Collection<{ _id: string }>;

beforeAll(async () => {
  const client = await server.client();
  const store = await server.store({ client });
  things = store.collection<Document, string>('things');
  await store.attach([things]);
  await things.open();
  rows = client.db(server.service.databaseName).collection('things');
});

function put(batch: Readonly<Record<string, number>>, above = 0): Promise<StoreOutcome<Document>[]> {
  const commands = Object.entries(batch).map(([key, n]) => {
    return { kind: 'put' as const, key, value: { _id: key, n }, above };
  });
  return things.write(commands, CALL) as Promise<StoreOutcome<Document>[]>;
}

function versions(outcomes: readonly StoreOutcome<Document>[]): number[] {
  return outcomes.map((outcome) => (outcome.kind === 'written' ? outcome.version : 0));
}

const DAY_MS = 86_400_000;
const BATCHES = [{ g: 2 }, { g: 3, other: 3 }];

test.each([
  ['text', 'x'],
  ['a fraction', 1.5],
  ['no number', Number.NaN],
  ['a decimal', Decimal128.fromString('5.5')],
  ['a negative number', -3],
  ['more than a version can be', Long.MAX_VALUE],
  ['infinity', Number.POSITIVE_INFINITY],
  ['a truth', true],
  ['a date', new Date()],
  ['a list', [1]],
  ['null', null],
  ['the least key', new MinKey()],
  ['two days ahead', Long.fromNumber((Date.now() + 2 * DAY_MS) * 1_000)],
  ['the largest safe integer, as a double', Number.MAX_SAFE_INTEGER],
])('a row with %s for a version gets one of the clock, alone and in a batch', async (_, garbage) => {
  for (const batch of BATCHES) {
    await put({ g: 1, other: 1 });
    await rows.updateOne({ _id: 'g' }, { $set: { _lockstep: garbage } });
    const before = Date.now() * 1_000;
    // Read before it is written: the same, and the others of the batch are not concerned.
    const [read, other] = await things.read(['g', 'other'], PRIMARY);
    expect(read?.value['n']).toBe(1);
    expect(read?.version).toBeGreaterThanOrEqual(before);
    expect(read?.version).toBeLessThan(before + 60_000_000);
    expect(other?.version).toBeGreaterThan(0);
    await rows.updateOne({ _id: 'g' }, { $set: { _lockstep: garbage } });
    const [version = 0] = versions(await put(batch));
    expect(version).toBeGreaterThanOrEqual(before);
    expect(version).toBeLessThan(before + 60_000_000);
    expect(version % 2).toBe(0);
    expect(await rows.findOne({ _id: 'g', _lockstep: { $type: 'long' } } as never)).not.toBeNull();
  }
});

test('a version that is ahead of the clock stays below the next: a buffered one, a put one, what the cache had (G3)', async () => {
  const clock = Date.now() * 1_000;
  for (const batch of BATCHES) {
    for (const ahead of [clock + 60_000_001, clock + 60_000_002, clock + 60_000_004]) {
      await put({ g: 1, other: 1 });
      await rows.updateOne({ _id: 'g' }, { $set: { _lockstep: Long.fromNumber(ahead) } });
      const [version = 0] = versions(await put(batch));
      expect(version).toBe(ahead + 2 + (ahead % 2));
    }
  }
  const above = clock + 120_000_001;
  expect(versions(await put({ fresh: 1, other: 4 }, above))).toEqual([above + 3, above + 3]);
  const [fresh] = await things.read(['fresh'], PRIMARY);
  expect(fresh?.version).toBe(above + 3);
});

const FUTURE = (Date.now() + 2 * DAY_MS) * 1_000;

test('a bound under the new version that no clock can have made is not believed: put, many, increment, delete, restamp', async () => {
  const most = (Date.now() + DAY_MS) * 1_000;
  for (const batch of [{ poisoned: 1 }, { poisoned: 2 }, { poisoned: 3, other: 3 }, { 'poisoned new': 1 }]) {
    for (const version of versions(await put(batch, FUTURE))) expect(version).toBeLessThan(most);
  }
  const [row] = await things.read(['poisoned'], PRIMARY);
  const outcomes = await Promise.all(
    (
      [
        { kind: 'increment', key: 'poisoned', field: 'n', by: 1, above: FUTURE },
        {
          kind: 'restamp',
          key: 'other',
          above: FUTURE,
          ifVersion: versions(await put({ other: 4 }))[0] ?? 0,
        },
        { kind: 'delete', key: 'poisoned new', above: FUTURE },
      ] as const
    ).map(async (command) => (await things.write([command], CALL))[0]),
  );
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ kind: 'written' });
    if (outcome?.kind === 'written') expect(outcome.version).toBeLessThan(most);
  }
  expect((await things.read(['poisoned'], PRIMARY))[0]?.version).toBeGreaterThan(row?.version ?? 0);
});

test('a buffered write from the future is refused alone; one of now goes past a row or a tombstone from there (G9)', async () => {
  await put({ flushed: 1, refused: 1, buried: 1 });
  await things.write([{ kind: 'delete', key: 'buried', above: 0 }], CALL);
  await rows.updateOne({ _id: 'flushed' }, { $set: { _lockstep: Long.fromNumber(FUTURE) } });
  const client = await server.client();
  await client
    .db(server.service.databaseName)
    .collection<{ _id: { s: string; k: string } }>('lockstep_tombstones')
    .updateOne({ '_id.k': 'buried' }, { $set: { v: Long.fromNumber(FUTURE) } });
  const version = (Date.now() + 60_000) * 1_000 + 1;
  const flush = (key: string, at: number) =>
    ({ kind: 'flush', key, value: { _id: key, n: 2 }, version: at }) as const;
  const [flushed, refused, buried] = await things.write(
    [flush('flushed', version), flush('refused', FUTURE + 1), flush('buried', version)],
    CALL,
  );
  expect(flushed).toMatchObject({ kind: 'written', version });
  expect(refused).toMatchObject({ kind: 'failed', error: expect.any(StoreRefusedError) });
  expect(buried).toMatchObject({ kind: 'written', version });
});

test('a row that refuses to be stamped concerns its own readers only', async () => {
  const client = await server.client();
  const db = client.db(server.service.databaseName);
  await put({ whole: 1 });
  await rows.insertOne({ _id: 'refuses', odd: true } as never);
  await db.command({ collMod: 'things', validator: { odd: { $exists: false } }, validationLevel: 'strict' });
  try {
    const [whole, refuses] = await things.read(['whole', 'refuses'], PRIMARY);
    expect(whole?.version).toBeGreaterThan(0);
    expect(refuses).toEqual({ key: 'refuses', value: { _id: 'refuses', odd: true }, version: 0 });
  } finally {
    await db.command({ collMod: 'things', validator: {} });
  }
});

test('repair gives every such row a version of the clock at once, and removes such tombstones', async () => {
  const client = await server.client();
  const store = await server.store({ client });
  const own = store.collection<Document, string>('repaired');
  await store.attach([own]);
  await own.open();
  const keys = ['text', 'future', 'whole'];
  const batch = [...keys, 'gone'].map((key) => {
    return { kind: 'put' as const, key, value: { _id: key }, above: 0 };
  });
  const [, , whole] = versions((await own.write(batch, CALL)) as StoreOutcome<Document>[]);
  await own.write([{ kind: 'delete', key: 'gone', above: 0 }], CALL);
  const db = client.db(server.service.databaseName);
  const raw = db.collection<{ _id: string }>('repaired');
  await raw.updateOne({ _id: 'text' }, { $set: { _lockstep: 'x' } });
  await raw.updateOne({ _id: 'future' }, { $set: { _lockstep: Long.fromNumber(FUTURE) } });
  await db
    .collection<{ _id: { s: string; k: string } }>('lockstep_tombstones')
    .updateOne({ '_id.s': own.source, '_id.k': 'gone' }, { $set: { v: Long.fromNumber(FUTURE) } });
  const [report] = await store.repair(own);
  expect(report).toMatchObject({ source: own.source, rows: 2, tombstones: 1 });
  expect(report?.keys.toSorted()).toEqual(['future', 'text']);
  const most = (Date.now() + DAY_MS) * 1_000;
  const stored = await raw
    .find({ _lockstep: { $type: 'long', $lt: Long.fromNumber(most) } } as never)
    .toArray();
  expect(stored).toHaveLength(keys.length);
  expect((await own.read(['whole'], PRIMARY))[0]?.version).toBe(whole);
  expect(await store.repair([own])).toMatchObject([{ rows: 0, tombstones: 0, keys: [] }]);
});
