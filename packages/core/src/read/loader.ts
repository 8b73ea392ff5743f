import type { CollectionContext } from '../collection/context.js';
import { withinStoreTime } from '../collection/store-time.js';
import type { Versioned } from '../contracts/api.js';
import type { StoreAdapter, StoreRow } from '../contracts/store.js';
import { isVersion, NO_VERSION } from '../contracts/version.js';
import {
  LockstepError,
  messageOf,
  StoreContractError,
  StoreOverloadedError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../errors.js';
import { type Answered, Batcher } from '../kit/batcher.js';
import { concerning, ofOneRow } from '../kit/concerning.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { copyOf } from '../values/copy.js';

/** A load that was not sent yet, shared by all who ask for its key. */
interface PendingLoad<Value> {
  readonly key: string;
  primary: boolean;
  readonly row: Promise<StoreRow<Value> | undefined>;
  readonly answered: Answered<StoreRow<Value> | undefined>;
}

const MAX_BATCH = 512;

/**
 * Loads rows: what is asked for in one turn travels in one statement, behind a bulkhead, so that a dead
 * cache does not become a dead database. Readers may share a load that was not sent yet, never one that was: it may
 * have read before a write that they must see. So at most one load of a key is under way, and at most one, for all
 * who came since, waits for it to end.
 */
export class Loader<Value> {
  readonly #context: CollectionContext<Value>;
  readonly #batcher: Batcher<PendingLoad<Value>, StoreRow<Value> | undefined>;
  readonly #unsent = new Map<string, PendingLoad<Value>>();
  readonly #underWay = new Set<string>();
  /** How many loads the store has answered, be it with an error. */
  answers = 0;

  constructor(context: CollectionContext<Value>) {
    const { adapter, clock, settings, store } = context;
    this.#context = context;
    this.#batcher = new Batcher({
      waitsForTurn: adapter.local ? 'never' : 'always',
      maxItems: (store.capabilities.readBatching ?? store.capabilities.batching) ? MAX_BATCH : 1,
      maxInFlight: settings.maxConcurrentLoads,
      clock,
      errorOf: (error) => asStoreError(error, settings.name, 'not-committed'),
      call: (loads) => this.#called(loads),
      ended: (loads) => this.#ended(loads),
    });
  }

  /** The row at a key, or `undefined`. Rejects with a `StoreError`. */
  load(key: string, primary: boolean): Promise<StoreRow<Value> | undefined> {
    const same = this.#unsent.get(key);
    if (same !== undefined) {
      same.primary ||= primary;
      // Each reader that shares a load gets a copy of its own, made before any of them goes on.
      return same.row.then((row) => this.#ownRow(row));
    }
    const { maxQueuedLoads, name: collection } = this.#context.settings;
    if (this.#unsent.size >= maxQueuedLoads) {
      const message = `collection "${collection}": ${maxQueuedLoads} loads already wait for the store (maxQueuedLoads)`;
      return Promise.reject(new StoreOverloadedError(message, { collection, key }));
    }
    const { promise: row, resolve, reject } = Promise.withResolvers<StoreRow<Value> | undefined>();
    const answered: PendingLoad<Value>['answered'] = (answer) =>
      answer instanceof Error ? reject(answer) : resolve(answer);
    const pending = { key, primary, row, answered };
    this.#unsent.set(key, pending);
    if (!this.#underWay.has(key)) this.#batcher.add(pending, answered);
    return row;
  }

  #ownRow(row: StoreRow<Value> | undefined): StoreRow<Value> | undefined {
    if (row === undefined) return undefined;
    const value = copyOf(row.value);
    this.#context.store.carrier?.copied?.(row.value, value);
    return { ...row, value };
  }

  /** The store alone: fills nothing. No floor tells whether a replica lags, so the primary is asked. */
  async loadOnly(key: string): Promise<Versioned<Value>> {
    return versioned(await this.load(key, true));
  }

  /** A failure reaches all readers of a call, each with an error of its own. */
  async #called(
    loads: readonly PendingLoad<Value>[],
  ): Promise<readonly (StoreRow<Value> | undefined | Error)[]> {
    const { name: collection } = this.#context.settings;
    try {
      const rows = await this.#read(loads);
      this.answers += 1;
      return rows;
    } catch (error) {
      const known = asStoreError(error, collection, 'not-committed');
      if (!isAway(known)) this.answers += 1;
      const own = loads.length === 1 ? concerning : ofOneRow;
      return loads.map(({ key }) => own(known, { collection, key }));
    }
  }

  async #read(loads: readonly PendingLoad<Value>[]): Promise<(StoreRow<Value> | undefined | Error)[]> {
    const { clock, events, settings, store, tally } = this.#context;
    for (const { key } of loads) {
      this.#unsent.delete(key);
      this.#underWay.add(key);
    }
    const startedAt = clock.monotonic();
    const keys = loads.map(({ key }) => key);
    // A batch that needs the primary for some rows reads all of it there: one statement, none older.
    const primary = loads.some((load) => load.primary);
    const read = () =>
      withinStoreTime(this.#context, store.read(keys, { timeoutMs: settings.storeTimeoutMs, primary }));
    const rows = await (TRACES.load.hasSubscribers
      ? traced('load', { collection: settings.name, keys: keys.length }, read)
      : read());
    tally.loads++;
    tally.loadedRows += keys.length;
    if (events.load.wanted) {
      const durationMs = clock.monotonic() - startedAt;
      events.load.emit({ collection: settings.name, keys: keys.length, durationMs });
    }
    const { name: collection } = settings;
    return keys.map((key, i) => {
      const problem = checkRow(rows[i], key, store);
      return problem === undefined ? rows[i] : concerning(problem, { collection });
    });
  }

  #ended(loads: readonly PendingLoad<Value>[]): void {
    for (const { key } of loads) {
      this.#underWay.delete(key);
      const parked = this.#unsent.get(key);
      if (parked !== undefined) this.#batcher.add(parked, parked.answered);
    }
  }
}

