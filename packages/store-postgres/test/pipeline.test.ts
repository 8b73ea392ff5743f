import { expect, test } from 'vitest';
import { type Parameter, Pipeline, statement, type WireClient } from '../src/wire/pipeline.js';
import { testServer } from './support/database.js';

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
