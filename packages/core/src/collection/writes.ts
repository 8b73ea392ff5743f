import type { CacheOutcome, WriteResult } from '../contracts/api.js';
import type {
  DeleteOptions,
  InvalidateOptions,
  PutOptions,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { TransactionMode } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import { InvalidOptionError } from '../errors.js';
import { checkOptions, type OptionTable } from '../kit/options.js';
import type { StoreWrite } from '../write/commands.js';
import type { Answer } from '../write/store-commit.js';
import { modeOf } from '../write/transaction-mode.js';
import { DELETE, INVALIDATE, PUT, TRANSACT, UPDATE, WRITE } from './call-options.js';
import type { CollectionParts } from './parts.js';
import type { CollectionReads } from './reads.js';
import { commandResult, manyResults, worstOf } from './results.js';
import { type RowChange, type UpdatedRow, updateRow } from './update.js';

/** What a call without options has: nothing to check. */
const NO_OPTIONS = {};

/** The calls of a collection that write. */
export class CollectionWrites<Value, Id> {
  readonly #parts: CollectionParts<Value, Id>;
  readonly #reads: CollectionReads<Value, Id>;

  constructor(parts: CollectionParts<Value, Id>, reads: CollectionReads<Value, Id>) {
    this.#parts = parts;
    this.#reads = reads;
  }

  put(id: Id, value: Value, options: PutOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, PUT, (key) => this.#putOf(key, value, options));
  }

  /**
   * The value as it will be written, if it can be encoded; a promise only where the schema validates asynchronously,
   * so that a caller's writes of one key keep their order. Throws `ValidationError`, `InvalidOptionError`.
   */
  #putOf(
    key: string,
    value: Value,
    { ifVersion, ttlMs }: PutOptions,
  ): StoreWrite<Value> | Promise<StoreWrite<Value>> {
    const { checks, codec, settings } = this.#parts;
    if (ifVersion !== undefined) checks.condition();
    if (value === undefined || value === null) {
      const problem = `must not be ${String(value)}; use delete()`;
      throw new InvalidOptionError('value', problem, { collection: settings.name, key });
    }
    const writeOf = (valid: Value): StoreWrite<Value> => {
      const put = { kind: 'put', key, value: valid, above: NO_VERSION } as const;
      const command = ifVersion === undefined ? put : { ...put, ifVersion };
      return { key, bytes: codec.measure(valid, key), command, ttlMs: ttlMs ?? settings.ttlMs };
    };
    const valid = codec.validate(value, key);
    return valid instanceof Promise ? valid.then(writeOf) : writeOf(valid);
  }

  async putMany(
    entries: Iterable<readonly [Id, Value]>,
    options: WriteOptions = {},
  ): Promise<WriteResult<Value>[]> {
    const writes = [...entries].map(([id, value]) => this.put(id, value, options));
    return await manyResults(this.#parts.settings.name, writes);
  }

  delete(id: Id, options: DeleteOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, DELETE, (key) => this.#deleteOf(key, options));
  }

  #deleteOf(
    key: string,
    { ifVersion, ttlMs = this.#parts.settings.ttlMs }: DeleteOptions,
  ): StoreWrite<Value> {
    if (ifVersion !== undefined) this.#parts.checks.condition();
    const command = { kind: 'delete', key, above: NO_VERSION } as const;
    return { key, bytes: 0, command: ifVersion === undefined ? command : { ...command, ifVersion }, ttlMs };
  }

  async deleteMany(ids: Iterable<Id>, options: WriteOptions = {}): Promise<WriteResult<Value>[]> {
    const writes = [...ids].map((id) => this.delete(id, options));
    return await manyResults(this.#parts.settings.name, writes);
  }

  increment(
    id: Id,
    field: keyof Value & string,
    by: number,
    options: WriteOptions = NO_OPTIONS,
  ): Promise<WriteResult<Value>> {
    return this.#command(id, options, WRITE, (key) => this.#incrementOf(key, field, by, options));
  }

  #incrementOf(
    key: string,
    field: string,
    by: number,
    { ttlMs = this.#parts.settings.ttlMs }: WriteOptions,
  ): StoreWrite<Value> {
    const { checks, settings, store } = this.#parts;
    if (!store.capabilities.increment) throw checks.unsupported('increment');
    const concerns = { collection: settings.name, key };
    if (typeof field !== 'string' || field === '') {
      throw new InvalidOptionError('field', 'must name a field', concerns);
    }
    if (typeof by !== 'number' || !Number.isFinite(by)) {
      throw new InvalidOptionError('by', `must be a finite number, got ${String(by)}`, concerns);
    }
    return { key, bytes: 0, command: { kind: 'increment', key, field, by, above: NO_VERSION }, ttlMs };
  }

  async update(id: Id, change: RowChange<Value>, options: UpdateOptions = {}): Promise<WriteResult<Value>> {
    return await this.#writing(id, options, UPDATE, async (key) => {
      if (!this.#parts.store.capabilities.compareAndSet) {
        throw this.#parts.checks.unsupported('update (compare-and-set)');
      }
      const { clock, random } = this.#parts.context;
      const giveUp = new AbortController();
      const { fromCache = UPDATE.fromCache.fallback, retries = UPDATE.retries.fallback } = options;
      const tries = { retries, fromCache, givenUp: giveUp.signal };
      const row = this.#rowToUpdate(key, options);
      const updating = (): Promise<WriteResult<Value>> => updateRow(row, change, { ...tries, clock, random });
      try {
        return await this.#parts.checks.bounded(updating, options);
      } finally {
        giveUp.abort();
      }
    });
  }

  #rowToUpdate(key: string, { ttlMs, tx }: UpdateOptions): UpdatedRow<Value> {
    const inside = tx === undefined ? {} : { tx };
    const writing = ttlMs === undefined ? inside : { ...inside, ttlMs };
    const { context, settings } = this.#parts;
    const submit = async (
      write: StoreWrite<Value> | Promise<StoreWrite<Value>>,
    ): Promise<WriteResult<Value>> => {
      const made = await write;
      return commandResult(settings.name, made.command, await this.#submit(made, inside));
    };
    return {
      read: (fresh) => this.#reads.readWith(key, fresh ? { ...inside, fresh } : inside),
      // A write goes on when the caller has given up.
      put: (value, ifVersion) =>
        context.activity.track(submit(this.#putOf(key, value, { ...writing, ifVersion }))),
      delete: (ifVersion) => context.activity.track(submit(this.#deleteOf(key, { ...writing, ifVersion }))),
    };
  }

  async write<T>(
    id: Id,
    body: (client: unknown) => Promise<T>,
    options: WriteOptions & TransactionMode = {},
  ): Promise<WriteResult<Value> & { readonly returned: T }> {
    return await this.#writing(id, options, TRANSACT, async (key) => {
      if (options.tx !== undefined) {
        const problem = 'write() opens its own transaction; use tx.client inside yours';
        throw new InvalidOptionError('options.tx', problem);
      }
      const { signal, timeoutMs = this.#parts.settings.storeTimeoutMs } = options;
      const bounds = { ...modeOf(options), timeoutMs, signal };
      return await this.#parts.writes.inside.transact(key, body, this.#parts.checks.ttl(options), bounds);
    });
  }

  async invalidate(id: Id | readonly Id[], options?: InvalidateOptions): Promise<CacheOutcome> {
    const { checks } = this.#parts;
    return await this.#invalidate(
      () => (Array.isArray(id) ? checks.keys(id) : [checks.key(id as Id)]),
      options,
    );
  }

  async invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<CacheOutcome> {
    return await this.#invalidate(() => [...ids].map((id) => this.#parts.checks.key(id)), options);
  }

  async #invalidate(keysOf: () => string[], options: InvalidateOptions = {}): Promise<CacheOutcome> {
    const { checks, context, opening, writes } = this.#parts;
    if (!opening.opened) await opening.open();
    opening.checkOpen();
    checkOptions(options, INVALIDATE, 'options');
    options.signal?.throwIfAborted();
    const keys = keysOf();
    const all = (): Promise<CacheOutcome[]> =>
      context.activity.track(Promise.all(keys.map((key) => writes.invalidate(key))));
    return worstOf(await checks.bounded(all, options));
  }

  async flush(): Promise<number> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    const { buffer } = this.#parts.writes;
    return buffer === undefined ? 0 : await this.#parts.context.activity.track(buffer.flush());
  }

  #submit(write: StoreWrite<Value>, options: WriteOptions): Promise<Answer<Value>> {
    const { checks, context, writes } = this.#parts;
    const { signal, timeoutMs, tx } = options;
    if (tx !== undefined) return writes.inside.submit(write, tx);
    if (signal === undefined && timeoutMs === undefined) return writes.submit(write);
    // It goes on when the caller has given up.
    return checks.bounded(() => context.activity.track(writes.submit(write)), options);
  }

  /** Counts a write from its first moment, so that `close` waits for it; wrong calls reject with nothing touched. */
  async #writing<T>(
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    body: (key: string) => Promise<T>,
  ): Promise<T> {
    const { activity } = this.#parts.context;
    activity.enter();
    try {
      if (!this.#parts.opening.opened) await this.#parts.opening.open();
      return await body(this.#begin(id, options, known));
    } finally {
      activity.leave();
    }
  }

  /** As `#writing`, for one command. Hot path: awaits the command once and wraps it in no further promise. */
  async #command(
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: (key: string) => StoreWrite<Value> | Promise<StoreWrite<Value>>,
  ): Promise<WriteResult<Value>> {
    const { context, opening, settings } = this.#parts;
    context.activity.enter();
    try {
      if (!opening.opened) await opening.open();
      const made = writeOf(this.#begin(id, options, known));
      const write = made instanceof Promise ? await made : made;
      return commandResult(settings.name, write.command, await this.#submit(write, options));
    } finally {
      context.activity.leave();
    }
  }

  #begin(id: Id, options: WriteOptions, known: OptionTable): string {
    const { checks, context, opening } = this.#parts;
    if (context.lifecycle.closed) opening.checkOpen();
    if (options !== NO_OPTIONS) {
      checkOptions(options, known, 'options');
      options.signal?.throwIfAborted();
    }
    return checks.key(id);
  }
}
