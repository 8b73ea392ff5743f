import { type StoreFlush, StoreRefusedError } from '@lockstep/core';
import { Collection, type Document } from 'mongodb';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

/** What one batch of the engine holds. */
const BATCH = 256;

const server = testServer();
let things: MongoCollection<Document, string>;
const sent: string[] = [];

beforeAll(async () => {
  const client = await server.client({ monitorCommands: true });
  client.on('commandStarted', ({ command, commandName }) => {
    const touched: unknown = command[commandName];
    if (touched === 'things' || touched === 'lockstep_tombstones') sent.push(`${commandName} ${touched}`);
  });
  const store = await server.store({ client });
  await client
    .db(server.service.databaseName)
    .createCollection('things', { validator: { stock: { $gte: 0 } } });
  things = store.collection<Document, string>('things');
  await store.attach([things]);
  await things.open();
});

afterEach(() => {
  vi.restoreAllMocks();
});

let last = 0;

/** Flushes of keys that nobody has used. */
function flushes(value: (n: number) => Document | null): StoreFlush<Document>[] {
  last += 1;
  const base = Date.now() * 1_000 + 1_000_001;
  return Array.from({ length: BATCH }, (_, n) => {
    const key = `k${last}-${n}`;
    const row = value(n);
    return {
      kind: 'flush',
      key,
      version: base + 2 * n,
      value: row && { _id: key, ...row },
    };
  });
}

async function put(keys: readonly string[]): Promise<void> {
  await things.write(
    keys.map((key) => ({ kind: 'put' as const, key, value: { _id: key, stock: 0 }, above: 0 })),
    CALL,
  );
  sent.length = 0;
}

async function rowsOf(commands: readonly StoreFlush<Document>[]): Promise<(number | undefined)[]> {
  const rows = await things.read(
    commands.map(({ key }) => key),
    PRIMARY,
  );
  return rows.map((row) => row?.version);
}

describe('256 flushes of one call', () => {
  test('onto rows that exist travel in one bulk write', async () => {
    const commands = flushes((stock) => ({ stock }));
    await put(commands.map(({ key }) => key));
    const outcomes = await things.write(commands, CALL);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['written']));
    expect(sent).toEqual(['update things', 'find things']);
    expect(await rowsOf(commands)).toEqual(commands.map(({ version }) => version));
  });

  test('of new rows travel in one transaction', async () => {
    const commands = flushes((stock) => ({ stock }));
    await things.read(['warm'], PRIMARY);
    sent.length = 0;
    const outcomes = await things.write(commands, CALL);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['written']));
    expect(sent.length).toBeLessThan(10);
    expect(await rowsOf(commands)).toEqual(commands.map(({ version }) => version));
  });

  test('that delete travel in one transaction, row or no row, and leave their tombstones (G3)', async () => {
    const commands = flushes(() => null);
    await put(commands.filter((_, n) => n % 2 === 0).map(({ key }) => key));
    const outcomes = await things.write(commands, CALL);
    expect(outcomes).toEqual(commands.map(({ version }) => ({ kind: 'written', value: null, version })));
    expect(sent.length).toBeLessThan(10);
    expect(await rowsOf(commands)).toEqual(commands.map(() => undefined));
    const late = commands.map((each) => ({
      ...each,
      version: each.version - 2,
      value: { _id: each.key, stock: 1 },
    }));
    expect(await things.write(late, CALL)).toEqual(
      commands.map(({ version }) => ({ kind: 'superseded', version })),
    );
    expect(await rowsOf(commands)).toEqual(commands.map(() => undefined));
  });

  test('of which some have keys that no id has: those fail alone, deletions, too', async () => {
    const commands = flushes((stock) => ({ stock })).slice(0, 8);
    const [first, ...others] = commands;
    if (first === undefined) throw new Error('there is no flush');
    const { version } = first;
    const forged = ['~{"$oid":', '~{"a": 1}', '~007', '~"plain"'].flatMap((key, n) => [
      { kind: 'flush' as const, key, version: version + 100 + 4 * n, value: { stock: 1 } },
      { kind: 'flush' as const, key, version: version + 102 + 4 * n, value: null },
    ]);
    for (const one of forged) {
      const outcomes = await things.write([first, one, ...others], CALL);
      expect(outcomes[1], one.key).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_INVALID_ID' } });
      expect(outcomes.filter(({ kind }) => kind === 'failed')).toHaveLength(1);
    }
    expect(await rowsOf(commands)).toEqual(commands.map((one) => one.version));
  });

  test('of which the database refuses one: the others commit, in a few transactions (G1)', async () => {
    const bad = 100;
    const commands = flushes((n) => ({ stock: n === bad ? -1 : n }));
    sent.length = 0;
    const outcomes = await things.write(commands, CALL);
    const failed = outcomes.flatMap((outcome, n) => (outcome.kind === 'failed' ? [{ n, outcome }] : []));
    expect(failed.map(({ n }) => n)).toEqual([bad]);
    expect(failed[0]?.outcome.error).toBeInstanceOf(StoreRefusedError);
    expect(outcomes.filter(({ kind }) => kind === 'written')).toHaveLength(BATCH - 1);
    expect(sent.length).toBeLessThan(120);
    expect(await rowsOf(commands)).toEqual(
      commands.map(({ version }, n) => (n === bad ? undefined : version)),
    );
  });
});

test.each([1, 3])(
  'a flush that finds no row is not lost to one that is inserted meanwhile, below it (G9): %i in the batch',
  async (size) => {
    const commands = flushes((stock) => ({ stock })).slice(0, size);
    const [raced, ...others] = commands.map(({ key }) => key);
    if (raced === undefined) throw new Error('there is no flush');
    if (others.length > 0) await put(others);
    const bulkWrite = Collection.prototype.bulkWrite;
    vi.spyOn(Collection.prototype, 'bulkWrite').mockImplementationOnce(async function (
      this: Collection,
      ...args
    ) {
      const result = await bulkWrite.apply(this, args);
      await put([raced]);
      return result;
    });
    const outcomes = await things.write(commands, CALL);
    expect(outcomes).toEqual(commands.map(({ value, version }) => ({ kind: 'written', value, version })));
    expect(await rowsOf(commands)).toEqual(commands.map(({ version }) => version));
  },
);
