import { createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import { expect, test } from 'vitest';
import { testServer } from './support/database.js';

const server = testServer();

/** What increments that are asked for at once come to, merged and one by one. */
async function both(
  column: string,
  start: unknown,
  amounts: readonly (number | bigint | string)[],
  more = '',
) {
  const { knex, pg } = server.store();
  const name = `sums_${column.replace(/\W+/g, '_')}_${Math.random().toString(36).slice(2)}`;
  await knex.raw(`CREATE TABLE ${name} (id int PRIMARY KEY, v ${column} ${more})`);
  await knex(name).insert([1, 2].map((id) => ({ id, v: start as string })));
  const table = pg.table<Record<string, unknown>, number>(name, { key: 'id' });
  await pg.attach(table);
  const lockstep = createLockstep({ cache: memoryCache() });
  const results = [];
  for (const [id, coalesce] of [
    [1, true],
    [2, false],
  ] as const) {
    const counters = lockstep.collection({ name: `c${id}`, store: table, batch: { coalesce } });
    await counters.get(id);
    const calls = await Promise.allSettled(amounts.map((by) => counters.increment(id, 'v', by)));
    results.push({
      each: calls.map((call) => (call.status === 'fulfilled' ? call.value.value?.['v'] : 'refused')),
      row: (await knex(name).where({ id }).first())?.v as unknown,
      coalesced: calls.filter((call) => call.status === 'fulfilled' && call.value.coalesced).length,
    });
  }
  await lockstep.close();
  return results;
}

test.each<[string, unknown, (number | bigint | string)[], unknown[], number, string?]>([
  ['numeric', 0, Array.from({ length: 4 }, () => 0.1), ['0.1', '0.2', '0.3', '0.4'], 0],
  ['numeric', '1.50', [1, 2, 3], ['2.50', '4.50', '7.50'], 0],
  ['numeric(10,2)', 0, ['0.005', '0.005'], ['0.01', '0.02'], 0],
  [
    'bigint',
    0,
    [2 ** 53 - 1, 2, 2n, '3'],
    ['9007199254740991', '9007199254740993', '9007199254740995', '9007199254740998'],
    3,
  ],
  ['int', 0, [0.5, 0.5], ['refused', 'refused'], 0],
  ['int', 0, [1, 1, 1], [1, 2, 3], 2],
  ['int', 2147483646, [1, 1], [2147483647, 'refused'], 0],
  ['int', 3, [-2, -2, -1, 5], [1, 'refused', 0, 5], 0, 'CHECK (v >= 0)'],
  ['float8', 0, [1.7e308, 1.7e308], [1.7e308, 'refused'], 0],
  ['float8', 0, [0.1, 0.2], [0.1, 0.30000000000000004], 0],
])('%s from %s, by %s', async (column, start, amounts, expected, coalesced, more) => {
  const [merged, single] = await both(column, start, amounts, more);
  expect(merged?.each).toEqual(expected);
  expect(single?.each).toEqual(expected);
  expect(merged?.row).toEqual(single?.row);
  expect(merged?.coalesced).toBe(coalesced);
});

test('a generated column tells each caller what it would have told it alone', async () => {
  const [merged, single] = await both(
    'int',
    0,
    [1, 1],
    ', label text GENERATED ALWAYS AS (chr(65 + v)) STORED',
  );
  expect(merged).toEqual(single);
});