/** The result of a read that the store has answered. */
export function versioned<Value>(row: StoreRow<Value> | undefined): Versioned<Value> {
  return row === undefined
    ? { value: null, version: NO_VERSION, from: 'store' }
    : { value: row.value, version: row.version, from: 'store' };
}

/** Checks the key and the version of a store's row; `undefined`: both are right. */
export function checkRow<Value>(
  row: StoreRow<Value> | undefined,
  key: string,
  store: StoreAdapter<Value, never>,
): StoreContractError | undefined {
  if (row === undefined) return undefined;
  if (row.key !== key) {
    const got = row.key === undefined ? 'no key' : `key "${row.key}"`;
    return new StoreContractError(`${store.name}: asked for key "${key}", got a row with ${got}`, { key });
  }
  return store.capabilities.versioned ? checkVersion(row.version, key, store) : undefined;
}

/** A version from a versioned store must be one. */
export function checkVersion(
  version: unknown,
  key: string,
  store: { readonly name: string },
): StoreContractError | undefined {
  if (isVersion(version)) return undefined;
  return new StoreContractError(
    `${store.name}: row "${key}" came without a version that can be believed (got ${String(version)}): is the table attached, or does it need repair?`,
    { key },
  );
}

/** True when what the store failed to answer, or to confirm, may have been committed. */
export function mayHaveCommitted(error: unknown): boolean {
  return (
    error instanceof StoreTimeoutError ||
    (error as { outcome?: unknown } | null | undefined)?.outcome === 'unknown'
  );
}

/** True when the store could not be asked. */
export function isAway(error: unknown): boolean {
  return (
    error instanceof StoreUnavailableError ||
    error instanceof StoreTimeoutError ||
    error instanceof StoreOverloadedError
  );
}

/** Foreign errors become `StoreUnavailableError`; ours pass. */
export function asStoreError(
  error: unknown,
  collection: string,
  outcome: 'not-committed' | 'unknown',
): LockstepError {
  if (error instanceof LockstepError) return error;
  const message = messageOf(error);
  return new StoreUnavailableError(`collection "${collection}": ${message}`, outcome, {
    cause: error,
    collection,
  });
}
