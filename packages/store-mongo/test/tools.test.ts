import type { Document } from 'mongodb';
import { expect, test } from 'vitest';
import { CALL, testServer } from './support/server.js';

interface User extends Document {
  readonly _id: string;
}

const server = testServer();

test('for tools: what is kept of a row beside it, and what the server is like', async () => {
  const mongo = await server.store();
  const users = mongo.collection<User>('told');
  await mongo.attach(users);
  await users.open();
  expect(await mongo.feed.keptOf?.(users.source, 'a')).toEqual({ changes: [], tombstone: undefined });
  await users.write([{ kind: 'put', key: 'a', value: { _id: 'a' }, above: 0 }], CALL);
  const [gone] = await users.write([{ kind: 'delete', key: 'a', above: 0 }], CALL);
  if (gone?.kind !== 'written') throw new Error('the row was not deleted');
  expect(await mongo.feed.keptOf?.(users.source, 'a')).toEqual({ changes: [], tombstone: gone.version });
  expect(await users.installation?.examine?.()).toMatchObject([
    { what: 'server', isWell: true, says: expect.stringMatching(/^MongoDB \d/) },
    { what: 'topology', isWell: true, says: expect.stringContaining('replica set') },
    { what: 'network', says: expect.stringContaining('ms') },
  ]);
});
