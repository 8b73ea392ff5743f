import type { Collection, TransactionResult, WriteResult } from '../contracts/api.js';
import type { NumericField } from '../contracts/numeric.js';
import type {
  CreateOptions,
  DeleteOptions,
  IncrementOptions,
  PatchOptions,
  PutOptions,
  UpdateOptions,
  WriteOptions,
} from '../contracts/options.js';
import type { RowPatch } from '../contracts/store.js';
import type { TransactionMode } from '../contracts/transaction-mode.js';
import type { Version } from '../contracts/version.js';
import { InvalidOptionError } from '../errors.js';
import { concerning } from '../kit/concerning.js';
import type { Amount } from '../kit/decimal.js';
import type { OptionTable } from '../kit/options.js';
import { TRACES, traced } from '../runtime/tracing.js';
import { copyOf } from '../values/copy.js';
import { patched } from '../values/difference.js';
import type { StoreWrite } from '../write/commands.js';
import type { TransactionTurn } from '../write/inside.js';
import type { Answer } from '../write/store-commit.js';
import { modeOf } from '../write/transaction-mode.js';
import { checkBounds, withinBounds } from './bounded-sum.js';
import type { CallContext } from './call-context.js';
import { CREATE, DELETE, INCREMENT, OPERATIONS, PATCH, PUT, TRANSACT, UPDATE } from './call-options.js';
import { checkCall, checkFunction, entriesOf, patchSet } from './checks.js';
import { CommandCall, type WriteOf } from './command-call.js';
import { Commands } from './commands.js';
import { Creation } from './creation.js';
import { CollectionInvalidations } from './invalidations.js';
import type { RowChange } from './line-calls.js';
import { ManyResults, PlaceOfMany } from './many-results.js';
import { checkNotHeld, runHolding } from './own-key.js';
import { commandResult, conflictOf, manyResults, noRow, seen } from './results.js';
import { Updates } from './updates.js';

/** The options of a call without any: there is nothing to check. */
const NO_OPTIONS = {};

