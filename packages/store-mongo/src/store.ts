import { type ChangeFeed, InvalidOptionError, systemClock, type TransactionHost } from '@lockstep/core';
import { DECLARED_SETS, type OptionsOf, option, optionValue, withDefaults } from '@lockstep/core/kit';
import {
  type ClientSession,
  type DbOptions,
  type Document,
  type ObjectId,
  ReadConcern,
  ReadPreference,
} from 'mongodb';
import { mongoFeed } from './feed/feed.js';
import { type PositionDocument, Positions } from './feed/positions.js';
import { type ConsumerDocument, Registry } from './feed/registry.js';
import { tokenOfNow } from './feed/stream.js';
import { examineServer } from './install/examine.js';
import { identityOf, install, uninstall } from './install/install.js';
import type { Installation } from './install/installation.js';
import { type SourceDocument, SourceRecords } from './install/records.js';
import { type RepairReport, repair } from './install/repair.js';
import { askServer, type Server, STANDALONE, serverNowMs } from './install/server.js';
import { checkDeclared, checkInstalled, indexesOf, stateOf } from './install/state.js';
import { AttachmentWatch } from './install/watch.js';
import {
  checkBson,
  collectionSettings,
  type MongoCollectionOptions,
  type MongoStoreOptions,
  storeSettings,
} from './options.js';
import type { Binding, InTransaction } from './rows/binding.js';
import { boundCollection, type MongoCollection } from './rows/collection.js';
import { DeclaredFields } from './rows/declared.js';
import { COLLECTION_NAME } from './rows/names.js';
import { NamedShape } from './rows/shape.js';
import { type TombstoneDocument, Tombstones } from './rows/tombstones.js';
import { runTransaction, transactionHost, transactionOfSession } from './transactions/transactions.js';
import { ServerClock } from './wire/server-clock.js';

/** The bound of what `open` asks, in ms. */
const OPEN_TIMEOUT_MS = 10_000;

/** Options of this package's own collections and commands. */
const OWN_DATA: DbOptions = {
  readPreference: ReadPreference.primary,
  readConcern: new ReadConcern('majority'),
  writeConcern: { w: 'majority' },
  promoteLongs: true,
  promoteValues: true,
  useBigInt64: false,
  raw: false,
};

export interface AttachOptions {
  /**
   * Give versions to all rows that have none, in one pass; otherwise each gets one when it is first read.
   *
   * @defaultValue true
   */
  readonly stamp?: boolean;
  /**
   * Unique indexes (a field, or a list of them) by which collections look rows up: each change tells the values of their
   * fields. Replaces those that are recorded; `[]`: none. @defaultValue those that are recorded
   */
  readonly unique?: readonly (string | readonly string[])[];
  /**
   * Fields, or lists of them, that tags are made of. As `unique`, of any fields. Turns pre-images on, and makes each write a
   * transaction of its own. @defaultValue those that are recorded
   */
  readonly tags?: readonly (string | readonly string[])[];
}

const ATTACH = {
  stamp: option.flag(true),
  unique: DECLARED_SETS,
  tags: DECLARED_SETS,
} satisfies OptionsOf<AttachOptions>;

const listsOf = (sets: AttachOptions['unique']): string[][] | undefined =>
  sets?.map((set) => (typeof set === 'string' ? [set] : [...set]));

type AnyCollection = Pick<MongoCollection<Document, never>, 'source'>;

/** The type of an entity's id: its `_id`, an ObjectId where the document's type does not say. */
export type IdOf<Doc> = Doc extends { readonly _id: infer Id } ? Id : ObjectId;

