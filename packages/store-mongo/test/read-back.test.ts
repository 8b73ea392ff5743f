import type { Collection, Document } from 'mongodb';
import { expect, test } from 'vitest';
import type { Binding } from '../src/rows/binding.js';
import { DeclaredFields } from '../src/rows/declared.js';
import { Tombstones } from '../src/rows/tombstones.js';
import { runTransaction } from '../src/transactions/transactions.js';
import { CallBound } from '../src/wire/bound.js';
import { ServerClock } from '../src/wire/server-clock.js';
import { putMany } from '../src/write/puts.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();

interface Row extends Document {
  readonly _id: string;
}

test('an old copy that lands between a bulk write and its read-back lends no version to an acknowledgement (G2)', async () => {
  const client = await server.client();
  const store = await server.store({ client });
  const things = store.collection<Row>('things');
  await store.attach([things]);
  const db = client.db(server.service.databaseName);
  const rows = db.collection<Row>('things');
  const keys = ['a', 'b'];
  const put = (n: number) =>
    keys.map((key) => ({ kind: 'put', key, value: { _id: key, n } as Row, above: 0 }) as const);
  await things.write(put(1), CALL);
  // A copy of long ago: what is that old nobody can have made now.
  const old = { n: 0, _lockstep: (Date.now() - 60_000) * 1_000 };
  const acknowledged = await things.write(put(2), CALL);
  const primary = new Proxy(rows as unknown as Collection<Document>, {
    get(target, name) {
      if (name !== 'bulkWrite') return Reflect.get(target, name, target);
      return async (...args: Parameters<typeof target.bulkWrite>) => {
        const result = await target.bulkWrite(...args);
        await rows.replaceOne({ _id: 'a' }, old);
        return result;
      };
    },
  });
  const clock = new ServerClock(client);
  const hello = await db.command({ hello: 1 });
  clock.sample('hello', hello['localTime'] as Date);
  const binding: Binding = {
    name: 'things',
    source: things.source,
    declared: new DeclaredFields(),
    keyField: '_id',
    versionField: '_lockstep',
    reader: primary,
    primary,
    tombstones: new Tombstones(db.collection('lockstep_tombstones'), clock),
    clock,
    inTransaction: (bound, body) =>
      runTransaction(client, bound, (tx) => body({ bound, session: tx.session })),
  };
  const outcomes = await putMany<Row>(binding, put(3), {
    bound: new CallBound('put', CALL),
    session: undefined,
  });
  clock.close();
  const found = await things.read(keys, PRIMARY);
  outcomes.forEach((outcome, at) => {
    const before = acknowledged[at];
    if (outcome.kind !== 'written' || before?.kind !== 'written') throw new Error('not written');
    expect(outcome.version).toBeGreaterThan(before.version);
    expect({ value: outcome.value, version: outcome.version }).toEqual({
      value: found[at]?.value,
      version: found[at]?.version,
    });
  });
  expect(found.map((row) => row?.value['n'])).toEqual([0, 3]);
});
