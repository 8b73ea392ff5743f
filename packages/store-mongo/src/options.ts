import { checkKnown, InvalidOptionError, numberOption } from '@lockstep/core';
import type {
  BSONSerializeOptions,
  Db,
  Document,
  MongoClient,
  ReadConcernLike,
  ReadPreferenceLike,
  WriteConcern,
} from 'mongodb';
import { collectionNameOption, DEFAULT_VERSION_FIELD, fieldOption } from './rows/names.js';

export interface MongoFeedOptions {
  /** The collection that holds the readers' positions and leases. @defaultValue 'lockstep_feed' */
  readonly collection?: string;
  /** How long the active reader's lease stands without a heartbeat, in ms: 300 to 60,000. @defaultValue 1_000 */
  readonly leaseMs?: number;
  /** How long the server holds a read of the change stream open when nothing comes, in ms: 10 to 10,000. @defaultValue 200 */
  readonly maxAwaitTimeMs?: number;
  /**
   * How long a read of the change stream may take beyond that, in ms: 100 to 600,000. Another is opened then, on
   * another connection: a server that vanished says nothing. @defaultValue 5_000
   */
  readonly readTimeoutMs?: number;
  /** Changes read ahead of the handler; reading waits beyond. @defaultValue 5_000 */
  readonly maxBuffered?: number;
  /** Rows whose last version is remembered, to tell our own writes from a copy put back. @defaultValue 50_000 */
  readonly maxRemembered?: number;
}

export interface MongoStoreOptions {
  readonly client: MongoClient;
  /** The database, or its name. */
  readonly db: Db | string;
  readonly feed?: MongoFeedOptions;
  /** The collection that holds tombstones. @defaultValue 'lockstep_tombstones' */
  readonly tombstones?: string;
  /** How long a tombstone stands, in ms: longer than any flush can be late. @defaultValue 604_800_000 (a week) */
  readonly tombstoneTtlMs?: number;
  /**
   * Go on with a standalone server: no change feed, no transactions, no flush, and a deletion that is not
   * one step with its tombstone. @defaultValue false
   */
  readonly allowStandalone?: boolean;
}

export interface MongoCollectionOptions {
  /** The field that ids are values of; any other than `_id` needs a unique index and pre-images. @defaultValue '_id' */
  readonly key?: string;
  /** The field that holds the version; it is stripped from values. @defaultValue '_lockstep' */
  readonly versionField?: string;
  /** For reads that may be behind. @defaultValue the database's */
  readonly readPreference?: ReadPreferenceLike;
  /** For all reads. @defaultValue majority, or local where `writeConcern` is less than majority */
  readonly readConcern?: ReadConcernLike;
  /** Less than majority can lose acknowledged writes when the primary fails. @defaultValue { w: 'majority' } */
  readonly writeConcern?: WriteConcern | { readonly w: number | 'majority'; readonly journal?: boolean };
  /** How BSON becomes JavaScript, in the store and in the cache. @defaultValue the database's */
  readonly bson?: BSONSerializeOptions;
}

export interface FeedSettings {
  readonly collection: string;
  readonly leaseMs: number;
  readonly maxAwaitTimeMs: number;
  readonly readTimeoutMs: number;
  readonly maxBuffered: number;
  readonly maxRemembered: number;
}

const DAY_MS = 86_400_000;
/** Databases of the server's own. */
const UNSTREAMED: ReadonlySet<string> = new Set(['admin', 'config', 'local']);

/** The options, checked and with their defaults. Throws `InvalidOptionError`. */
export function storeSettings(options: MongoStoreOptions): {
  readonly db: Db;
  readonly feed: FeedSettings;
  readonly tombstones: string;
  readonly tombstoneTtlMs: number;
  readonly allowStandalone: boolean;
} {
  checkKnown(
    options,
    ['client', 'db', 'feed', 'tombstones', 'tombstoneTtlMs', 'allowStandalone'],
    'mongoStore',
  );
  const { client, db, feed = {}, allowStandalone = false } = options;
  if (typeof client?.startSession !== 'function') {
    throw new InvalidOptionError('mongoStore.client', 'must be a MongoClient of the mongodb package');
  }
  if (typeof db !== 'string' && typeof db?.collection !== 'function') {
    throw new InvalidOptionError('mongoStore.db', `must be a Db or its name, got ${String(db)}`);
  }
  if (db === '') throw new InvalidOptionError('mongoStore.db', 'must not be empty');
  const database = typeof db === 'string' ? db : db.databaseName;
  if (UNSTREAMED.has(database)) {
    throw new InvalidOptionError('mongoStore.db', `"${database}" has no change streams`);
  }
  if (typeof allowStandalone !== 'boolean') {
    throw new InvalidOptionError(
      'mongoStore.allowStandalone',
      `must be true or false, got ${String(allowStandalone)}`,
    );
  }
  checkKnown(
    feed,
    ['collection', 'leaseMs', 'maxAwaitTimeMs', 'readTimeoutMs', 'maxBuffered', 'maxRemembered'],
    'mongoStore.feed',
  );
  return {
    db: typeof db === 'string' ? client.db(db) : db,
    feed: {
      collection: collectionNameOption(feed.collection, 'lockstep_feed', 'mongoStore.feed.collection'),
      leaseMs: numberOption(feed.leaseMs, 1_000, 'mongoStore.feed.leaseMs', { min: 300, max: 60_000 }),
      maxAwaitTimeMs: numberOption(feed.maxAwaitTimeMs, 200, 'mongoStore.feed.maxAwaitTimeMs', {
        min: 10,
        max: 10_000,
      }),
      readTimeoutMs: numberOption(feed.readTimeoutMs, 5_000, 'mongoStore.feed.readTimeoutMs', {
        min: 100,
        max: 600_000,
      }),
      maxBuffered: numberOption(feed.maxBuffered, 5_000, 'mongoStore.feed.maxBuffered', {
        min: 1,
        max: 1_000_000,
      }),
      maxRemembered: numberOption(feed.maxRemembered, 50_000, 'mongoStore.feed.maxRemembered', {
        min: 100,
        max: 10_000_000,
      }),
    },
    tombstones: collectionNameOption(options.tombstones, 'lockstep_tombstones', 'mongoStore.tombstones'),
    tombstoneTtlMs: numberOption(options.tombstoneTtlMs, 7 * DAY_MS, 'mongoStore.tombstoneTtlMs', {
      min: 60_000,
      max: 3650 * DAY_MS,
    }),
    allowStandalone,
  };
}

/** The options, checked and with their defaults. Throws `InvalidOptionError`. */
export function collectionSettings(
  name: string,
  options: MongoCollectionOptions,
): { readonly key: string; readonly versionField: string; readonly where: string } {
  const where = `collection("${name}")`;
  checkKnown(
    options,
    ['key', 'versionField', 'readPreference', 'readConcern', 'writeConcern', 'bson'],
    where,
  );
  const key = fieldOption(options.key, '_id', `${where}.key`);
  const versionField = fieldOption(options.versionField, DEFAULT_VERSION_FIELD, `${where}.versionField`);
  if (versionField === key || versionField === '_id') {
    throw new InvalidOptionError(`${where}.versionField`, 'must be a field of its own');
  }
  const w = (options.writeConcern as Document | undefined)?.['w'] as unknown;
  if (w === 0) throw new InvalidOptionError(`${where}.writeConcern`, 'must be acknowledged, got w: 0');
  return { key, versionField, where };
}
