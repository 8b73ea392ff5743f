import { createLockstep, StoreBusyError, type StoreFlush, type StoreOutcome } from '@lockstep/core';
import { memoryCache, memoryQueue } from '@lockstep/core/memory';
import type { Document } from 'mongodb';
import { afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { MongoCollection } from '../src/rows/collection.js';
import type { MongoStore } from '../src/store.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

/** A flush that waits for a held row as long as a store may take would end the test. */
const LONG = { timeoutMs: 100_000 } as const;

const server = testServer();
let store: MongoStore;
let things: MongoCollection<Thing, string>;
let raw: ReturnType<Awaited<ReturnType<typeof server.client>>['db']>;
/** The updates outside of transactions that were sent, as text. */
const sent: string[] = [];
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  const client = await server.client({ monitorCommands: true });
  client.on('commandStarted', ({ command, commandName }) => {
    if (commandName === 'update') sent.push(JSON.stringify(command['updates']));
  });
  store = await server.store({ client });
  things = store.collection<Thing>('things');
  await store.attach([things]);
  await things.open();
  raw = (await server.client()).db(server.service.databaseName);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
});

const rows = () => raw.collection<Thing>('things');

/** A transaction of another program that holds the row of a key. */
async function hold(key: string) {
  const session = raw.client.startSession();
  session.startTransaction();
  await rows().updateOne({ _id: key }, { $inc: { n: 1 } }, { session, upsert: true });
  return {
    async release() {
      await session.abortTransaction();
      await session.endSession();
    },
  };
}

const later = Date.now() * 1_000 + 60_000_000;

function flushes(keys: readonly string[], gone: boolean): StoreFlush<Thing>[] {
  return keys.map((key, at) => ({
    kind: 'flush',
    key,
    value: gone ? null : { _id: key, n: 100 + at },
    version: later + at,
  }));
}

test.each([
  ['onto rows', true, false],
  ['of new rows', false, false],
  ['that delete', true, true],
] as const)('flushes %s give up the row that others hold, and that row only', async (title, exist, gone) => {
  const keys = Array.from({ length: 9 }, (_, at) => `${title} ${at}`);
  const [, , , held = ''] = keys;
  if (exist) await rows().insertMany(keys.map((key) => ({ _id: key, n: 0 })));
  const holder = await hold(held);
  const commands = flushes(keys, gone);
  const outcomes = await things.write(commands, LONG);
  const busy = (outcome: StoreOutcome<Thing>): boolean => outcome.kind === 'failed';
  expect(keys.filter((_, at) => busy(outcomes[at] as StoreOutcome<Thing>))).toEqual([held]);
  expect(outcomes[3]).toMatchObject({ error: { code: 'LOCKSTEP_STORE_BUSY', outcome: 'not-committed' } });
  expect(outcomes[3]?.kind === 'failed' && outcomes[3].error).toBeInstanceOf(StoreBusyError);
  const [first] = await things.read(keys.slice(0, 1), PRIMARY);
  expect(first?.version).toBe(gone ? undefined : later);
  // One alone, too.
  const [alone] = await things.write(commands.slice(3, 4), LONG);
  expect(alone).toMatchObject({ kind: 'failed', error: { code: 'LOCKSTEP_STORE_BUSY' } });
  await holder.release();
  const [again] = await things.write(commands.slice(3, 4), CALL);
  expect(again?.kind).toBe('written');
});

test('a transaction, and the flush of what it holds and of what it reads, do not wait for each other', async () => {
  const cache = memoryCache();
  const join = () => {
    const lockstep = createLockstep({ cache });
    opened.push(lockstep);
    const options = { strategy: 'write-behind', storeTimeoutMs: LONG.timeoutMs } as const;
    return { lockstep, things: lockstep.collection({ name: 'things', store: things, ...options }) };
  };
  const [one, other] = [join(), join()];
  await rows().insertMany([
    { _id: 'held', n: 0 },
    { _id: 'read', n: 0 },
  ]);
  await one.things.getMany(['held', 'read']);
  const found = await one.lockstep.transaction(
    async (tx) => {
      await one.things.put('held', { _id: 'held', n: 1 }, { tx });
      sent.length = 0;
      const [held, read] = await Promise.all([
        other.things.put('held', { _id: 'held', n: 2 }),
        other.things.put('read', { _id: 'read', n: 2 }),
      ]);
      expect([held.store, read.store]).toEqual(['buffered', 'buffered']);
      await vi.waitFor(() => expect(sent.join()).toContain('"held"'), { timeout: 20_000 });
      // What is flushed beside the held row arrives while it is held, whoever waits for it.
      await vi.waitFor(async () => expect((await rows().findOne({ _id: 'read' }))?.n).toBe(2), {
        timeout: 20_000,
      });
      await other.things.put('read', { _id: 'read', n: 3 });
      const row = await one.things.get('read', { tx });
      expect((await other.things.increment('read', 'n', 1)).store).toBe('committed');
      return row;
    },
    { timeoutMs: LONG.timeoutMs },
  );
  // It has run again, once, and read the snapshot of that run.
  expect(found?.n).toBe(3);
  expect((await rows().findOne({ _id: 'read' }))?.n).toBe(4);
  await other.lockstep.drain();
  expect((await rows().findOne({ _id: 'held' }))?.n).toBe((await one.things.get('held'))?.n);
}, 60_000);

test('a transaction sees what was buffered before it began, flushed by whomever after its first statement', async () => {
  const own = (await server.store()).collection<Thing>('things');
  const cache = memoryCache();
  // A queue that nobody serves: what is buffered stays until somebody asks for it.
  const lockstep = createLockstep({ cache, queue: memoryQueue() });
  const other = createLockstep({ cache, queue: memoryQueue() });
  opened.push(lockstep, other);
  const options = { name: 'things', store: own, strategy: 'write-behind' } as const;
  const [mine, theirs] = [lockstep.collection(options), other.collection(options)];
  const keys = ['first', 'put', 'deleted', 'flushed', 'updated', 'later'];
  await rows().insertMany(keys.map((_id) => ({ _id, n: 0 })));
  await mine.getMany(keys);
  for (const key of ['put', 'flushed', 'updated']) {
    expect((await theirs.put(key, { _id: key, n: 1 })).store).toBe('buffered');
  }
  expect((await theirs.delete('deleted')).store).toBe('buffered');
  let runs = 0;
  const seen = await lockstep.transaction(async (tx) => {
    runs += 1;
    await mine.get('first', { tx });
    // One by somebody else, and the others by the reads below.
    if (runs === 1) await theirs.increment('flushed', 'n', 0);
    // A row that is flushed in each run ends the first only.
    await rows().findOneAndUpdate({ _id: 'later' }, { $inc: { n: 1, _lockstep: 2 } } as never);
    const later = await mine.get('later', { tx });
    const rest = await mine.getMany(['put', 'deleted', 'flushed'], { tx });
    return { later: later?.n, rest: rest.map((row) => row?.n) };
  });
  expect(seen.rest).toEqual([1, undefined, 1]);
  expect(seen.later).toBe(runs - 1);
  expect(runs).toBeLessThanOrEqual(keys.length);
  await lockstep.transaction(async (tx) => {
    await mine.get('first', { tx });
    await mine.update('updated', (row) => ({ _id: 'updated', n: (row?.n ?? 0) + 10 }), { tx });
  });
  expect((await rows().findOne({ _id: 'updated' }))?.n).toBe(11);
});
