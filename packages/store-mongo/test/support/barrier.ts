import type { StoreOutcome } from '@lockstep/core';
import type { Document } from 'mongodb';
import type { Binding } from '../../src/rows/binding.js';
import type { MongoCollection } from '../../src/rows/collection.js';
import { DeclaredFields } from '../../src/rows/declared.js';
import { Tombstones } from '../../src/rows/tombstones.js';
import type { MongoStore } from '../../src/store.js';
import { runTransaction } from '../../src/transactions/transactions.js';
import { CallBound } from '../../src/wire/bound.js';
import { ServerClock } from '../../src/wire/server-clock.js';
import { flushWithTombstones } from '../../src/write/flushes.js';
import { putOne } from '../../src/write/puts.js';
import { CALL, type TestServer } from './server.js';

/** What happens meanwhile; gives the version that the flush must meet. */
export type Meanwhile = (things: MongoCollection<Document, string>, key: string) => Promise<number>;

/** The row comes and goes. */
export const comeAndGo: Meanwhile = async (things, key) => {
  await things.write([{ kind: 'put', key, value: { _id: key, n: 1 }, above: 0 }], CALL);
  const [gone] = await things.write([{ kind: 'delete', key, above: 0 }], CALL);
  return gone?.kind === 'written' ? gone.version : 0;
};

type Look = () => Promise<number[]>;

/** Stops a flush, or an insert, between its look at row or tombstone, and its write. */
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
    const things = this.#store.collection<Document, string>('things');
    let version = 0;
    const binding = await this.#binding('things', async (look) => {
      const found = await look();
      version = await meanwhile(things, key);
      return found;
    });
    const command = { kind: 'flush', key, value: { _id: key, n: 9 }, version: flushed } as const;
    const [outcome] = await binding.inTransaction(new CallBound('flush', CALL), (call) =>
      flushWithTombstones<Document>(binding, [command], call),
    );
    if (outcome === undefined) throw new Error('a flush gave no outcome');
    return { outcome, version };
  }

  /** A put of a row that must not be there, with something between its look at the row and the insert. */
  async insert(
    { name, keyField }: { readonly name: string; readonly keyField: string },
    key: string,
    meanwhile: () => Promise<void>,
  ): Promise<StoreOutcome<Document>> {
    const around = async (look: Look): Promise<number[]> => {
      await meanwhile();
      return await look();
    };
    const binding = { ...(await this.#binding(name, around)), keyField };
    const value = { [keyField]: key, n: 9 };
    const command = { kind: 'put', key, value, above: 0, ifVersion: null } as const;
    return await putOne<Document>(binding, command, {
      bound: new CallBound('insert', CALL),
      session: undefined,
    });
  }

  /** A binding whose first look at tombstones goes through `around`. */
  async #binding(name: string, around: (look: Look) => Promise<number[]>): Promise<Binding> {
    const client = await this.#server.client();
    const db = client.db(this.#server.service.databaseName);
    const clock = new ServerClock(client);
    let looks = 0;
    const tombstones = new (class extends Tombstones {
      override async versions(...args: Parameters<Tombstones['versions']>): Promise<number[]> {
        looks += 1;
        const look: Look = () => super.versions(...args);
        return looks === 1 ? await around(look) : await look();
      }
    })(db.collection('lockstep_tombstones'), clock);
    const primary = db.collection(name);
    return {
      name,
      source: `${db.databaseName}.${name}`,
      keyField: '_id',
      versionField: '_lockstep',
      reader: primary,
      primary,
      tombstones,
      clock,
      inTransaction: (bound, body) =>
        runTransaction(client, bound, (tx) => body({ bound, session: tx.session })),
      declared: new DeclaredFields(),
    };
  }
}
