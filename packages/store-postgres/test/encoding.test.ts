import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import knexPackage, { type Knex } from 'knex';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgresStore } from '../src/index.js';
import { testServer } from './support/database.js';

interface Note {
  readonly id: string;
  readonly text: string;
}

const TEXT = 'grün Ω €é 日本';
const server = testServer();
let admin: Knex;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const { knex, pg } = server.store();
  admin = knex;
  await knex.raw('CREATE TABLE notes (id text PRIMARY KEY, text text)');
  await pg.attach(pg.table('notes', { key: 'id' }));
});

afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** An application on each of whose connections the statement is run first. */
function openWith(first: string, max: number) {
  const knex = knexPackage({
    client: 'pg',
    connection: server.url,
    searchPath: ['public'],
    pool: {
      min: 0,
      max,
      afterCreate: (
        client: { query: (sql: string, done: (error: unknown) => void) => void },
        done: unknown,
      ) => client.query(first, (error) => (done as (error: unknown, client: unknown) => void)(error, client)),
    },
  });
  const pg = postgresStore({ knex, feed: { listen: false } });
  const lockstep = createLockstep({ cache: memoryCache() });
  ends.push(
    () => knex.destroy(),
    () => lockstep.close(),
  );
  const notes = lockstep.collection({ name: 'notes', store: pg.table<Note, string>('notes', { key: 'id' }) });
  return { knex, lockstep, notes, pg };
}

const stored = async (id: string): Promise<string | undefined> =>
  (await admin('notes').where({ id }).first())?.text;

test.each(["SET client_encoding TO 'LATIN1'", "SET NAMES 'WIN1252'"])(
  'a pool whose connections begin with %s: texts and keys are what they are, and so are those that the feed tells',
  async (first) => {
    const { lockstep, notes, pg } = openWith(first, 3);
    const id = `${TEXT} ${first}`;
    await notes.put(id, { id, text: TEXT });
    expect(await stored(id)).toBe(TEXT);
    expect(await notes.get(id, { fresh: true })).toEqual({ id, text: TEXT });
    const relay = lockstep.startRelay();
    await admin('notes').where({ id }).update({ text: 'foreign' });
    await expect.poll(async () => (await notes.get(id))?.text, { timeout: 60_000 }).toBe('foreign');
    await relay.stop();
    const name = `größe ${ends.length}`;
    await admin.raw('CREATE TABLE ?? (id int PRIMARY KEY)', [name]);
    await pg.attach(pg.table(name, { key: 'id' }));
    expect((await admin.raw('SELECT 1 FROM pg_class WHERE relname = ?', [name])).rows).toHaveLength(1);
  },
);

test('changed between two calls, or inside a transaction: it is UTF8 again with the next call', async () => {
  const { knex, lockstep, notes } = openWith('SELECT 1', 1);
  for (const change of ["SET client_encoding TO 'LATIN1'", "SET LOCAL client_encoding TO 'LATIN1'"]) {
    const [id, inside] = [`${TEXT} after ${change}`, `${TEXT} inside ${change}`];
    await notes.put(id, { id, text: 'before' });
    await knex.raw(change);
    await notes.put(id, { id, text: TEXT });
    expect(await stored(id)).toBe(TEXT);
    await lockstep.transaction(async (tx) => {
      await (tx.client as Knex.Transaction).raw(change);
      await notes.put(inside, { id: inside, text: TEXT }, { tx });
    });
    expect(await stored(inside)).toBe(TEXT);
  }
  const failing = lockstep.transaction(
    async (tx) => {
      await (tx.client as Knex.Transaction).raw("SET client_encoding TO 'LATIN1'");
      await notes.put('z', { id: 'z', text: TEXT }, { tx });
      throw new Error('changed my mind');
    },
    { isolation: 'serializable' },
  );
  await expect(failing).rejects.toThrow('changed my mind');
  await notes.put('z', { id: 'z', text: TEXT });
  expect(await stored('z')).toBe(TEXT);
});