/** One database: its collections share transactions and change feed. */
export interface MongoStore {
  /** For messages, e.g. `mongodb:shop`. */
  readonly name: string;
  readonly transactions: TransactionHost<ClientSession>;
  readonly feed: ChangeFeed;
  /** Binds an existing collection. Throws `InvalidOptionError`. */
  collection<Doc extends Document, Id = IdOf<Doc>>(
    name: string,
    options?: MongoCollectionOptions,
  ): MongoCollection<Doc, Id>;
  /**
   * Installs what the collections need, once, when you deploy: an index on the version, versions, a
   * first position of the feed, the collection of tombstones, a record of the key; pre-images where that is not `_id`.
   * Idempotent. Checks first, and changes nothing then: rejects with `InvalidOptionError`, with what mends it, when the
   * key has no unique index, when another key or version field is recorded, or when rights are missing; with the driver's
   * error otherwise.
   */
  attach(collections: AnyCollection | readonly AnyCollection[], options?: AttachOptions): Promise<void>;
  /**
   * Takes it away again, the version field of every row included. Pre-images stay on. Applications that still run
   * notice within seconds: they warn, and read from the store alone; what they write has a version field again.
   */
  detach(collections: AnyCollection | readonly AnyCollection[]): Promise<void>;
  /**
   * Gives rows whose version nobody believes (no number, or more than a day ahead of the server's clock) one of the
   * clock, at once rather than when each is next read or written, and removes such tombstones. Run the relay: it
   * removes the entries. Rejects with the driver's error.
   */
  repair(collections: AnyCollection | readonly AnyCollection[]): Promise<readonly RepairReport[]>;
  /**
   * Tells a transaction which rows the caller's own statements on its session changed: they get versions,
   * and the cache is brought in step at the commit rather than by the feed. Reading a row in the
   * transaction does the same, and `write(id, …)` does it for its id. Rejects with a `StoreError`.
   */
  noteChanges<Id>(
    session: ClientSession,
    collection: Pick<MongoCollection<Document, Id>, 'keyOf' | 'read'>,
    ids: readonly Id[],
    options?: { readonly timeoutMs?: number },
  ): Promise<void>;
  /** Ends the feed; the client is the caller's. */
  close(): Promise<void>;
}

