import { expect, test } from 'vitest';
import { type Parameter, Pipeline, statement, type WireClient } from '../src/wire/pipeline.js';
import { CALL, testServer } from './support/database.js';

type Client = WireClient & { once(event: 'end', listener: (value?: unknown) => void): unknown };

const server = testServer();

test('what can’t be sent is told at once, ends its connection and commits nothing before it', async () => {
  const knex = server.knex();
  await knex.raw('CREATE TABLE t (v text)');
  const client = (await knex.client.acquireConnection()) as Client;
  const insert = statement('INSERT INTO t VALUES ($1)', false);
  const calls = [
    { statement: insert, values: ['one'] },
    { statement: insert, values: [{} as unknown as Parameter] },
  ];
  const ended = new Promise((resolve) => client.once('end', resolve));
  const error = await new Promise((resolve) => client.query(new Pipeline(client, calls, resolve)));
  expect(error).toBeInstanceOf(TypeError);
  await ended;
  await knex.client.releaseConnection(client);
  expect(await knex('t')).toEqual([]);
});

test('a connection that somebody has given back inside a transaction is dropped: nothing joins theirs', async () => {
  const knex = server.knex(server.url, 1);
  const { pg } = server.store({ knex });
  await knex.raw('CREATE TABLE items (id int PRIMARY KEY, v text)');
  const table = pg.table<{ id: number; v: string }>('items', { key: 'id' });
  await pg.attach(table);
  await table.open();
  // The second of them has failed, and the server has said so behind the answer before.
  const left = [['BEGIN'], ['BEGIN; SELECT 1 / 0', 'SELECT 1']];
  for (const [n, statements] of left.entries()) {
    const leave = async (): Promise<void> => {
      for (const sql of statements) await knex.raw(sql).catch(() => undefined);
    };
    await leave();
    const put = { kind: 'put', key: '1', value: { id: 1, v: `${n}` }, above: 0 } as const;
    expect(await table.write([put], CALL)).toMatchObject([{ kind: 'written' }]);
    await leave();
    await pg.transactions.transaction(
      (tx) => table.write([{ ...put, key: '2', value: { id: 2, v: `${n}` } }], { ...CALL, tx }),
      CALL,
    );
    await knex.raw('ROLLBACK');
    expect(await knex('items').select('v')).toEqual([{ v: `${n}` }, { v: `${n}` }]);
  }
});
