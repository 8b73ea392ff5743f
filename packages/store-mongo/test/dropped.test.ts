import type { StoreOutcome } from '@lockstep/core';
import type { Document } from 'mongodb';
import { expect, test } from 'vitest';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();
/** More of them for a night. */
const ROUNDS = Number(process.env['LOCKSTEP_ROUNDS'] ?? 10);

interface Thing extends Document {
  readonly _id: string;
  readonly n: number;
}

test('of many inserts of rows that must not be there, right after a drop, one of each is written, and stays', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, () => server.client()));
  const stores = await Promise.all(clients.map((client) => server.store({ client })));
  const collections = stores.map((store) => store.collection<Thing>('dropped'));
  const [store] = stores;
  const [first] = collections;
  const [client] = clients;
  if (store === undefined || first === undefined || client === undefined) throw new Error('none');
  await store.attach([first]);
  await Promise.all(collections.map((each) => each.open()));
  const keys = ['a', 'b'];
  for (let round = 0; round < ROUNDS; round += 1) {
    await client.db(server.service.databaseName).dropCollection('dropped');
    const written = new Map<string, StoreOutcome<Thing>[]>(keys.map((key) => [key, []]));
    await Promise.all(
      collections.map(async (things, writer) => {
        for (const key of keys) {
          const value = { _id: key, n: writer };
          // As `update` does: it reads, and stores what it made of no row.
          const [row] = await things.read([key], PRIMARY);
          if (row !== undefined) continue;
          const [outcome] = await things.write(
            [{ kind: 'put', key, value, above: 0, ifVersion: null }],
            CALL,
          );
          if (outcome?.kind === 'failed') throw outcome.error;
          if (outcome?.kind === 'written') written.get(key)?.push(outcome);
        }
      }),
    );
    const rows = await first.read(keys, PRIMARY);
    keys.forEach((key, at) => {
      const outcomes = written.get(key) ?? [];
      expect(outcomes.map(({ kind }) => kind)).toEqual(['written']);
      expect(outcomes[0]).toMatchObject({ value: rows[at]?.value, version: rows[at]?.version });
    });
  }
});