/** The public calls of a collection: those that write, beside those that read. */
export class CollectionCalls<Value, Id, Tx>
  extends CollectionInvalidations<Value, Id>
  implements Collection<Value, Id, Tx>
{
  readonly name: string;
  readonly #context: CallContext<Value, Id>;
  readonly #commands: Commands<Value>;
  readonly #updates: Updates<Value>;
  readonly #creation: Creation<Value>;
  /** Fields: a function for each put would cost as much as what it does. */
  readonly #putOf: WriteOf<Value, Value>;
  readonly #deleteOf: WriteOf<Value, undefined>;

  constructor(context: CallContext<Value, Id>) {
    super(context);
    this.name = context.settings.name;
    this.#context = context;
    this.#commands = new Commands(context as CallContext<Value, unknown>);
    this.#putOf = (key, own, options) => this.#commands.put(key, own, options);
    this.#deleteOf = (key, _, options) => this.#commands.delete(key, options);
    this.#updates = new Updates({
      context: context as CallContext<Value, unknown>,
      commands: this.#commands,
      read: (key, options) => this.readWith(key, options),
      write: async (write, options) => this.#result(write, await this.#submit(write, options)),
    });
    this.#creation = new Creation<Value>(context as unknown as CallContext<Value, never>, {
      putOf: (key, value, options) => this.#commands.put(key, value, { ...options, ifVersion: null }),
      submit: (write, options) => this.#submit(write, options),
      result: (write, answer) => this.#result(write, answer),
    });
  }

  create(value: Partial<Value>, options: CreateOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    const creating = () => this.#creation.create(value, options);
    return TRACES.write.hasSubscribers ? this.#traced(CREATE, creating) : creating();
  }

  put(id: Id, value: Value, options: PutOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, PUT, this.#putOf, value);
  }

  async putMany(
    entries: Iterable<readonly [Id, Value]>,
    options: WriteOptions = NO_OPTIONS,
  ): Promise<WriteResult<Value>[]> {
    return await this.#many(entriesOf(entries), options, PUT, this.#putOf);
  }

  patch(id: Id, partial: RowPatch<Value>, options: PatchOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    const { codec, store } = this.#context;
    return store.capabilities.patch === true && !codec.hasSchema
      ? this.#command(
          ...([id, options, PATCH] as const),
          (key, own) =>
            this.#commands.patch(key, { set: patchSet(own, { collection: this.name, key }) }, options),
          partial,
        )
      : this.#patchWhole(id, copyOf(partial), options);
  }

  /** For a store that can't patch, or a schema that has to see the whole row: reads the row and writes it as a whole. */
  #patchWhole(id: Id, partial: RowPatch<Value>, options: PatchOptions): Promise<WriteResult<Value>> {
    return this.#writing(id, options, PATCH, async (key) => {
      const set = patchSet(partial, { collection: this.name, key });
      const { ifVersion } = options;
      const change = (row: Value | undefined, version: Version): Value => {
        if (ifVersion !== undefined && version !== ifVersion)
          throw conflictOf(this.name, key, ifVersion, version);
        if (row === undefined) throw noRow(this.name, key, 'patch');
        return patched(row, set);
      };
      const how = { ...options, fromCache: ifVersion === undefined };
      return await this.#updates.update(key, change, how, 'patch');
    });
  }

  delete(id: Id, options: DeleteOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#command(id, options, DELETE, this.#deleteOf);
  }

  async deleteMany(ids: Iterable<Id>, options: WriteOptions = NO_OPTIONS): Promise<WriteResult<Value>[]> {
    const rows = Array.from(ids, (id) => [id, undefined] as const);
    return await this.#many(rows, options, DELETE, this.#deleteOf);
  }

  increment(
    id: Id,
    field: NumericField<Value>,
    by: Amount,
    options: IncrementOptions = NO_OPTIONS,
  ): Promise<WriteResult<Value>> {
    return options?.min === undefined && options?.max === undefined
      ? this.#command(id, options, INCREMENT, (key) => this.#commands.increment(key, field, by, options))
      : this.#incrementWithin(id, field, by, options);
  }

  /** Reads the row first: only it shows whether a bound holds. */
  #incrementWithin(
    id: Id,
    field: string,
    by: Amount,
    options: IncrementOptions,
  ): Promise<WriteResult<Value>> {
    return this.#writing(id, options, INCREMENT, (key) => {
      checkBounds(options);
      this.#commands.increment(key, field, by, options);
      const sum = { collection: this.name, key, field, by };
      const change = (row: Value | undefined): Value => {
        if (row === undefined) throw noRow(this.name, key, 'increment');
        return withinBounds(row, sum, options);
      };
      return this.#updates.update(key, change, options, 'increment within bounds');
    });
  }

  async update(id: Id, change: RowChange<Value>, options: UpdateOptions = {}): Promise<WriteResult<Value>> {
    return await this.#writing(id, options, UPDATE, (key) => {
      checkFunction(change, 'change');
      return this.#updates.update(key, (row) => change(row), options, 'update');
    });
  }

  async write<T>(
    id: Id,
    body: (tx: Tx) => Promise<T>,
    options: WriteOptions & TransactionMode = {},
  ): Promise<WriteResult<Value> & TransactionResult<T>> {
    return await this.#writing(id, options, TRANSACT, async (key) => {
      checkFunction(body, 'body');
      if (options.tx !== undefined) {
        const problem = 'write() opens its own transaction; use tx.client inside yours';
        throw new InvalidOptionError('options.tx', problem);
      }
      const { signal, timeoutMs = this.#context.settings.storeTimeoutMs } = options;
      const { checks, codec, settings, writes } = this.#context;
      const run = (client: unknown): Promise<T> =>
        runHolding(settings, key, async () => await body(client as Tx)) as Promise<T>;
      const transact = (turn: TransactionTurn, leftMs: number) =>
        writes.inside.transact(key, run, checks.ttl(options), turn, {
          ...modeOf(options),
          timeoutMs: leftMs,
          signal,
        });
      return await seen(codec, await this.#updates.inTurn(key, { signal, timeoutMs }, transact));
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
    isTraced = TRACES.write.hasSubscribers,
  ): Promise<T> {
    if (isTraced) return await this.#traced(known, () => this.#writing(id, options, known, body, false));
    const { activity } = this.#context;
    let key: string | undefined;
    activity.enter();
    try {
      if (!this.#context.opening.opened) await this.#context.opening.open();
      key = this.#begin(id, options, known);
      return await body(key);
    } catch (error) {
      throw concerning(error, { collection: this.name, key });
    } finally {
      activity.leave();
    }
  }

  /**
   * Runs one command as `#writing` does. Hot path: it makes no promise but the caller's.
   *
   * @param given taken as it is now: the caller may change it afterwards
   */
  #command<Given = undefined>(
    id: Id,
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
    given?: Given,
  ): Promise<WriteResult<Value>> {
    const context = this.#context as CallContext<Value, unknown>;
    const receiver = Promise.withResolvers<WriteResult<Value>>();
    const call = new CommandCall<Value, Id, Given>(context, id, options, known, writeOf, receiver);
    if (TRACES.write.hasSubscribers) return this.#runTraced(call, given, receiver.promise);
    this.#run(call, given);
    return receiver.promise;
  }

  #runTraced<Given, T>(call: CommandCall<Value, Id, Given>, given: Given | undefined, result: Promise<T>) {
    return this.#traced(call.known, () => {
      this.#run(call, given);
      return result;
    });
  }

  /** Runs a command for each row, as `#command` does; none once the signal has aborted. Rows that are traced have a promise each. */
  async #many<Given>(
    rows: readonly (readonly [Id, Given])[],
    options: WriteOptions,
    known: OptionTable,
    writeOf: WriteOf<Value, Given>,
  ): Promise<WriteResult<Value>[]> {
    if (options?.signal?.aborted === true) throw options.signal.reason;
    if (TRACES.write.hasSubscribers) {
      const writing = rows.map(([id, given]) => this.#command(id, options, known, writeOf, given));
      return manyResults(this.name, await Promise.allSettled(writing));
    }
    const context = this.#context as CallContext<Value, unknown>;
    const many = new ManyResults<Value>(rows.length);
    rows.forEach(([id, given], place) => {
      const receiver = new PlaceOfMany(many, place);
      this.#run(new CommandCall(context, id, options, known, writeOf, receiver), given);
    });
    return manyResults(this.name, await many.promise);
  }

  #run<Given>(call: CommandCall<Value, Id, Given>, given: Given | undefined): void {
    try {
      const own = copyOf(given) as Given;
      if (this.#context.opening.opened) this.#make(call, own);
      else void this.#makeOpened(call, own);
    } catch (error) {
      call.reject(error);
    }
  }

  async #makeOpened<Given>(call: CommandCall<Value, Id, Given>, own: Given): Promise<void> {
    try {
      await this.#context.opening.open();
      this.#make(call, own);
    } catch (error) {
      call.reject(error);
    }
  }

  /** Makes the write, and sends it. Throws for a wrong call. */
  #make<Given>(call: CommandCall<Value, Id, Given>, own: Given): void {
    const { id, known, options, writeOf } = call;
    call.key = this.#begin(id, options, known);
    const { signal, timeoutMs, tx } = options;
    const made = writeOf(call.key, own, options);
    if (made instanceof Promise || signal !== undefined || timeoutMs !== undefined || tx !== undefined) {
      void this.#submitMade(call, made);
    } else {
      call.request = made;
      this.#context.writes.send(call);
    }
  }

  async #submitMade<Given>(
    call: CommandCall<Value, Id, Given>,
    made: StoreWrite<Value> | Promise<StoreWrite<Value>>,
  ): Promise<void> {
    try {
      call.request = made instanceof Promise ? await made : made;
      call.resolve(await this.#submit(call.request, call.options));
    } catch (error) {
      call.reject(error);
    }
  }

  #traced<T>(known: OptionTable, call: () => Promise<T>): Promise<T> {
    return traced('write', { collection: this.name, operation: OPERATIONS.get(known) ?? 'write' }, call);
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
    const { checks, lifecycle, opening, settings } = this.#context;
    if (lifecycle.closed) opening.checkOpen();
    if (checks.readOnly) throw checks.notWritable;
    if (options !== NO_OPTIONS) checkCall(options, known);
    const key = checks.key(id);
    checkNotHeld(settings, this.name, key);
    return key;
  }
}
