import { type StoreOutcome, StoreRefusedError } from '@lockstep/core';
import { type Collection, Decimal128, type Document, Long, MinKey } from 'mongodb';
import { beforeAll, expect, test } from 'vitest';
import type { MongoCollection } from '../src/collection.js';
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
])('a row with %s for a version gets one of the clock, alone and in a batch', async (_, garbage) => {
  for (const batch of BATCHES) {
    await put({ g: 1, other: 1 });
    await rows.updateOne({ _id: 'g' }, { $set: { _lockstep: garbage } });
    const before = Date.now() * 1_000;
    const [version = 0] = versions(await put(batch));
    expect(version).toBeGreaterThanOrEqual(before);
    expect(version).toBeLessThan(before + 60_000_000);
    expect(version % 2).toBe(0);
    expect(await rows.findOne({ _id: 'g', _lockstep: { $type: 'long' } } as never)).not.toBeNull();
  }
});

test('a row with a MinKey for a version is refused, and the others of its batch are written', async () => {
  await put({ least: 1, other: 1 });
  await rows.updateOne({ _id: 'least' }, { $set: { _lockstep: new MinKey() } });
  const [alone] = await put({ least: 2 });
  expect(alone).toMatchObject({ kind: 'failed', error: expect.any(StoreRefusedError) });
  const [refused, other] = await put({ least: 2, other: 2 });
  expect(refused).toMatchObject({ kind: 'failed', error: expect.any(StoreRefusedError) });
  expect(other).toMatchObject({ kind: 'written', value: { n: 2 } });
});

test('a version that is ahead of the clock stays below the next: a buffered one, a put one, what the cache had (G3)', async () => {
  const clock = Date.now() * 1_000;
  for (const batch of BATCHES) {
    for (const ahead of [clock + 60_000_001, clock + 60_000_002, clock + 60_000_004]) {
      await put({ g: 1, other: 1 });
      await rows.updateOne({ _id: 'g' }, { $set: { _lockstep: Long.fromNumber(ahead) } });
      const [version = 0] = versions(await put(batch));
      expect(version).toBe(ahead + 2 - (ahead % 2));
    }
  }
  const above = clock + 120_000_001;
  expect(versions(await put({ fresh: 1, other: 4 }, above))).toEqual([above + 1, above + 1]);
  const [fresh] = await things.read(['fresh'], PRIMARY);
  expect(fresh?.version).toBe(above + 1);
});
