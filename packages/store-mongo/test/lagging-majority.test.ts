import type { StoreTransaction } from '@lockstep/core';
import { type ClientSession, type Document, Long } from 'mongodb';
import { expect, test } from 'vitest';
import { until } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

// No election: the primary must stay what it is while the others do not answer.
const server = testServer({ members: 3, electionTimeoutMillis: 10_000 });

const put = (key: string, n: number) => ({ kind: 'put', key, value: { _id: key, n }, above: 0 }) as const;

test.each([
  ['put', (key: string) => put(key, 1)],
  ['increment', (key: string) => ({ kind: 'increment', key, field: 'n', by: 1, above: 0 }) as const],
])(
  'own statements get a version of their own right after %s that is not majority-committed yet (G2, G3)',
  async (what, command) => {
    const client = await server.client();
    const store = await server.store({ client });
    const things = store.collection<Thing>('things');
    await store.attach([things]);
    const rows = client.db(server.service.databaseName).collection<Thing>('things');
    const key = `before ${what}`;
    await things.write([put(key, 0)], CALL);
    const primary = await server.service.primary();
    const others = server.service.members.filter((member) => member !== primary);
    for (const member of others) member.freeze();
    const first = things.write([command(key)], CALL);
    const local = { readConcern: { level: 'local' } } as const;
    await until(async () => (await rows.findOne({ _id: key }, local))?.n === 1 || undefined);
    const second = store.transactions.transaction(async (tx: StoreTransaction) => {
      await rows.updateOne({ _id: key }, { $inc: { n: 10 } }, { session: tx.client as ClientSession });
      const [row] = await things.read([key], { ...PRIMARY, tx });
      for (const member of others) member.thaw();
      return row;
    }, CALL);
    const [[one], two] = await Promise.all([first, second]);
    if (one?.kind !== 'written' || two === undefined) throw new Error('not written');
    expect(two.value.n).toBe(11);
    expect(two.version).toBeGreaterThan(one.version);
    expect((await things.read([key], PRIMARY))[0]).toEqual(two);
    const [late] = await things.write([{ ...put(key, 99), ifVersion: one.version }], CALL);
    expect(late).toEqual({ kind: 'conflict', version: two.version });
  },
);

test('a flush waits for the majority as long as its call may take, however it is sent', async () => {
  const client = await server.client({ monitorCommands: true });
  const store = await server.store({ client });
  const things = store.collection<Thing>('things');
  await store.attach([things]);
  const [first] = await things.write([put('flushed', 0)], CALL);
  if (first?.kind !== 'written') throw new Error('not written');
  const primary = await server.service.primary();
  const others = server.service.members.filter((member) => member !== primary);
  let together = false;
  client.on('commandStarted', ({ commandName, command }) => {
    together ||= commandName === 'commitTransaction' || command['find'] === 'lockstep_tombstones';
  });
  for (const member of others) member.freeze();
  const version = first.version + 1_000;
  const value = { _id: 'flushed', n: 1 };
  const flushing = things.write([{ kind: 'flush', key: 'flushed', value, version }], CALL);
  // The statement is given up, as for a row that others hold, and the transaction behind it waits on.
  await until(async () => together || undefined);
  for (const member of others) member.thaw();
  const [outcome] = await flushing;
  expect(outcome).toMatchObject({ version });
  expect((await things.read(['flushed'], PRIMARY))[0]).toEqual({ key: 'flushed', value, version });
});

test('a read of a row that somebody else is stamping waits until a majority has its version', async () => {
  const client = await server.client({ monitorCommands: true });
  const store = await server.store({ client });
  const things = store.collection<Thing>('things');
  await store.attach([things]);
  const rows = client.db(server.service.databaseName).collection<Thing>('things');
  await rows.insertOne({ _id: 'foreign', n: 1 }, { writeConcern: { w: 'majority' } });
  const primary = await server.service.primary();
  const others = server.service.members.filter((member) => member !== primary);
  for (const member of others) member.freeze();
  const version = Date.now() * 1_000;
  const stamp = { $set: { _lockstep: Long.fromNumber(version) } };
  await rows.updateOne({ _id: 'foreign' }, stamp, { writeConcern: { w: 1 } });
  let waits = false;
  client.on('commandStarted', ({ commandName }) => {
    waits ||= commandName === 'update' || commandName === 'bulkWrite';
  });
  let isOver = false;
  const reading = things.read(['foreign'], PRIMARY).finally(() => {
    isOver = true;
  });
  await until(async () => waits || isOver || undefined);
  for (const member of others) member.thaw();
  expect(await reading).toEqual([{ key: 'foreign', value: { _id: 'foreign', n: 1 }, version }]);
});
