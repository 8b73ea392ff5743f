import type { CollectionBuffer } from '../buffer/buffer.js';
import type { CollectionContext } from '../collection/context.js';
import type { CacheOutcome, TransactionResult, WriteResult } from '../contracts/api.js';
import type { Change } from '../contracts/feed.js';
import type { Transaction } from '../contracts/options.js';
import type {
  StoreOutcome,
  StoreRow,
  StoreTransaction,
  StoreTransactionOptions,
  TransactionHost,
} from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import {
  InvalidOptionError,
  StoreBusyError,
  StoreContractError,
  StoreUnavailableError,
  UnsupportedError,
} from '../errors.js';
import { asStoreError, checkRow } from '../read/loader.js';
import { copyOf } from '../values/copy.js';
import { isMoved, type StoreWrite, stamped } from './commands.js';
import { INSIDE_PATIENCE_MS, type Preparation, usesIntents } from './prepare.js';
import type { CommittedRow, Publication } from './publish.js';
import type { Reservation } from './reservation.js';
import type { Answer } from './store-commit.js';
import {
  type KeyOutcome,
  LockstepTransaction,
  rowOutcomes,
  type TransactionOutcome,
  type TransactionPart,
  type TransactionParticipant,
  type TransactionWrite,
} from './transaction.js';

type InsideBuffer<Value> = Pick<CollectionBuffer<Value>, 'holding' | 'flushKey' | 'commandOf'>;

/** A transaction's turn among those of its key. */
export interface TransactionTurn {
  /** Nobody is before it: until then it does not touch the row. */
  readonly begun: Promise<void>;
  /** The next one may come. */
  readonly committed: () => void;
}

/** A key at the end of a transaction. */
interface KeyChange {
  readonly version: Version;
  /** True: the transaction left no row; `undefined`: the change list does not say. */
  readonly absent?: boolean;
  /** As of `CommittedRow`. */
  readonly written: CommittedRow<unknown>['written'];
}

/** A collection's reads and writes inside transactions: the store at once, the cache after the commit. */
export class TransactionWrites<Value> implements TransactionParticipant {
  readonly name: string;
  readonly source: string;
  readonly versioned: boolean;
  readonly announces: boolean;
  readonly #collection: CollectionContext<Value>;
  readonly #preparation: Preparation<Value>;
  readonly #publication: Publication<Value>;
  readonly #buffer: InsideBuffer<Value> | undefined;

  constructor(
    collection: CollectionContext<Value>,
    preparation: Preparation<Value>,
    publication: Publication<Value>,
    buffer: InsideBuffer<Value> | undefined,
  ) {
    this.name = collection.settings.name;
    this.source = collection.store.source;
    this.versioned = collection.store.capabilities.versioned;
    this.announces = collection.settings.consistency === 'strict';
    this.#collection = collection;
    this.#preparation = preparation;
    this.#publication = publication;
    this.#buffer = buffer;
  }

  /** A call of the store's in the transaction, which changes nothing that is cached. */
  call<T>(tx: Transaction, call: (storeTx: StoreTransaction) => Promise<T>): Promise<T> {
    const { settings, store } = this.#collection;
    return asLockstepTransaction(tx).call(store.transactions, settings.name, call);
  }

  /** Writes at once, alone. */
  submit({ command, key, ttlMs }: StoreWrite<Value>, tx: Transaction): Promise<Answer<Value>> {
    const { clock, settings, store } = this.#collection;
    const inside = asLockstepTransaction(tx);
    return inside.call(store.transactions, settings.name, async (storeTx) => {
      const reservation = await this.#preparation.prepare(key, command, inside.endsAtMs);
      const startedAt = clock.monotonic();
      let outcome: StoreOutcome<Value> | undefined;
      try {
        await this.#enter(key, reservation, storeTx);
        const call = { timeoutMs: settings.storeTimeoutMs, tx: storeTx };
        [outcome] = await store.write([stamped(command, reservation)], call);
        if (outcome?.kind === 'failed') throw outcome.error;
        if (outcome === undefined) throw new StoreContractError(`${store.name}: a write without an outcome`);
      } catch (error) {
        this.#preparation.abandon(key, reservation);
        throw asStoreError(error, settings.name, 'unknown');
      }
      if (outcome.kind === 'written' && !isMoved(key, outcome)) {
        const { value, version } = outcome;
        inside.wrote(this, key, { reservation, value, version, ttlMs, final: false });
        // The caller may change what it gets before the commit.
        outcome = { ...outcome, value: copyOf(value) };
      } else {
        this.#preparation.abandon(key, reservation);
      }
      const storeMs = clock.monotonic() - startedAt;
      return { outcome, cache: 'pending', store: 'pending', coalesced: false, storeMs, cacheMs: 0 };
    });
  }

