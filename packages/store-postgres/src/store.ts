import { type ChangeFeed, type Clock, InvalidOptionError, type TransactionHost } from '@lockstep/core';
import { type OptionsOf, option, optionValue, withDefaults } from '@lockstep/core/kit';
import type { Knex } from 'knex';
import { attachStatements, detachStatements, fingerprintOf, readAttached } from './attach/attach.js';
import { examineServer } from './attach/examine.js';
import { KEY_STATE, LOOKUP_STATE } from './attach/guard.js';
import { marksOf } from './attach/marks.js';
import { ATTACH, type AttachOptions, describeDeclared, NAME } from './attach/options.js';
import { type RepairedRow, repairStatements } from './attach/repair.js';
import { triggersOf } from './attach/triggers/triggers.js';
import { stateOf, storeError } from './errors.js';
import { PostgresFeed } from './feed/feed.js';
import { FEED, type FeedOptions } from './feed/options.js';
import { describeTable, type Run, type TableInfo, type TableSpec } from './sql/catalog.js';
import { runOn } from './sql/run-on.js';
import { assertMayAttach } from './table/requirements.js';
import { PostgresTable } from './table/table.js';
import { PostgresTransactions } from './transactions/transactions.js';
import { Session } from './wire/session.js';

export interface PostgresStoreOptions {
  /** A knex instance on the `pg` client. It stays yours: closing the store leaves it open. */
  readonly knex: Knex;
  /**
   * Named prepared statements. Turn them off behind a pooler that forbids them.
   * @defaultValue true
   */
  readonly prepared?: boolean;
  /** A replica for reads that may lag; it never takes writes. */
  readonly replica?: Knex;
  /** How long each question may take that `open` asks, in ms. @defaultValue 10000 */
  readonly openTimeoutMs?: number;
  /** The change feed. */
  readonly feed?: FeedOptions;
  /** For tests. @defaultValue the system's */
  readonly clock?: Clock;
}

export interface PostgresTableOptions {
  /**
   * The key's property, or a list of them: a primary key or unique index on exactly these columns, `NOT NULL`, not
   * partial, not deferrable.
   */
  readonly key: string | readonly string[];
  /** The table's schema. @defaultValue 'public' */
  readonly schema?: string;
  /** Property to column, where they differ. @defaultValue every property is the column of its name */
  readonly columns?: Readonly<Record<string, string>>;
  /** The column of the version. @defaultValue 'lockstep_version' */
  readonly versionColumn?: string;
}

/** A table of this store, for `attach`. */
export interface Attachable {
  readonly spec: TableSpec;
}

/** The repairs of one table. */
export interface RepairReport {
  readonly source: string;
  /** How many rows got a new version. */
  readonly rows: number;
  /** How many tombstones were removed. */
  readonly tombstones: number;
  /** How many changes of the feed were recorded anew. */
  readonly changes: number;
  /** The keys of what was repaired, up to 10,000 of each kind. */
  readonly keys: readonly string[];
}

export interface PostgresMigration {
  up(knex: Knex): Promise<void>;
  down(knex: Knex): Promise<void>;
}

const KNEX = option.is<Knex>('a knex instance on the pg client', isKnex);

export const POSTGRES_STORE = {
  knex: option.required(KNEX),
  prepared: option.flag(true),
  replica: KNEX,
  openTimeoutMs: option.integer(10_000, 1, 600_000),
  feed: option.group(FEED),
  clock: option.clock(),
} satisfies OptionsOf<PostgresStoreOptions>;

const KEY = option.is<PostgresTableOptions['key']>('a property, or a list of properties', (key) => {
  const parts: unknown = typeof key === 'string' ? [key] : key;
  return (
    Array.isArray(parts) && parts.length > 0 && parts.every((part) => typeof part === 'string' && part !== '')
  );
});

export const POSTGRES_TABLE = {
  key: option.required(KEY),
  schema: { ...NAME, fallback: 'public' },
  columns: option.is<Readonly<Record<string, string>>>(
    'property to column, each a name of 1 to 63 bytes',
    (columns) => typeof columns === 'object' && columns !== null && Object.values(columns).every(NAME.fits),
  ),
  versionColumn: { ...NAME, fallback: 'lockstep_version' },
} satisfies OptionsOf<PostgresTableOptions>;

/** Tables of one Postgres database as stores. Throws `InvalidOptionError` naming the option. */
export function postgresStore(options: PostgresStoreOptions): PostgresStore {
  return new PostgresStore(options);
}

export class PostgresStore {
  readonly transactions: TransactionHost<Knex.Transaction>;
  readonly feed: ChangeFeed;
  readonly #knex: Knex;
  readonly #clock: Clock;
  readonly #prepared: boolean;
  readonly #session: Session;
  readonly #replica: Session | undefined;
  readonly #database: string;
  readonly #ask: Run;
  readonly #feed: PostgresFeed;
  readonly #listens: boolean;

