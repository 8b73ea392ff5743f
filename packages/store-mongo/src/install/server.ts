import { InvalidOptionError, StoreUnavailableError } from '@lockstep/core';
import type { Db, Document } from 'mongodb';
import { answered } from '../wire/answered.js';
import { toStoreError } from '../wire/errors.js';
import type { ServerClock } from '../wire/server-clock.js';

/** The oldest server whose change events carry what the feed needs (the wall clock, pre-images). */
const OLDEST_MAJOR = 6;

export interface Server {
  /** A replica set or a sharded cluster: it has change streams and transactions. */
  readonly replicated: boolean;
  readonly sharded: boolean;
}

/**
 * Asks what the server is. Throws `StoreUnavailableError`, `InvalidOptionError` when it is too old, or a member of a
 * replica set that takes no writes.
 */
export async function askServer(db: Db, clock: ServerClock, timeoutMs: number): Promise<Server> {
  let hello: Document;
  let build: Document;
  try {
    const admin = db.client.db('admin');
    hello = await admin.command({ hello: 1, maxTimeMS: timeoutMs });
    if (hello['localTime'] instanceof Date) clock.sample('hello', hello['localTime']);
    build = await admin.command({ buildInfo: 1, maxTimeMS: timeoutMs });
  } catch (error) {
    const storeError = toStoreError(error, `mongodb:${db.databaseName}: connecting`);
    if (storeError.code === 'LOCKSTEP_STORE_UNAVAILABLE') throw storeError;
    throw new StoreUnavailableError(storeError.message, 'not-committed', { cause: error });
  }
  const version = String(build['version']);
  if (Number.parseInt(version, 10) < OLDEST_MAJOR) {
    throw new InvalidOptionError(
      'mongoStore.client',
      `needs MongoDB ${OLDEST_MAJOR}.0 or newer, the server is ${version}`,
    );
  }
  checkMember(hello, db);
  const sharded = hello['msg'] === 'isdbgrid';
  return { replicated: sharded || hello['setName'] !== undefined, sharded };
}

/** Refuses a member of a replica set that takes no writes, where the client is bound to it. */
function checkMember(
  { arbiterOnly, isreplicaset, me, secondary, setName }: Document,
  { client, databaseName }: Db,
) {
  if (isreplicaset === true) {
    const problem = 'the server is of a replica set that was not initiated: rs.initiate()';
    throw new InvalidOptionError('mongoStore.client', problem);
  }
  if (client.options.directConnection !== true || (secondary !== true && arbiterOnly !== true)) return;
  // It may become the primary.
  throw new StoreUnavailableError(
    `mongodb:${databaseName}: the client is connected to ${me} alone, which is no primary: leave directConnection out of its address, and name the set (replicaSet=${setName})`,
    'not-committed',
  );
}

const TIME = { maxTimeMS: 5_000 };

/** The server's own clock, in ms since the epoch. */
export async function serverNowMs(db: Db): Promise<number> {
  const hello = await answered(`mongodb:${db.databaseName}: its time`, db.command({ hello: 1 }), TIME);
  const localTime: unknown = hello['localTime'];
  if (!(localTime instanceof Date)) throw new TypeError('the server did not tell its time');
  return localTime.getTime();
}

export const STANDALONE =
  'the server is standalone, not a replica set: it has no change streams and no transactions, so a killed ' +
  'writer leaves the cache stale until the entry expires (G4), foreign writes are not seen (G6), and ' +
  '`transaction`, `write` and buffered writes are not there. Start it with --replSet (one member is ' +
  'enough), or set allowStandalone: true to go on without them';
