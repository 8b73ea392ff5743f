import type { CacheOutcome, WriteResult } from '../contracts/api.js';
import type {
  DeleteOptions,
  InvalidateOptions,
  PutOptions,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { StoreCommand, TransactionMode } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { InvalidOptionError, StoreRefusedError } from '../errors.js';

import { checkOptions, type OptionTable } from '../kit/options.js';

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
    return this.#commanding(id, options, PUT, (key) => this.#put(key, value, options));
  }

  #put(key: string, value: Value, options: PutOptions): Promise<Answer<Value>> {
    const { ifVersion } = options;
    if (ifVersion !== undefined) this.#parts.checks.condition();
    const submit = (valid: Value): Promise<Answer<Value>> => {
      const put = { kind: 'put', key, value: valid, above: NO_VERSION } as const;
      const bytes = this.#parts.codec.measure(valid, key);
      return this.#submit(ifVersion === undefined ? put : { ...put, ifVersion }, bytes, options);
    };
    const validating = this.#validate(key, value);
    return validating instanceof Promise ? validating.then(submit) : submit(validating);
  }

  async putMany(
    entries: Iterable<readonly [Id, Value]>,
    options: WriteOptions = {},
  ): Promise<WriteResult<Value>[]> {
    const writes = [...entries].map(([id, value]) => this.put(id, value, options));
    return await manyResults(this.#parts.settings.name, writes);
  }

  delete(id: Id, options: DeleteOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#commanding(id, options, DELETE, (key) => this.#delete(key, options));
  }

  #delete(key: string, options: DeleteOptions): Promise<Answer<Value>> {
    const { ifVersion } = options;
    if (ifVersion !== undefined) this.#parts.checks.condition();
    const command = { kind: 'delete', key, above: NO_VERSION } as const;
    return this.#submit(ifVersion === undefined ? command : { ...command, ifVersion }, 0, options);
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
    return this.#commanding(id, options, WRITE, (key) => this.#increment(key, field, by, options));
  }

  #increment(key: string, field: string, by: number, options: WriteOptions): Promise<Answer<Value>> {
    if (!this.#parts.store.capabilities.increment) throw this.#parts.checks.unsupported('increment');
    const concerns = { collection: this.#parts.settings.name, key };
    if (typeof field !== 'string' || field === '') {
      throw new InvalidOptionError('field', 'must name a field', concerns);
    }
    if (typeof by !== 'number' || !Number.isFinite(by)) {
      throw new InvalidOptionError('by', `must be a finite number, got ${String(by)}`, concerns);
    }
    const command = { kind: 'increment', key, field, by, above: NO_VERSION } as const;
    return this.#submit(command, 0, options).then((answer) => {
      if (answer.outcome.kind !== 'missing') return answer;
      const message = `collection "${this.#parts.settings.name}": no row "${key}" to increment`;
      throw new StoreRefusedError(message, concerns);
    });
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
    // A write goes on when the caller has given up.
    const result = async (
      writing: Promise<Answer<Value>>,
      ifVersion: Version | null,
    ): Promise<WriteResult<Value>> =>
      commandResult(
        this.#parts.settings.name,
        key,
        await this.#parts.context.activity.track(writing),
        ifVersion,
      );
    return {
      read: (fresh) => this.#reads.readWith(key, fresh ? { ...inside, fresh } : inside),
      put: (value, ifVersion) => result(this.#put(key, value, { ...writing, ifVersion }), ifVersion),
      delete: (ifVersion) => result(this.#delete(key, { ...writing, ifVersion }), ifVersion),
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

  async invalidate(id: Id | readonly Id[], options: InvalidateOptions = {}): Promise<CacheOutcome> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    checkOptions(options, INVALIDATE, 'options');
    options.signal?.throwIfAborted();
    const ids = Array.isArray(id) ? (id as readonly Id[]) : [id as Id];
    const keys = ids.map((one) => this.#parts.checks.key(one));
    const all = (): Promise<CacheOutcome[]> =>
      this.#parts.context.activity.track(Promise.all(keys.map((key) => this.#parts.writes.invalidate(key))));
    return worstOf(await this.#parts.checks.bounded(all, options));
  }

  async flush(): Promise<number> {
    if (!this.#parts.opening.opened) await this.#parts.opening.open();
    this.#parts.opening.checkOpen();
    const { buffer } = this.#parts.writes;
    return buffer === undefined ? 0 : await this.#parts.context.activity.track(buffer.flush());
  }

  #submit(command: StoreCommand<Value>, bytes: number, options: WriteOptions): Promise<Answer<Value>> {
    const ttlMs = this.#parts.checks.ttl(options);
    const { signal, timeoutMs, tx } = options;
    if (tx !== undefined) return this.#parts.writes.inside.submit(command, ttlMs, tx);
    if (signal === undefined && timeoutMs === undefined)
      return this.#parts.writes.submit(command, bytes, ttlMs);
    // It goes on when the caller has given up.
    const submit = (): Promise<Answer<Value>> =>
      this.#parts.context.activity.track(this.#parts.writes.submit(command, bytes, ttlMs));
    return this.#parts.checks.bounded(submit, options);
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
  async #commanding(
    id: Id,
    options: PutOptions,
    known: OptionTable,
    submit: (key: string) => Promise<Answer<Value>>,
  ): Promise<WriteResult<Value>> {
    const { activity } = this.#parts.context;
    activity.enter();
    try {
      if (!this.#parts.opening.opened) await this.#parts.opening.open();
      const key = this.#begin(id, options, known);
      return commandResult(this.#parts.settings.name, key, await submit(key), options.ifVersion);
    } finally {
      activity.leave();
    }
  }

  #begin(id: Id, options: WriteOptions, known: OptionTable): string {
    this.#parts.opening.checkOpen();
    if (options !== NO_OPTIONS) {
      checkOptions(options, known, 'options');
      options.signal?.throwIfAborted();
    }
    return this.#parts.checks.key(id);
  }

  /**
   * The value as it will be written, if it can be encoded; a promise only where the schema validates
   * asynchronously, so that a caller's writes of one key keep their order. Throws `ValidationError`,
   * `InvalidOptionError`.
   */
  #validate(key: string, value: Value): Value | Promise<Value> {
    if (value !== undefined && value !== null) return this.#parts.codec.validate(value, key);
    const problem = `must not be ${String(value)}; use delete()`;
    throw new InvalidOptionError('value', problem, { collection: this.#parts.settings.name, key });
  }
}
