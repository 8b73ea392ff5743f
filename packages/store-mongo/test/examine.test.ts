import type { Db, Document } from 'mongodb';
import { expect, test } from 'vitest';
import { examineServer } from '../src/install/examine.js';

const PRIMARY = { setName: 'rs0', hosts: ['a:1'], isWritablePrimary: true };

test.each([
  ['6.0.5', PRIMARY, 'server', true, 'MongoDB 6.0.5'],
  ['4.4.29', PRIMARY, 'server', false, 'MongoDB 4.4.29: needs 6.0 or later'],
  ['6.0.5', PRIMARY, 'topology', true, 'replica set rs0, 1 members'],
  ['6.0.5', { isWritablePrimary: true }, 'topology', false, 'standalone: no change feed'],
  [
    '6.0.5',
    { ...PRIMARY, isWritablePrimary: false, secondary: true, me: 'b:1' },
    'topology',
    false,
    'b:1 takes no writes',
  ],
  ['6.0.5', { msg: 'isdbgrid', isWritablePrimary: true }, 'topology', false, 'a sharded cluster'],
])('the doctor on MongoDB %s that says %j', async (version, hello, what, isWell, says) => {
  const answers = (command: Document) =>
    'hello' in command ? hello : 'buildInfo' in command ? { version } : {};
  const admin = { command: async (command: Document) => answers(command) };
  const db = { databaseName: 'shop', client: { db: () => admin } } as unknown as Db;
  const found = await examineServer(db);
  expect(found).toContainEqual({ what, isWell, says: expect.stringContaining(says) });
});
