import type { Versioned, WriteResult } from '../contracts/api.js';
import type { ReadOneOptions, Transaction, WriteOptions } from '../contracts/options.js';
import type { TransactionHost } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import type { ConflictError } from '../errors.js';
import { isPlain } from '../values/copy.js';
import type { StoreWrite } from '../write/commands.js';
import type { CallContext } from './call-context.js';
import type { Commands } from './commands.js';
import { conflictOf, seen } from './results.js';

/** The other calls, as updates use them. */
export interface UpdateParts<Value> {
  readonly context: CallContext<Value, unknown>;
  readonly commands: Commands<Value>;
  readonly read: (key: string, options: ReadOneOptions) => Promise<Versioned<Value>>;
  readonly write: (write: StoreWrite<Value>, options: WriteOptions) => Promise<WriteResult<Value>>;
}

/** The row of a key, in a transaction or not. Writes reject with `ConflictError` where it is at another version. */
export class RowToUpdate<Value> {
  readonly key: string;
  readonly #parts: UpdateParts<Value>;
  readonly #inside: { readonly tx?: Transaction };

  constructor(parts: UpdateParts<Value>, key: string, tx: Transaction | undefined) {
    this.key = key;
    this.#parts = parts;
    this.#inside = tx === undefined ? {} : { tx };
  }

  /** @param fresh from the store's primary */
  read(fresh: boolean): Promise<Versioned<Value>> {
    return this.#parts.read(this.key, fresh ? { ...this.#inside, fresh } : this.#inside);
  }

  /** True where `locked` may be called. */
  get locks(): boolean {
    const { capabilities, transactions } = this.#parts.context.store;
    return capabilities.locks === true && transactions !== undefined && this.#inside.tx === undefined;
  }

  /**
   * Runs a body that reads and writes the row in a transaction of its own, in which nobody else changes it: perhaps more
   * than once. Resolves with what it has written, once that is committed.
   */
  async locked(
    body: (row: RowToUpdate<Value>, found: Versioned<Value>) => Promise<WriteResult<Value> | undefined>,
  ): Promise<WriteResult<Value> | undefined> {
    const { codec, store, writes } = this.#parts.context;
    const { inside } = writes;
    const { value: written, outcome } = await inside.holding(
      this.key,
      store.transactions as TransactionHost,
      async (tx) => {
        const row = await inside.read(this.key, tx, true);
        const found = { value: row?.value ?? null, version: row?.version ?? NO_VERSION };
        const under = new RowToUpdate(this.#parts, this.key, tx);
        return await body(under, { ...(await seen(codec, found)), from: 'transaction' });
      },
    );
    if (written === undefined) return undefined;
    const { version, cache } = outcome ?? { version: written.version, cache: 'deferred' };
    const late = version !== written.version && written.value !== null;
    // Statements that the transaction had put off until its commit came after the write.
    const { value } = late ? await this.read(true) : written;
    return { ...written, value, version, cache, store: 'committed' };
  }

  create(value: Value, ttlMs: number): Promise<WriteResult<Value>> {
    return this.#put(value, null, ttlMs);
  }

  /** Writes what differs; `undefined`: nothing does, and nothing was sent. */
  async change(
    before: Value,
    after: Value,
    ifVersion: Version,
    ttlMs: number,
  ): Promise<WriteResult<Value> | undefined> {
    const { commands } = this.#parts;
    const difference = await commands.difference(this.key, before, after);
    if (difference === undefined) return await this.#put(after, ifVersion, ttlMs);
    const { set, unset } = difference;
    if (Object.keys(set).length === 0 && unset.length === 0) return undefined;
    const patch = unset.length === 0 ? { set } : { set, unset };
    return await this.#submit(commands.patch(this.key, patch, { ifVersion, ttlMs }));
  }

  async delete(ifVersion: Version, ttlMs: number): Promise<WriteResult<Value>> {
    return await this.#submit(this.#parts.commands.delete(this.key, { ifVersion, ttlMs }));
  }

  /** The error for a row that another writer has changed. */
  conflict(expected: Version, found: Version): ConflictError {
    return conflictOf(this.#parts.context.settings.name, this.key, expected, found);
  }

  /**
   * The row as the next function of the line would find it, had this change been written; `undefined`: nobody can tell
   * before it is. Throws what the change would be refused for before it is sent.
   */
  async foreseen(before: Value | null, after: Value | null): Promise<Value | undefined> {
    const { commands, context } = this.#parts;
    const { codec, settings, store } = context;
    if (before === null || after === null || !settings.batch.coalesce) return undefined;
    const difference = await commands.difference(this.key, before, after);
    if (difference === undefined || difference.unset.length > 0 || !isPlain(before as object))
      return undefined;
    codec.measure(difference.set as Value, this.key);
    return store.returnsAsSent?.(difference.set) === true ? { ...before, ...difference.set } : undefined;
  }

  async #put(value: Value, ifVersion: Version | null, ttlMs: number): Promise<WriteResult<Value>> {
    return await this.#submit(await this.#parts.commands.put(this.key, value, { ifVersion, ttlMs }));
  }

  /** A write goes on when its callers have given up. */
  #submit(write: StoreWrite<Value>): Promise<WriteResult<Value>> {
    return this.#parts.context.activity.track(this.#parts.write(write, this.#inside));
  }
}
