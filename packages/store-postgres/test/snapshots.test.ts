import type { StoreOutcome } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, READ, testServer, waiting } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

const SNAPSHOTS = ['repeatable read', 'serializable'] as const;

const server = testServer();
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, number>;
let lastId = 0;

beforeAll(async () => {
  ({ knex, pg } = server.store());
  await knex.raw('CREATE TABLE items (id int PRIMARY KEY, n int)');
  items = pg.table<Item, number>('items', { key: 'id' });
  await pg.attach(items);
  await items.open();
});

const newId = (): number => ++lastId;

const put = (id: number, n: number) =>
  ({ kind: 'put', key: String(id), value: { id, n }, above: 0 }) as const;
const remove = (id: number) => ({ kind: 'delete', key: String(id), above: 0 }) as const;

/** The row's version and its tombstone's; 0 where there is none. */
async function versions(id: number): Promise<{ row: number; tombstone: number }> {
  const { rows } = await knex.raw<{ rows: { row: string | null; tombstone: string | null }[] }>(
    `SELECT (SELECT lockstep_version FROM items WHERE id = ?)::text AS row,
     (SELECT version FROM lockstep.tombstone WHERE source = ? AND key = ?)::text AS tombstone`,
    [id, items.source, String(id)],
  );
  return { row: Number(rows[0]?.row ?? 0), tombstone: Number(rows[0]?.tombstone ?? 0) };
}

/** A table of a store of its own, whose sessions have this isolation unless they say otherwise. */
async function storeOf(isolation: string): Promise<PostgresTable<Item, number>> {
  const url = new URL(server.url);
  url.searchParams.set('options', `-c default_transaction_isolation=${isolation.replace(' ', '\\ ')}`);
  const store = server.store({ knex: server.knex(url.href) });
  const table = store.pg.table<Item, number>('items', { key: 'id' });
  await table.open();
  return table;
}

/** Deletes the row, runs `meanwhile` until it waits, puts the row back and deletes it again, then commits. */
async function deletedTwice(id: number, meanwhile: () => void): Promise<void> {
  await knex.transaction(async (trx) => {
    await trx.raw('DELETE FROM items WHERE id = ?', [id]);
    meanwhile();
    await waiting(knex, 1);
    await trx.raw('INSERT INTO items (id, n) VALUES (?, 50)', [id]);
    await trx.raw('DELETE FROM items WHERE id = ?', [id]);
  });
}

const stateOf = (error: unknown): unknown => (error as { code?: unknown }).code;

