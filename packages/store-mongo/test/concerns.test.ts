import type { Document } from 'mongodb';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { Consumer } from './support/consumer.js';
import { CALL, PRIMARY, testServer } from './support/server.js';

const server = testServer();

// What is legal in an address, and common there.
test.each([
  'readConcernLevel=local',
  'readConcernLevel=available',
  'readConcernLevel=majority',
  'readConcernLevel=linearizable',
  'readConcernLevel=snapshot',
  'readPreference=secondaryPreferred',
  'readPreference=nearest&readConcernLevel=local',
  'w=0',
  'w=1&journal=false',
  'w=majority&journal=true&wtimeoutMS=1000',
  'retryWrites=false&retryReads=false',
])(
  'with %s in the address a collection is attached, written, and its foreign writes are told (G6)',
  async (extra) => {
    const { url, databaseName } = server.service;
    const client = new MongoClient(`${url}${url.includes('?') ? '&' : '?'}${extra}`);
    try {
      const store = await server.store({ client });
      const name = extra.replaceAll(/[^a-zA-Z0-9]/g, '_');
      const things = store.collection<Document, string>(name);
      await store.attach([things]);
      await things.open();
      const consumer = new Consumer(store.feed, [things.source]);
      const batch = ['a', 'b'].map(
        (key) => ({ kind: 'put', key, value: { _id: key, n: 1 }, above: 0 }) as const,
      );
      const [written] = await things.write(batch, CALL);
      const version = written?.kind === 'written' ? written.version : 0;
      expect((await things.read(['a'], PRIMARY))[0]?.version).toBe(version);
      await consumer.tookAbove('a', version - 1);
      await client
        .db(databaseName)
        .collection<{ _id: string }>(name)
        .updateOne({ _id: 'a' }, { $set: { n: 2 } }, { writeConcern: { w: 1 } });
      const change = await consumer.tookAbove('a', version);
      expect((await things.read(['a'], PRIMARY))[0]).toMatchObject({
        value: { n: 2 },
        version: change.version,
      });
      // Nobody has a position: it starts anew.
      await consumer.stop();
      await client
        .db(databaseName)
        .collection('lockstep_feed')
        .deleteMany({}, { writeConcern: { w: 1 } });
      const second = new Consumer(store.feed, [things.source]);
      await second.tookAbove('a', change.version);
      await second.stop();
      expect([...consumer.errors, ...second.errors]).toEqual([]);
      await store.detach([things]);
      await store.close();
    } finally {
      await client.close();
    }
  },
);
