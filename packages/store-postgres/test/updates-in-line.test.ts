import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import { testServer, waiting } from './support/database.js';

const server = testServer();

interface Row {
  readonly id: number;
  readonly stock: number;
}

/** Two processes over one cache and one table. */
async function openTwo(name: string) {
  const { knex, pg } = server.store();
  await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0))`);
  await knex.raw(`INSERT INTO ${name} VALUES (1, 100)`);
  const cache = memoryCache();
  const tables = [pg, server.store().pg].map((own) => own.table<Row, number>(name, { key: 'id' }));
  for (const table of tables) await pg.attach(table);
  const processes = tables.map((store) => {
    const lockstep = createLockstep({ cache });
    return { lockstep, rows: lockstep.collection({ name, store }) };
  });
  return { knex, processes, close: () => Promise.all(processes.map(({ lockstep }) => lockstep.close())) };
}

const sold = (row: Row | undefined): Row => {
  if (row === undefined || row.stock === 0) throw new Error('sold out');
  return { ...row, stock: row.stock - 1 };
};

test('callers of several processes all get on, and each unit is sold once', async () => {
  const { close, knex, processes } = await openTwo('sale');
  const calls = Array.from({ length: 120 }, (_, i) => processes[i % 2]?.rows.update(1, sold));
  const results = await Promise.allSettled(calls);
  const got = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value?.value?.stock] : []));
  expect(got.toSorted((a = 0, b = 0) => b - a)).toEqual(Array.from({ length: 100 }, (_, i) => 99 - i));
  const failed = results.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
  expect(failed).toEqual(Array(20).fill('Error: sold out'));
  expect((await knex('sale').first())?.stock).toBe(0);
  await close();
});

test('the second try waits for whoever holds the row, and goes by what they left', async () => {
  const { close, knex, processes } = await openTwo('held');
  const rows = processes[0]?.rows as NonNullable<(typeof processes)[number]>['rows'];
  await rows.get(1);
  await knex('held').where({ id: 1 }).update({ stock: 50 });
  const trx = await knex.transaction();
  let runs = 0;
  const other = trx('held').where({ id: 1 }).update({ stock: 7 });
  await other;
  const updating = rows.update(1, (row) => {
    runs += 1;
    return sold(row);
  });
  await waiting(knex, 1);
  await trx.commit();
  expect(await updating).toMatchObject({ value: { stock: 6 }, cache: 'updated' });
  expect(runs).toBe(2);
  expect(await rows.getVersioned(1)).toMatchObject({ value: { stock: 6 }, from: 'cache' });
  await close();
});