describe.each(SNAPSHOTS)('a snapshot that is older than a delete: %s', (isolation) => {
  const foreign = <T>(body: (trx: Knex.Transaction) => Promise<T>): Promise<T> =>
    knex.transaction(
      async (trx) => {
        // The snapshot is that of the first query.
        await trx.raw('SELECT 1');
        return await body(trx);
      },
      { isolationLevel: isolation },
    );

  test.each([
    ['an insert', 'INSERT INTO items (id, n) VALUES (?, 2)'],
    ['an upsert', 'INSERT INTO items (id, n) VALUES (?, 2) ON CONFLICT (id) DO UPDATE SET n = 2'],
    ['many rows', 'INSERT INTO items (id, n) SELECT i, 2 FROM unnest(ARRAY[?::int, 900001, 900002]) i'],
  ])('%s of a foreign session is refused with 40001, never left below the tombstone', async (_, sql) => {
    const id = newId();
    await items.write([put(id, 1)], CALL);
    let inserting: Promise<unknown> = Promise.resolve();
    await deletedTwice(id, () => {
      inserting = foreign((trx) => trx.raw(sql, [id])).then(() => 'committed', stateOf);
    });
    expect(await inserting).toBe('40001');
    expect(await versions(id)).toMatchObject({ row: 0 });
  });

  test('a key that is given to another row is refused, too', async () => {
    const [id, other] = [newId(), newId()];
    await items.write([put(id, 1), put(other, 1)], CALL);
    let moving: Promise<unknown> = Promise.resolve();
    await deletedTwice(id, () => {
      moving = foreign((trx) => trx.raw('UPDATE items SET id = ? WHERE id = ?', [id, other])).then(
        () => 'committed',
        stateOf,
      );
    });
    expect(await moving).toBe('40001');
    expect(await versions(other)).toMatchObject({ tombstone: 0 });
  });

  test('an insert behind a delete that was committed since the snapshot is refused without having waited', async () => {
    const id = newId();
    await items.write([put(id, 1)], CALL);
    const inserting = foreign(async (trx) => {
      await items.write([remove(id)], CALL);
      await trx.raw('INSERT INTO items (id, n) VALUES (?, 2)', [id]);
    });
    await expect(inserting).rejects.toMatchObject({ code: '40001' });
  });

  test('an insert of a key without a past is not refused, nor is one whose past the snapshot shows', async () => {
    const [fresh, old] = [newId(), newId()];
    await items.write([put(old, 1)], CALL);
    await items.write([remove(old)], CALL);
    await foreign((trx) => trx.raw('INSERT INTO items (id, n) VALUES (?, 2), (?, 2)', [fresh, old]));
    const { row, tombstone } = await versions(old);
    expect(row).toBeGreaterThan(tombstone);
    const { row: made, tombstone: none } = await versions(fresh);
    expect(made).toBeGreaterThan(0);
    expect(none).toBe(0);
    const { rows } = await knex.raw<{ rows: unknown[] }>('SELECT 1 FROM lockstep.tombstone WHERE key = ?', [
      String(fresh),
    ]);
    expect(rows).toEqual([]);
  });

  test('puts of a store with this default are tried again, and are acknowledged with what the row has', async () => {
    const table = await storeOf(isolation);
    const id = newId();
    await items.write([put(id, 1)], CALL);
    let writing: Promise<readonly StoreOutcome<Item>[]> = Promise.resolve([]);
    await deletedTwice(id, () => {
      writing = table.write([put(id, 2)], CALL);
    });
    const [outcome] = await writing;
    const { row, tombstone } = await versions(id);
    expect(outcome).toMatchObject({ kind: 'written', version: row, value: { n: 2 } });
    expect(row).toBeGreaterThan(tombstone);
  });

  test.each([1, 3])('a batch of %i, buffered writes and conditions likewise', async (size) => {
    const table = await storeOf(isolation);
    const ids = Array.from({ length: size }, newId);
    const [first = 0] = ids;
    await items.write(
      ids.map((id) => put(id, 1)),
      CALL,
    );
    const ahead = (Date.now() + 3_600_000) * 1000 + 1;
    const writes = [
      () =>
        table.write(
          ids.map((id) => put(id, 2)),
          CALL,
        ),
      () =>
        table.write(
          ids.map((id) => ({ ...put(id, 3), ifVersion: null })),
          CALL,
        ),
      () =>
        table.write(
          ids.map((id) => ({ kind: 'flush', key: String(id), value: { id, n: 4 }, version: ahead })),
          CALL,
        ),
      () =>
        table.write(
          ids.map((id) => ({ kind: 'flush', key: String(id), value: null, version: ahead + 2 })),
          CALL,
        ),
    ];
    for (const write of writes) {
      await items.write(
        ids.map((id) => put(id, 1)),
        CALL,
      );
      let writing: Promise<readonly StoreOutcome<Item>[]> = Promise.resolve([]);
      await deletedTwice(first, () => {
        writing = write();
      });
      const outcomes = await writing;
      const rows = await items.read(ids.map(String), READ);
      for (const [i, id] of ids.entries()) {
        const { row, tombstone } = await versions(id);
        expect(row === 0 || row > tombstone).toBe(true);
        const outcome = outcomes[i];
        if (outcome?.kind === 'written' && outcome.value !== null) {
          expect(rows[i]).toMatchObject({ version: outcome.version, value: outcome.value });
        }
      }
    }
  });

  test('a transaction of Lockstep in this isolation runs again', async () => {
    const id = newId();
    await items.write([put(id, 1)], CALL);
    let tries = 0;
    let running: Promise<readonly StoreOutcome<Item>[]> = Promise.resolve([]);
    await deletedTwice(id, () => {
      running = pg.transactions.transaction(
        async (tx) => {
          tries += 1;
          const outcomes = await items.write([put(id, 2)], { ...CALL, tx });
          if (outcomes[0]?.kind === 'failed') throw outcomes[0].error;
          return outcomes;
        },
        { ...CALL, isolation },
      );
    });
    const [outcome] = await running;
    const { row, tombstone } = await versions(id);
    expect(outcome).toMatchObject({ kind: 'written', version: row });
    expect(row).toBeGreaterThan(tombstone);
    expect(tries).toBe(2);
  });

  test('TRUNCATE is refused: rows that the snapshot does not show would go unseen', async () => {
    const truncating = foreign((trx) => trx.raw('TRUNCATE items'));
    await expect(truncating).rejects.toThrow(/read committed/);
  });
});

test('read committed: nothing is refused, and an insert leaves no tombstone behind', async () => {
  const id = newId();
  await items.write([put(id, 1)], CALL);
  let inserting: Promise<unknown> = Promise.resolve();
  await deletedTwice(id, () => {
    inserting = knex.raw('INSERT INTO items (id, n) VALUES (?, 2)', [id]).then(() => 'committed', stateOf);
  });
  expect(await inserting).toBe('committed');
  const { row, tombstone } = await versions(id);
  expect(row).toBeGreaterThan(tombstone);
  const fresh = newId();
  await knex.raw('INSERT INTO items (id, n) VALUES (?, 1)', [fresh]);
  const { rows } = await knex.raw<{ rows: unknown[] }>('SELECT 1 FROM lockstep.tombstone WHERE key = ?', [
    String(fresh),
  ]);
  expect(rows).toEqual([]);
});
