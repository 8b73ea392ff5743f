import type { StoreCommand } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, testServer, waiting } from './support/database.js';

interface Item {
  readonly id: string;
  readonly shelf: string;
  readonly count: number;
}

/** A server whose statements return what rows were before them. */
const server = testServer(undefined, ['package']);
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, string>;

const bind = (store: PostgresStore): PostgresTable<Item, string> => store.table('items', { key: 'id' });

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw('CREATE TABLE items (id text PRIMARY KEY, shelf text NOT NULL, count int NOT NULL)');
  items = bind(pg);
  await pg.attach(items, { tags: ['shelf'] });
  await items.open();
});

beforeEach(async () => {
  await knex.raw('DELETE FROM items');
  await knex.raw('DELETE FROM lockstep.outbox');
});

const at = (shelf: string) => ({ shelf: `=${shelf}` });
const put = (id: string, shelf: string): StoreCommand<Item> => {
  return { kind: 'put', key: id, value: { id, shelf, count: 1 }, above: 0 };
};

async function write(store: PostgresTable<Item, string>, ...commands: StoreCommand<Item>[]) {
  return (await store.write(commands, CALL)).map((outcome) => {
    if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
    return outcome;
  });
}

const isStamped = (version: number): boolean => version % 8 === 2;

async function outbox(): Promise<unknown[]> {
  const { rows } = await knex.raw<{ rows: Record<string, unknown>[] }>(
    `SELECT key, version::float8 AS version, before, after FROM lockstep.outbox ORDER BY version, key`,
  );
  return rows;
}

test('puts stamp their rows, and tell and record what these held, as other writes do', async () => {
  const [one] = await write(items, put('1', 'a'));
  const many = await write(items, put('1', 'b'), put('2', 'b'));
  const version = many[0]?.version;
  const [patched] = await write(items, { kind: 'patch', key: '1', set: { shelf: 'c' }, above: 0 });
  const [counted] = await write(items, { kind: 'increment', key: '1', field: 'count', by: 1, above: 0 });
  const written = [one, ...many, patched, counted];
  expect(written.map((each) => each?.texts)).toEqual([
    [at('a')],
    [at('a'), at('b')],
    [at('b')],
    [at('b'), at('c')],
    [at('c')],
  ]);
  expect([one, ...many].map((each) => isStamped(each?.version ?? 0))).not.toContain(false);
  expect(await outbox()).toEqual([
    { key: '1', version: one?.version, before: null, after: at('a') },
    expect.objectContaining({ before: at('a'), after: at('b'), version }),
    expect.objectContaining({ key: '2', before: null, after: at('b') }),
    { key: '1', version: patched?.version, before: at('b'), after: at('c') },
    { key: '1', version: counted?.version, before: at('c'), after: at('c') },
  ]);
  const [gone] = await items.write(
    [{ kind: 'patch', key: '9', set: { shelf: 'c' }, above: 0, ifVersion: 1 }],
    CALL,
  );
  expect(gone).toEqual({ kind: 'conflict', version: 0 });
});

test('also what another program has replaced while the write waited for its row', async () => {
  await write(items, put('1', 'a'), put('2', 'x'));
  const foreign = await knex.transaction();
  await foreign.raw(`UPDATE items SET shelf = 'b' WHERE id = '1'`);
  await foreign.raw(`UPDATE items SET shelf = 'c' WHERE id = '1'`);
  const writing = write(items, put('1', 'd'), put('2', 'y'));
  await waiting(knex, 1);
  await foreign.commit();
  const [moved, other] = await writing;
  expect(moved?.texts).toHaveLength(4);
  expect(moved?.texts).toEqual(expect.arrayContaining([at('a'), at('b'), at('c'), at('d')]));
  expect(other?.texts).toEqual([at('x'), at('y')]);
});

test('a process that knows of other columns leaves it to the triggers', async () => {
  const earlier = bind(server.store().pg);
  await earlier.open();
  await pg.attach(items, { tags: ['shelf', 'count'] });
  const later = bind(server.store().pg);
  await later.open();
  for (const store of [earlier, later]) {
    await knex.raw('DELETE FROM lockstep.outbox');
    const [outcome] = await write(store, put('1', 'a'));
    if (store === later) expect(isStamped(outcome?.version ?? 0)).toBe(true);
    expect(await outbox()).toContainEqual(expect.objectContaining({ after: { shelf: '=a', count: '=1' } }));
  }
});
