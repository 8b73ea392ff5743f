import type { StoreOutcome } from '@lockstep/core';
import type { Document } from 'mongodb';
import type { Binding } from '../../src/binding.js';
import { CallBound } from '../../src/bound.js';
import type { MongoCollection } from '../../src/collection.js';
import { flushWithTombstones } from '../../src/flushes.js';
import { ServerClock } from '../../src/server-clock.js';
import type { MongoStore } from '../../src/store.js';
import { Tombstones } from '../../src/tombstones.js';
import { runTransaction } from '../../src/transactions.js';
import { CALL, type TestServer } from './server.js';

/** What happens meanwhile; gives the version that the flush must meet. */
export type Meanwhile = (things: MongoCollection<Document, string>, key: string) => Promise<number>;

/** The row comes and goes. */
export const comeAndGo: Meanwhile = async (things, key) => {
  await things.write([{ kind: 'put', key, value: { _id: key, n: 1 }, above: 0 }], CALL);
  const [gone] = await things.write([{ kind: 'delete', key, above: 0 }], CALL);
  return gone?.kind === 'written' ? gone.version : 0;
};

/** Stops a flush between its look at row and tombstone, and its insert. */
export class FlushBarrier {
  readonly #store: MongoStore;
  readonly #server: TestServer;

  constructor(store: MongoStore, server: TestServer) {
    this.#store = store;
    this.#server = server;
  }

  async run(
    key: string,
    flushed: number,
    meanwhile: Meanwhile,
  ): Promise<{ outcome: StoreOutcome<Document>; version: number }> {
    const client = await this.#server.client();
    const db = client.db(this.#server.service.databaseName);
    const things = this.#store.collection<Document, string>('things');
    let looks = 0;
    let version = 0;
    const graves = new (class extends Tombstones {
      override async versions(...args: Parameters<Tombstones['versions']>): Promise<number[]> {
        const found = await super.versions(...args);
        looks += 1;
        if (looks === 1) version = await meanwhile(things, key);
        return found;
      }
    })(db.collection('lockstep_tombstones'));
    const primary = db.collection('things');
    const binding: Binding = {
      name: 'things',
      source: things.source,
      keyField: '_id',
      versionField: '_lockstep',
      reader: primary,
      primary,
      tombstones: graves,
      clock: new ServerClock(client),
      together: (bound, body) => runTransaction(client, bound, (tx) => body({ bound, session: tx.session })),
    };
    const command = { kind: 'flush', key, value: { _id: key, n: 9 }, version: flushed } as const;
    const [outcome] = await binding.together(new CallBound('flush', CALL), (call) =>
      flushWithTombstones<Document>(binding, [command], call),
    );
    if (outcome === undefined) throw new Error('a flush gave no outcome');
    return { outcome, version };
  }
}
