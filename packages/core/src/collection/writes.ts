import type { Collection, NumericField, WriteResult } from '../contracts/api.js';
import type {
  CreateOptions,
  DeleteOptions,
  PatchOptions,
  PutOptions,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { RowPatch, StorePatch } from '../contracts/store.js';
import type { TransactionMode } from '../contracts/transaction-mode.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { type ConflictError, InvalidOptionError } from '../errors.js';
import { type Amount, decimalOf } from '../kit/decimal.js';
import { checkOptions, type OptionTable } from '../kit/options.js';
import { copyOf } from '../values/copy.js';
import { type Difference, differenceOf, isProperties, patched } from '../values/difference.js';
import type { StoreWrite } from '../write/commands.js';
import type { Answer } from '../write/store-commit.js';
import { modeOf } from '../write/transaction-mode.js';
import type { CallContext } from './call-context.js';
import { DELETE, PATCH, PUT, TRANSACT, UPDATE, WRITE } from './call-options.js';
import { patchSet } from './checks.js';
import { Creation } from './creation.js';
import { CollectionInvalidations } from './invalidations.js';
import { commandResult, conflictOf, manyResults, noRow, seen } from './results.js';
import { type RowChange, type RowStep, type UpdatedRow, updateRow } from './update.js';

/** The options of a call without any: there is nothing to check. */
const NO_OPTIONS = {};

/** The public calls of a collection: those that write, beside those that read. */
export class CollectionCalls<Value, Id, Tx>
  extends CollectionInvalidations<Value, Id>
  implements Collection<Value, Id, Tx>
{
  readonly name: string;
  readonly #context: CallContext<Value, Id>;
  readonly #creation: Creation<Value>;

  constructor(context: CallContext<Value, Id>) {
    super(context);
    this.name = context.settings.name;
    this.#context = context;
    this.#creation = new Creation<Value>(context as unknown as CallContext<Value, never>, {
      putOf: (key, value, options) => this.#putOf(key, value, { ...options, ifVersion: null }),
      submit: (write, options) => this.#submit(write, options),
      result: (write, answer) => this.#result(write, answer),
    });
  }

  create(value: Partial<Value>, options: CreateOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#creation.create(value, options);
  }

  put(id: Id, value: Value, options: PutOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, PUT, (key, own) => this.#putOf(key, own, options), value);
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
    const { checks, codec, settings } = this.#context;
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
    return await manyResults(this.name, writes);
  }

  patch(id: Id, partial: RowPatch<Value>, options: PatchOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    const { codec, store } = this.#context;
    return store.capabilities.patch === true && !codec.hasSchema
      ? this.#command(
          ...([id, options, PATCH] as const),
          (key, own) => this.#patchOf(key, { set: patchSet(own, { collection: this.name, key }) }, options),
          partial,
        )
      : this.#patchWhole(id, copyOf(partial), options);
  }

  #patchOf(
    key: string,
    patch: Pick<StorePatch<Value>, 'set' | 'unset'>,
    { ifVersion, ttlMs = this.#context.settings.ttlMs }: PatchOptions,
  ): StoreWrite<Value> {
    const { checks, codec } = this.#context;
    if (ifVersion !== undefined) checks.condition();
    const command = { kind: 'patch', key, ...patch, above: NO_VERSION } as const;
    const bytes = codec.measure(patch.set as Value, key);
    return { key, bytes, command: ifVersion === undefined ? command : { ...command, ifVersion }, ttlMs };
  }

  /** For a store that can't patch, or a schema that has to see the whole row: reads the row and writes it as a whole. */
  #patchWhole(id: Id, partial: RowPatch<Value>, options: PatchOptions): Promise<WriteResult<Value>> {
    return this.#writing(id, options, PATCH, async (key) => {
      const set = patchSet(partial, { collection: this.name, key });
      const { ifVersion } = options;
      const change = (row: Value | undefined, version: Version): Value => {
        if (ifVersion !== undefined && version !== ifVersion) throw this.#conflict(key, ifVersion, version);
        if (row === undefined) throw noRow(this.name, key, 'patch');
        return patched(row, set);
      };
      return await this.#change(key, change, { ...options, fromCache: ifVersion === undefined }, 'patch');
    });
  }

  delete(id: Id, options: DeleteOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, DELETE, (key) => this.#deleteOf(key, options));
  }

  #deleteOf(
    key: string,
    { ifVersion, ttlMs = this.#context.settings.ttlMs }: DeleteOptions,
  ): StoreWrite<Value> {
    if (ifVersion !== undefined) this.#context.checks.condition();
    const command = { kind: 'delete', key, above: NO_VERSION } as const;
    return { key, bytes: 0, command: ifVersion === undefined ? command : { ...command, ifVersion }, ttlMs };
  }

  async deleteMany(ids: Iterable<Id>, options: WriteOptions = {}): Promise<WriteResult<Value>[]> {
    const writes = [...ids].map((id) => this.delete(id, options));
    return await manyResults(this.name, writes);
  }

  increment(
    id: Id,
    field: NumericField<Value>,
    by: Amount,
    options: WriteOptions = NO_OPTIONS,
  ): Promise<WriteResult<Value>> {
    return this.#command(id, options, WRITE, (key) => this.#incrementOf(key, field, by, options));
  }

  #incrementOf(
    key: string,
    field: string,
    by: Amount,
    { ttlMs = this.#context.settings.ttlMs }: WriteOptions,
  ): StoreWrite<Value> {
    const { checks, settings, store } = this.#context;
    if (!store.capabilities.increment) throw checks.unsupported('increment');
    const concerns = { collection: settings.name, key };
    if (typeof field !== 'string' || field === '') {
      throw new InvalidOptionError('field', 'must name a field', concerns);
    }
    if (decimalOf(by) === undefined) {
      const problem = `must be a finite number, a bigint or a decimal text, got ${String(by)}`;
      throw new InvalidOptionError('by', problem, concerns);
    }
    return { key, bytes: 0, command: { kind: 'increment', key, field, by, above: NO_VERSION }, ttlMs };
  }

  async update(id: Id, change: RowChange<Value>, options: UpdateOptions = {}): Promise<WriteResult<Value>> {
    return await this.#writing(id, options, UPDATE, (key) => {
      checkFunction(change, 'change');
      return this.#change(key, (row) => change(row), options, 'update');
    });
  }

  async #change(
    key: string,
    change: RowStep<Value>,
    options: UpdateOptions,
    call: string,
  ): Promise<WriteResult<Value>> {
    const { checks, clock, random, store } = this.#context;
    if (!store.capabilities.compareAndSet) throw checks.unsupported(`${call} (compare-and-set)`);
    const giveUp = new AbortController();
    const { fromCache = UPDATE.fromCache.fallback, retries = UPDATE.retries.fallback } = options;
    const tries = { retries, fromCache, givenUp: giveUp.signal, clock, random };
    const row = this.#rowToUpdate(key, options);
    try {
      return await checks.bounded(() => updateRow(row, change, tries), options);
    } finally {
      giveUp.abort();
    }
  }

  #rowToUpdate(key: string, { ttlMs, tx }: UpdateOptions): UpdatedRow<Value> {
    const inside = tx === undefined ? {} : { tx };
    const writing = ttlMs === undefined ? inside : { ...inside, ttlMs };
    const { activity } = this.#context;
    // A write goes on when the caller has given up.
    const submit = (write: StoreWrite<Value>): Promise<WriteResult<Value>> =>
      activity.track(this.#submit(write, inside).then((answer) => this.#result(write, answer)));
    const put = async (value: Value, ifVersion: Version | null): Promise<WriteResult<Value>> =>
      await submit(await this.#putOf(key, value, { ...writing, ifVersion }));
    return {
      read: (fresh) => this.readWith(key, fresh ? { ...inside, fresh } : inside),
      create: (value) => put(value, null),
      change: async (before, after, ifVersion) => {
        const difference = await this.#difference(key, before, after);
        if (difference === undefined) return await put(after, ifVersion);
        const { set, unset } = difference;
        if (Object.keys(set).length === 0 && unset.length === 0) return undefined;
        const patch = unset.length === 0 ? { set } : { set, unset };
        return await submit(this.#patchOf(key, patch, { ...writing, ifVersion }));
      },
      delete: async (ifVersion) => await submit(this.#deleteOf(key, { ...writing, ifVersion })),
      conflict: (expected, found) => this.#conflict(key, expected, found),
    };
  }

  /** `undefined`: the row is to be put whole. Rejects with `ValidationError`. */
  async #difference(key: string, before: Value, after: Value): Promise<Difference<Value> | undefined> {
    const { codec, store } = this.#context;
    if (!isProperties(before) || !isProperties(after)) return undefined;
    const difference = differenceOf<Value>(before, (await codec.validate(after, key)) as Value & object);
    const added = Object.keys(difference.set).filter((property) => before[property] === undefined);
    // A new property with a dot in its name would be a path.
    if (added.some((property) => property.includes('.'))) return undefined;
    const same = Object.keys(difference.set).length === 0 && difference.unset.length === 0;
    return store.capabilities.patch === true || same ? difference : undefined;
  }

  #conflict(key: string, expected: Version, found: Version): ConflictError {
    return conflictOf(this.name, key, expected, found);
  }

  async write<T>(
    id: Id,
    body: (tx: Tx) => Promise<T>,
    options: WriteOptions & TransactionMode = {},
  ): Promise<WriteResult<Value> & { readonly returned: T }> {
    return await this.#writing(id, options, TRANSACT, async (key) => {
      checkFunction(body, 'body');
      if (options.tx !== undefined) {
        const problem = 'write() opens its own transaction; use tx.client inside yours';
        throw new InvalidOptionError('options.tx', problem);
      }
      const { signal, timeoutMs = this.#context.settings.storeTimeoutMs } = options;
      const bounds = { ...modeOf(options), timeoutMs, signal };
      const { checks, codec, writes } = this.#context;
      const run = (client: unknown): Promise<T> => body(client as Tx);
      return await seen(codec, await writes.inside.transact(key, run, checks.ttl(options), bounds));
    });
  }

  async flush(): Promise<number> {
    const { activity, opening, writes } = this.#context;
    await opening.open();
    return writes.buffer === undefined ? 0 : await activity.track(writes.buffer.flush());
  }

  #submit(write: StoreWrite<Value>, options: WriteOptions): Promise<Answer<Value>> {
    const { activity, checks, writes } = this.#context;
    const { signal, timeoutMs, tx } = options;
    if (tx !== undefined) return writes.inside.submit(write, tx);
    if (signal === undefined && timeoutMs === undefined) return writes.submit(write);
    // The write goes on when the caller has given up.
    return checks.bounded(() => activity.track(writes.submit(write)), options);
  }

  /** Counts a write from its first moment, so that `close` waits for it; wrong calls reject with nothing touched. */
  async #writing<T>(
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    body: (key: string) => Promise<T>,
  ): Promise<T> {
    const { activity } = this.#context;
    activity.enter();
    try {
      if (!this.#context.opening.opened) await this.#context.opening.open();
      return await body(this.#begin(id, options, known));
    } finally {
      activity.leave();
    }
  }

  /**
   * Runs one command as `#writing` does. Hot path: awaits the command once and wraps it in no further promise.
   *
   * @param given taken as it is now: the caller may change it afterwards
   */
  async #command<Given = undefined>(
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: (key: string, own: Given) => StoreWrite<Value> | Promise<StoreWrite<Value>>,
    given?: Given,
  ): Promise<WriteResult<Value>> {
    const { activity, opening } = this.#context;
    activity.enter();
    try {
      const own = copyOf(given) as Given;
      if (!opening.opened) await opening.open();
      const made = writeOf(this.#begin(id, options, known), own);
      const write = made instanceof Promise ? await made : made;
      return this.#result(write, await this.#submit(write, options));
    } finally {
      activity.leave();
    }
  }

  #result(
    { command }: StoreWrite<Value>,
    answer: Answer<Value>,
  ): WriteResult<Value> | Promise<WriteResult<Value>> {
    const { codec } = this.#context;
    const result = commandResult(this.name, command, answer);
    return codec.hasSchema ? seen(codec, result) : result;
  }

  #begin(id: Id, options: WriteOptions, known: OptionTable): string {
    const { checks, lifecycle, opening } = this.#context;
    if (lifecycle.closed) opening.checkOpen();
    if (checks.readOnly) throw checks.notWritable;
    if (options !== NO_OPTIONS) {
      checkOptions(options, known, 'options');
      options.signal?.throwIfAborted();
    }
    return checks.key(id);
  }
}

function checkFunction(given: unknown, name: string): void {
  if (typeof given !== 'function') throw new InvalidOptionError(name, 'must be a function');
}
