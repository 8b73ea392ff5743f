import { InvalidOptionError } from '@lockstep/core';
import { type OptionsOf, option, type Settings, withDefaults } from '@lockstep/core/kit';
import type {
  BSONSerializeOptions,
  Db,
  Document,
  MongoClient,
  ReadConcernLike,
  ReadPreferenceLike,
  WriteConcern,
} from 'mongodb';
import { COLLECTION_NAME, DEFAULT_VERSION_FIELD, FIELD_NAME } from './rows/names.js';

export interface MongoFeedOptions {
  /** The collection that holds the readers' positions and leases. @defaultValue 'lockstep_feed' */
  readonly collection?: string;
  /** How long the active reader's lease stands without a heartbeat, in ms. @defaultValue 1_000 */
  readonly leaseMs?: number;
  /** How long the server holds a read of the change stream open when nothing comes, in ms. @defaultValue 200 */
  readonly maxAwaitTimeMs?: number;
  /**
   * How long a read of the change stream may take beyond that, in ms. Another is opened then, on
   * another connection: a server that vanished says nothing. @defaultValue 5_000
   */
  readonly readTimeoutMs?: number;
  /** Changes read ahead of the handler; reading waits beyond. @defaultValue 5_000 */
  readonly maxBuffered?: number;
  /** Rows whose last version is remembered, to tell our own writes from a copy put back. @defaultValue 50_000 */
  readonly maxRemembered?: number;
}

export interface MongoStoreOptions {
  /** Stays yours: closing the store leaves it open. */
  readonly client: MongoClient;
  /** The database, or its name. */
  readonly db: Db | string;
  /** The change feed. */
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
  /**
   * The shape of the documents as this release knows them, by a name of yours: another name for each change of what they
   * hold. Entries of another shape are loaded anew, unless a later one made them (docs/deployments.md).
   *
   * @defaultValue documents have no shape, and one is as good as another
   */
  readonly shape?: string;
  /** For reads that may be behind. @defaultValue the database's */
  readonly readPreference?: ReadPreferenceLike;
  /** For all reads. @defaultValue majority, or local where `writeConcern` is less than majority */
  readonly readConcern?: ReadConcernLike;
  /** Less than majority can lose acknowledged writes when the primary fails. @defaultValue { w: 'majority' } */
  readonly writeConcern?: WriteConcern | { readonly w: number | 'majority'; readonly journal?: boolean };
  /** How BSON becomes JavaScript, in the store and in the cache. @defaultValue the database's */
  readonly bson?: BSONSerializeOptions;
}

const DAY_MS = 86_400_000;
/** Databases of the server's own. */
const UNSTREAMED: ReadonlySet<string> = new Set(['admin', 'config', 'local']);

const FEED = {
  collection: { ...COLLECTION_NAME, fallback: 'lockstep_feed' },
  leaseMs: option.integer(1_000, 300, 60_000),
  maxAwaitTimeMs: option.integer(200, 10, 10_000),
  readTimeoutMs: option.integer(5_000, 100, 600_000),
  maxBuffered: option.integer(5_000, 1, 1_000_000),
  maxRemembered: option.integer(50_000, 100, 10_000_000),
} satisfies OptionsOf<MongoFeedOptions>;

export const MONGO_STORE = {
  client: option.required(option.having<MongoClient>('a MongoClient of the mongodb package', 'startSession')),
  db: option.required(
    option.is<Db | string>('a Db or its name', (db) =>
      typeof db === 'string' ? db !== '' : typeof (db as Db | null)?.collection === 'function',
    ),
  ),
  feed: option.group(FEED),
  tombstones: { ...COLLECTION_NAME, fallback: 'lockstep_tombstones' },
  tombstoneTtlMs: option.integer(7 * DAY_MS, 60_000, 3_650 * DAY_MS),
  allowStandalone: option.flag(false),
} satisfies OptionsOf<MongoStoreOptions>;

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

export const MONGO_COLLECTION = {
  key: { ...FIELD_NAME, fallback: '_id' },
  versionField: { ...FIELD_NAME, fallback: DEFAULT_VERSION_FIELD },
  shape: option.is<string>(
    'a name of 1 to 64 letters, digits, "_", "." and "-"',
    (value) => typeof value === 'string' && /^[A-Za-z0-9_.-]{1,64}$/.test(value),
  ),
  readPreference: option.is<ReadPreferenceLike>(
    'a read preference',
    (value) => typeof value === 'string' || isObject(value),
  ),
  readConcern: option.is<ReadConcernLike>(
    'a read concern',
    (value) => typeof value === 'string' || isObject(value),
  ),
  writeConcern: option.is<NonNullable<MongoCollectionOptions['writeConcern']>>(
    'an acknowledged write concern',
    (value) => isObject(value) && (value as Document)['w'] !== 0,
  ),
  bson: option.is<BSONSerializeOptions>('BSON options', isObject),
} satisfies OptionsOf<MongoCollectionOptions>;

export type FeedSettings = Settings<typeof FEED>;

/** The options, checked and with their defaults. Throws `InvalidOptionError`. */
export function storeSettings(options: MongoStoreOptions) {
  const settings = withDefaults(options, MONGO_STORE, 'mongoStore');
  const db = typeof settings.db === 'string' ? settings.client.db(settings.db) : settings.db;
  if (UNSTREAMED.has(db.databaseName)) {
    throw new InvalidOptionError('mongoStore.db', `"${db.databaseName}" has no change streams`);
  }
  return { ...settings, db };
}

/** The options, checked and with their defaults. Throws `InvalidOptionError`. */
export function collectionSettings(
  name: string,
  options: MongoCollectionOptions,
): {
  readonly key: string;
  readonly shape: string | undefined;
  readonly versionField: string;
  readonly where: string;
} {
  const where = `collection("${name}")`;
  const { key, shape, versionField } = withDefaults(options, MONGO_COLLECTION, where);
  if (versionField === key || versionField === '_id') {
    throw new InvalidOptionError(`${where}.versionField`, 'must be a field of its own');
  }
  return { key, shape, versionField, where };
}

/** Throws `InvalidOptionError` where the driver would hand out bytes, or nothing at all, instead of values. */
export function checkBson(db: Db, own: BSONSerializeOptions, where: string): void {
  const { fieldsAsRaw, promoteLongs, raw, useBigInt64 } = { ...db.bsonOptions, ...own };
  const refuse = (name: keyof BSONSerializeOptions, problem: string): never => {
    throw new InvalidOptionError(`${where}.bson.${name}`, problem);
  };
  if (raw === true) refuse('raw', 'must not be set: rows are documents, not bytes');
  if (fieldsAsRaw !== undefined && Object.keys(fieldsAsRaw).length > 0) {
    refuse(
      'fieldsAsRaw',
      'must not be set: values are read from the cache, too, where they have other names',
    );
  }
  if (useBigInt64 === true && promoteLongs === false) {
    refuse('useBigInt64', 'needs promoteLongs: the driver reads no 64-bit integer otherwise');
  }
}