/** Makes a store of one database. Connects on the first `open`. Throws `InvalidOptionError`. */
export function mongoStore(options: MongoStoreOptions): MongoStore {
  const { db, feed: feedSettings, tombstones, tombstoneTtlMs, allowStandalone } = storeSettings(options);
  const { client } = options;
  const name = `mongodb:${db.databaseName}`;
  const bindings = new Map<string, Binding>();
  // Assumed until the server has been asked, and refused then unless `allowStandalone`.
  let replicated = true;
  let asked: Promise<Server> | undefined;
  // Concerns, preferences and types of the address or the client are for the user's rows alone.
  const own = client.db(db.databaseName, OWN_DATA);
  const clock = new ServerClock(client);
  const positions = new Positions(
    own.collection<PositionDocument>(feedSettings.collection),
    feedSettings.leaseMs,
  );
  const tombstoneStore = new Tombstones(own.collection<TombstoneDocument>(tombstones), clock);
  const transactions = transactionHost(client, name);
  const names = {
    feed: feedSettings.collection,
    consumers: `${feedSettings.collection}_consumers`,
    sources: `${feedSettings.collection}_sources`,
  };
  const records = new SourceRecords(own.collection<SourceDocument>(names.sources));
  const registry = new Registry(own.collection<ConsumerDocument>(names.consumers), {
    begin: async (consumer, source) => positions.begin(consumer, source, await tokenOfNow(own)),
    async of(consumer, sources) {
      const times = await positions.dealtWith(consumer, sources);
      return new Map([...times].map(([source, atMs]) => [source, String(atMs)]));
    },
  });
  const feed = mongoFeed({
    db: own,
    name,
    bindings,
    tombstones,
    settings: feedSettings,
    positions,
    records,
    registry,
    tombstoneTtlMs,
  });

  const inTransaction: InTransaction = async (bound, body, patienceMs) => {
    if (!replicated) return await body({ bound, session: undefined });
    return await runTransaction(client, bound, (tx) => body({ bound, session: tx.session }), patienceMs);
  };

  async function ask(): Promise<Server> {
    const server = await askServer(own, clock, OPEN_TIMEOUT_MS);
    if (!server.replicated && !allowStandalone) {
      throw new InvalidOptionError('mongoStore.client', STANDALONE);
    }
    replicated = server.replicated;
    return server;
  }

  async function installation(): Promise<Installation> {
    asked ??= ask();
    try {
      return { db: own, ...(await asked), ...names, records, tombstones, tombstoneTtlMs };
    } catch (error) {
      asked = undefined;
      throw error;
    }
  }

  function bindingOf(collection: AnyCollection): Binding {
    const binding = bindings.get(collection.source);
    if (binding === undefined) {
      throw new InvalidOptionError(
        'attach.collections',
        `${collection.source} is not a collection of this store`,
      );
    }
    return binding;
  }

  async function attachOne(binding: Binding, options: AttachOptions = {}): Promise<void> {
    const { stamp, tags, unique } = withDefaults(options, ATTACH, 'attach');
    const sets = { unique: listsOf(unique), tags: listsOf(tags) };
    const installed = await installation();
    if (installed.replicated) await Promise.all([positions.prepare(), registry.prepare()]);
    await install(installed, binding, stamp, sets);
    if (installed.replicated) await positions.seed(binding.source, await tokenOfNow(own));
  }

  async function detachOne(binding: Binding): Promise<void> {
    await uninstall(await installation(), binding);
    await positions.forget(binding.source);
    await registry.forgetAll(binding.source);
  }

  return {
    name,
    transactions,
    feed,
    collection<Doc extends Document, Id = IdOf<Doc>>(
      collectionName: string,
      collectionOptions: MongoCollectionOptions = {},
    ): MongoCollection<Doc, Id> {
      optionValue((collectionName as string | undefined) ?? '', COLLECTION_NAME, 'mongoStore.collection');
      const {
        key,
        shape: named,
        versionField,
        where,
      } = collectionSettings(collectionName, collectionOptions);
      const { bson = {}, writeConcern = { w: 'majority' }, readPreference, readConcern } = collectionOptions;
      checkBson(db, bson, where);
      const source = `${db.databaseName}.${collectionName}`;
      const known = bindings.get(source);
      if (known !== undefined && (known.keyField !== key || known.versionField !== versionField)) {
        throw new InvalidOptionError(where, 'is bound already, with another key or version field');
      }
      // A read below majority may be rolled back by a failover, and no change event would tell.
      const concern = readConcern ?? { level: writeConcern.w === 'majority' ? 'majority' : 'local' };
      const common = { ...bson, readConcern: concern };
      const reader = db.collection(collectionName, {
        ...common,
        ...(readPreference === undefined ? {} : { readPreference }),
      });
      const binding: Binding = {
        name: `mongodb:${source}`,
        source,
        keyField: key,
        versionField,
        reader,
        primary: db.collection(collectionName, {
          ...common,
          readPreference: ReadPreference.primary,
          writeConcern,
        }),
        tombstones: tombstoneStore,
        clock,
        inTransaction,
        declared: known?.declared ?? new DeclaredFields(),
      };
      if (known === undefined) bindings.set(source, binding);
      const onRecord = (record: SourceDocument | undefined): void =>
        binding.declared.set(record?.declared ?? {});
      const watch = new AttachmentWatch({ mapping: binding, records, clock: systemClock, onRecord });
      const shape = new NamedShape(named, (name) => records.numberOf(source, name), watch);
      return boundCollection<Doc, Id>(binding, {
        replicated: () => replicated,
        transactions,
        feed,
        replicaReads: (reader.readPreference?.mode ?? ReadPreference.PRIMARY) !== ReadPreference.PRIMARY,
        shape,
        watch,
        installation: {
          install: (given) => attachOne(binding, given),
          uninstall: () => detachOne(binding),
          examine: () => examineServer(own),
          repair: async () => {
            await installation();
            return { ...(await repair(binding)), changes: 0 };
          },
        },
        open: async (opening) => {
          await checkInstalled(await installation(), binding, opening);
          await shape.number();
          watch.start(opening.onKept);
        },
        checkIndexes: async (sets) => {
          const indexes = await indexesOf(own.collection(collectionName));
          checkDeclared(binding, sets, indexes, await stateOf({ db: own }, collectionName));
        },
        renew: async () => onRecord(await records.of(source)),
        identity: () => identityOf({ db: own }, tombstones, binding),
        nowMs: () => serverNowMs(own),
      });
    },
    async attach(collections, options) {
      for (const collection of [collections].flat()) await attachOne(bindingOf(collection), options);
    },
    async detach(collections) {
      for (const collection of [collections].flat()) await detachOne(bindingOf(collection));
    },
    async repair(collections) {
      await installation();
      const reports: RepairReport[] = [];
      for (const collection of [collections].flat()) reports.push(await repair(bindingOf(collection)));
      return reports;
    },
    async noteChanges(session, collection, ids, { timeoutMs = OPEN_TIMEOUT_MS } = {}) {
      const tx = transactionOfSession(session);
      if (tx === undefined) {
        throw new InvalidOptionError('noteChanges.session', 'is not the session of a Lockstep transaction');
      }
      await collection.read(
        ids.map((id) => collection.keyOf(id)),
        { timeoutMs, primary: true, tx },
      );
    },
    async close() {
      clock.close();
      await feed.close();
    },
  };
}