  /** Behind an intent that runs out, readers can wait for the transaction. */
  async #enter(key: string, { intent }: Reservation, tx: StoreTransaction): Promise<void> {
    const { settings, store } = this.#collection;
    if (intent) await store.fence?.enter([key], { timeoutMs: settings.storeTimeoutMs, tx });
  }

  /** The row at a key as a transaction sees it. */
  read(key: string, tx: Transaction, lock = false): Promise<StoreRow<Value> | undefined> {
    const { settings, store } = this.#collection;
    const inside = asLockstepTransaction(tx);
    return inside.call(store.transactions, settings.name, async (storeTx) => {
      const flushed = await this.#flush(key, inside, storeTx);
      const call = { timeoutMs: settings.storeTimeoutMs, primary: true, tx: storeTx, flushed, lock };
      const [row] = await store.read([key], call);
      const problem = checkRow(row, key, store);
      if (problem !== undefined) throw problem;
      return row;
    });
  }

  /**
   * Brings the key's buffered write into the store before it is read. Where others hold the row it is flushed in the
   * transaction, which may hold it itself: otherwise each would wait for the other. True: it was flushed outside.
   */
  async #flush(key: string, inside: LockstepTransaction, tx: StoreTransaction): Promise<boolean> {
    const buffer = this.#buffer;
    const { settings, store } = this.#collection;
    // The transaction has locked the rows that it has written itself.
    const { flushed, writes } = inside.partOf(this);
    if (buffer === undefined || writes.has(key) || flushed.has(key)) return false;
    try {
      await buffer.flushKey(key, INSIDE_PATIENCE_MS);
      return true;
    } catch (error) {
      if (!(error instanceof StoreBusyError)) throw error;
      const command = await buffer.commandOf(key);
      if (command === undefined) return true;
      const [outcome] = await store.write([command], { timeoutMs: settings.storeTimeoutMs, tx });
      if (outcome?.kind === 'failed') throw outcome.error;
      flushed.add(key);
      return false;
    }
  }

  /**
   * A transaction of its own, in which the row can be read under its lock, and written. Returns what became of the key,
   * too: nothing, if nothing of it was changed.
   */
  async holding<T>(
    key: string,
    host: TransactionHost,
    body: (tx: LockstepTransaction) => Promise<T>,
  ): Promise<{ readonly value: T; readonly outcome: KeyOutcome | undefined }> {
    const buffer = this.#buffer;
    const { settings, transaction } = this.#collection;
    await buffer?.flushKey(key);
    const options = { timeoutMs: settings.storeTimeoutMs };
    const run = (): ReturnType<typeof transaction<T>> => transaction(host, body, options);
    const { value, outcome } = await (buffer?.holding(key, run) ?? run());
    return { value, outcome: outcome.get(this)?.get(key) };
  }

  /** The caller's own statements in a transaction, then the row at the key into the cache. */
  async transact<T>(
    key: string,
    body: (client: unknown) => Promise<T>,
    ttlMs: number,
    turn: TransactionTurn,
    options: StoreTransactionOptions,
  ): Promise<WriteResult<Value> & TransactionResult<T>> {
    const buffer = this.#buffer;
    const { settings, store, transaction } = this.#collection;
    const { transactions: host } = store;
    if (host === undefined) {
      throw new UnsupportedError(`collection "${settings.name}": ${store.name} has no transactions`);
    }
    // Before the transaction holds a connection: flushing needs one, too.
    await buffer?.flushKey(key);
    let row: StoreRow<Value> | undefined;
    let unreadable: unknown;
    const inTransaction = (): Promise<{ readonly value: T; readonly outcome: TransactionOutcome }> =>
      transaction(
        host,
        async (tx) => {
          await turn.begun;
          const reservation = await this.#preparation.prepare(key, undefined, tx.endsAtMs);
          const note = (value: Value | null, version: Version): void =>
            tx.wrote(this, key, { reservation, value, version, ttlMs, final: true });
          // Noted before the caller's statements, too, so that a failure gives the reservation back.
          note(null, NO_VERSION);
          await tx.call(host, settings.name, (storeTx) => this.#enter(key, reservation, storeTx));
          const result = await body(tx.client);
          const call = { timeoutMs: settings.storeTimeoutMs };
          const later = await tx.call(host, settings.name, async (storeTx) =>
            store.readWithCommit?.(key, { ...call, tx: storeTx }),
          );
          const found = (read: StoreRow<Value> | undefined): void => {
            row = read;
            note(read?.value ?? null, read?.version ?? NO_VERSION);
          };
          if (later === undefined) found(await this.read(key, tx));
          tx.partOf(this).committed = () => {
            // Under intents a writer's value is placed only where no other writer of the key is under way.
            if (!usesIntents(this.#collection)) turn.committed();
            if (later === undefined) return;
            try {
              const read = later();
              unreadable = checkRow(read, key, store);
              if (unreadable === undefined) found(read);
            } catch (error) {
              unreadable = error;
            }
          };
          return result;
        },
        options,
      );
    const { value: returned, outcome } = await (buffer?.holding(key, inTransaction) ?? inTransaction());
    if (unreadable !== undefined) {
      const message = `collection "${settings.name}", key "${key}": committed, but the row can't be read`;
      throw new StoreUnavailableError(message, 'unknown', {
        collection: settings.name,
        key,
        cause: unreadable,
      });
    }
    const { version, cache } = outcome.get(this)?.get(key) ?? { version: NO_VERSION, cache: 'deferred' };
    if (row !== undefined && version !== NO_VERSION && row.version !== version) {
      // Statements that the transaction had put off until its commit came after the row was read.
      const call = { timeoutMs: settings.storeTimeoutMs, primary: true };
      [row] = await store.read([key], call).catch(() => [row]);
    }
    const result = {
      value: row?.value ?? null,
      version,
      cache,
      store: 'committed',
      coalesced: false,
    } as const;
    return { ...result, returned, outcomes: rowOutcomes(outcome) };
  }

  async publishTransaction(
    changes: readonly Change[],
    { committed, writes }: TransactionPart,
    storeMs: number,
  ): Promise<ReadonlyMap<string, KeyOutcome>> {
    committed?.();
    const keys = new Map<string, KeyChange>();
    for (const { key, op, texts, version } of changes) {
      keys.set(key, { version, absent: op === 'delete', written: { texts } });
    }
    // Only of rows that are kept in step does the list tell all changes.
    const { member, store } = this.#collection;
    const listed = store.capabilities.versioned && member?.suspended !== true;
    const written = listed ? undefined : {};
    for (const [key, { final, version }] of writes) {
      // A write that is no change was taken back, with a savepoint: its value is nobody's.
      if (!keys.has(key)) keys.set(key, { version: final ? version : NO_VERSION, written });
    }
    const publishing = [...keys].map(async ([key, change]) => {
      const { version } = change;
      const cache = await this.#publish(key, writes.get(key), change, storeMs);
      return [key, { version, cache }] as const;
    });
    return new Map(await Promise.all(publishing));
  }

  async #publish(
    key: string,
    write: TransactionWrite | undefined,
    { absent, version, written }: KeyChange,
    storeMs: number,
  ): Promise<CacheOutcome> {
    const { clock, events, settings, store, tally } = this.#collection;
    const startedAt = clock.monotonic();
    // Without a version there is no change.
    const changed = version !== NO_VERSION || !store.capabilities.versioned;
    // A deletion's own version may be known only from the change list; another statement may have put the row back.
    const current =
      write !== undefined && (write.value === null ? absent !== false : write.version === version);
    let cache: CacheOutcome;
    if (current && changed) {
      const row = { ...write, key, version, value: write.value as Value | null, written };
      cache = await new Promise((published) => this.#publication.publishRow(row, published));
    } else {
      if (write !== undefined) this.#preparation.abandon(key, write.reservation);
      cache = await this.#publication.invalidate(key, version, false, written);
    }
    if (changed) tally.writes[cache]++;
    if (events.write.wanted && changed) {
      const cacheMs = clock.monotonic() - startedAt;
      const of = { collection: settings.name, key, version, op: 'transaction', store: 'committed' } as const;
      events.write.emit({ ...of, cache, storeMs, cacheMs });
    }
    return cache;
  }

  async announceTransaction(changes: readonly Change[], tx: LockstepTransaction): Promise<void> {
    const { writes } = tx.partOf(this);
    const announcing = changes.map(async ({ key }) => {
      if (writes.has(key)) return;
      const reservation = await this.#preparation.prepare(key, undefined, tx.endsAtMs);
      // The row's value is not known here: the key gets a floor.
      tx.wrote(this, key, { reservation, value: undefined, version: NO_VERSION, ttlMs: 0, final: false });
    });
    await Promise.all(announcing);
  }

  abandonTransaction(key: string, reservation: Reservation): void {
    this.#preparation.abandon(key, reservation);
  }
}

export function asLockstepTransaction(tx: Transaction): LockstepTransaction {
  if (tx instanceof LockstepTransaction) return tx;
  throw new InvalidOptionError('options.tx', 'must be the transaction that lockstep.transaction() hands out');
}