  constructor(options: PostgresStoreOptions) {
    const settings = withDefaults(options, POSTGRES_STORE, 'postgresStore');
    const { clock, knex, openTimeoutMs, prepared, replica } = settings;
    this.#knex = knex;
    this.#clock = clock;
    this.#prepared = prepared;
    this.#session = new Session(knex, clock);
    this.#replica = replica === undefined ? undefined : new Session(replica, clock, true);
    this.#database = databaseOf(knex);
    this.#ask = (sql, values = []) => this.#session.rows(sql, values, openTimeoutMs, 'open');
    const name = `postgres:${this.#database}`;
    this.transactions = new PostgresTransactions(knex, clock, name, prepared);
    const feed = { ...settings.feed, listen: settings.feed.listen ?? prepared };
    this.#listens = feed.listen;
    this.#feed = new PostgresFeed({ name, knex, session: this.#session, clock, options: feed, prepared });
    this.feed = this.#feed;
  }

  /**
   * Binds a table. Nothing is asked of the database before `open`.
   *
   * @typeParam Row the entity: its properties are the table's columns
   * @typeParam Id a scalar, or for a composite key an object of its properties; the row's `id` where that is the key
   */
  table<Row extends { readonly id: unknown }>(
    name: string,
    options: PostgresTableOptions & { readonly key: 'id' },
  ): PostgresTable<Row, Row['id']>;
  table<Row extends object, Id = string | number>(
    name: string,
    options: PostgresTableOptions,
  ): PostgresTable<Row, Id>;
  table<Row extends object, Id>(name: string, options: PostgresTableOptions): PostgresTable<Row, Id> {
    return new PostgresTable<Row, Id>(specOf(name, options), {
      database: this.#database,
      run: this.#ask,
      session: this.#session,
      replica: this.#replica,
      clock: this.#clock,
      prepared: this.#prepared,
      transactions: this.transactions,
      feed: this.#feed,
      installation: (bound) => ({
        install: (given) => this.attach(bound, given),
        uninstall: () => this.detach(bound),
        examine: () => examineServer(this.#knex, { prepared: this.#prepared, listens: this.#listens }),
        repair: () => this.#repair(bound.spec),
        script: (direction) => (direction === 'install' ? this.attachSql(bound) : this.detachSql(bound)),
      }),
    });
  }

  /**
   * Adds version column, triggers and outbox to existing tables, each in a transaction of its own;
   * does nothing where all is in place. Throws `StoreUnavailableError` when a lock was not to be had in
   * time: nothing has changed then, try again. Throws `InvalidOptionError` for a table that is attached with another
   * key or version column: running applications know its rows by those, so it must be detached first.
   */
  async attach(tables: Attachable | readonly Attachable[], options: AttachOptions = {}): Promise<void> {
    const resolved = withDefaults(options, ATTACH, 'attach');
    for (const { spec } of asList(tables)) {
      const info = await describeDeclared(this.#ask, spec, resolved);
      if (resolved.grantTo.length === 0 && (await isCurrent(this.#ask, info))) continue;
      await assertMayAttach(this.#ask, info);
      await this.#inTransaction(attachStatements(info, resolved), info);
    }
  }

  /** Takes out what `attach` put in. The last table takes the outbox and the schema with it. */
  async detach(tables: Attachable | readonly Attachable[], options: AttachOptions = {}): Promise<void> {
    const resolved = withDefaults(options, ATTACH, 'attach');
    for (const { spec } of asList(tables)) {
      const info = await describeTable(this.#ask, spec);
      await this.#inTransaction(detachStatements(info, resolved), info);
    }
  }

  /**
   * Brings down what has a version that is not believed (none, or more than a day ahead of the database's clock): in
   * rows, tombstones and the feed, each table in one transaction. Nothing else makes a version go down. The changed
   * keys are in the feed, so that the relay removes their entries. Fires the table's own triggers. As a role that runs
   * Lockstep, while nobody is known to write such versions any more.
   */
  async repair(tables: Attachable | readonly Attachable[]): Promise<readonly RepairReport[]> {
    const reports: RepairReport[] = [];
    for (const { spec } of asList(tables)) reports.push(await this.#repair(spec));
    return reports;
  }

  async #repair(spec: TableSpec): Promise<RepairReport> {
    const info = await describeTable(this.#ask, spec);
    if ((await readAttached(this.#ask, info)) === undefined) {
      throw new InvalidOptionError('tables', `${info.source} is not attached to Lockstep: run attach for it`);
    }
    const answers = await this.#inTransaction(repairStatements(info), info);
    const [rows, tombstones, changes] = answers.slice(2, 5).map(([row]) => row as unknown as RepairedRow);
    const keys = [rows, tombstones, changes].flatMap((part) => part?.keys ?? []);
    return {
      source: info.source,
      rows: rows?.n ?? 0,
      tombstones: tombstones?.n ?? 0,
      changes: changes?.n ?? 0,
      keys: [...new Set(keys)],
    };
  }

  /** The statements of `attach`, as a script with a transaction for each table. */
  attachSql(tables: Attachable | readonly Attachable[], options: AttachOptions = {}): Promise<string> {
    const resolved = withDefaults(options, ATTACH, 'attach');
    const describe = (spec: TableSpec) => describeDeclared(this.#ask, spec, resolved);
    return this.#script(tables, async (spec) => attachStatements(await describe(spec), resolved));
  }

  /** The statements of `detach`, as a script with a transaction for each table. */
  detachSql(tables: Attachable | readonly Attachable[], options: AttachOptions = {}): Promise<string> {
    const resolved = withDefaults(options, ATTACH, 'attach');
    const describe = (spec: TableSpec) => describeTable(this.#ask, spec);
    return this.#script(tables, async (spec) => detachStatements(await describe(spec), resolved));
  }

  /** The same as a migration of knex: `export const { up, down } = pg.migration([products])`. */
  migration(tables: Attachable | readonly Attachable[], options: AttachOptions = {}): PostgresMigration {
    const resolved = withDefaults(options, ATTACH, 'attach');
    const run = async (knex: Knex, statements: readonly string[]): Promise<void> => {
      for (const sql of statements) await runOn(knex)(sql);
    };
    return {
      up: async (knex) => {
        for (const { spec } of asList(tables)) {
          await run(knex, attachStatements(await describeDeclared(runOn(knex), spec, resolved), resolved));
        }
      },
      down: async (knex) => {
        for (const { spec } of asList(tables)) {
          await run(knex, detachStatements(await describeTable(runOn(knex), spec), resolved));
        }
      },
    };
  }

  /** Sends waiting acknowledgements and ends the feed. The knex instance stays open. */
  close(): Promise<void> {
    return this.feed.close();
  }

  async #inTransaction(
    statements: readonly string[],
    info: TableInfo,
  ): Promise<(readonly Record<string, unknown>[])[]> {
    try {
      return await this.#knex.transaction(async (trx) => {
        const answers: (readonly Record<string, unknown>[])[] = [];
        await runOn(trx)("SET LOCAL client_encoding TO 'UTF8'");
        for (const sql of statements) answers.push(await runOn(trx)(sql));
        return answers;
      });
    } catch (error) {
      if (stateOf(error) === KEY_STATE) throw new InvalidOptionError('key', (error as Error).message);
      if (stateOf(error) === LOOKUP_STATE) throw new InvalidOptionError('unique', (error as Error).message);
      throw storeError(error, info.source, false);
    }
  }

  async #script(
    tables: Attachable | readonly Attachable[],
    build: (spec: TableSpec) => Promise<string[]>,
  ): Promise<string> {
    const scripts: string[] = [];
    for (const { spec } of asList(tables)) {
      const statements = await build(spec);
      scripts.push(['BEGIN', ...statements, 'COMMIT'].map((sql) => `${sql};`).join('\n'));
    }
    return `${scripts.join('\n\n')}\n`;
  }
}

async function isCurrent(run: Run, info: TableInfo): Promise<boolean> {
  const attached = await readAttached(run, info);
  const complete = triggersOf(info).every((trigger) => info.triggers.includes(trigger.name));
  if (info.weakTriggers.length > 0) return false;
  const { revoked, unmarked } = await marksOf(run, info);
  if (revoked !== '' || unmarked) return false;
  return info.hasVersion && complete && attached?.fingerprint === fingerprintOf(info);
}

function asList(tables: Attachable | readonly Attachable[]): readonly Attachable[] {
  const list = Array.isArray(tables) ? (tables as readonly Attachable[]) : [tables as Attachable];
  for (const table of list) {
    if (typeof table !== 'object' || table === null || typeof table.spec !== 'object') {
      throw new InvalidOptionError('tables', 'must be tables of this store, as pg.table() gives them');
    }
  }
  return list;
}

function specOf(table: string, options: PostgresTableOptions): TableSpec {
  const { schema, versionColumn, ...given } = withDefaults(options, POSTGRES_TABLE, 'table');
  const { columns = {} } = given;
  const key = typeof given.key === 'string' ? [given.key] : given.key;
  optionValue((table as string | undefined) ?? '', NAME, 'table');
  if (new Set(key).size !== key.length) throw new InvalidOptionError('table.key', 'names a property twice');
  return { schema, table, key, columns: { ...columns }, versionColumn };
}

function isKnex(knex: unknown): boolean {
  const client: unknown = typeof knex === 'function' ? (knex as Knex).client : undefined;
  const { dialect, driverName } = (client ?? {}) as { dialect?: unknown; driverName?: unknown };
  return dialect === 'postgresql' && driverName === 'pg';
}

function databaseOf(knex: Knex): string {
  const settings = (
    knex.client as { connectionSettings?: { database?: unknown; connectionString?: unknown } }
  ).connectionSettings;
  if (typeof settings?.database === 'string') return settings.database;
  if (typeof settings?.connectionString === 'string' && URL.canParse(settings.connectionString)) {
    return new URL(settings.connectionString).pathname.slice(1) || 'postgres';
  }
  return 'postgres';
}
