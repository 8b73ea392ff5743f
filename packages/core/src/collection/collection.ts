import type {
  CacheOutcome,
  CallOptions,
  Collection,
  CollectionOptions,
  DeleteOptions,
  InvalidateOptions,
  PutOptions,
  ReadOptions,
  Transaction,
  UpdateOptions,
  Versioned,
  WriteOptions,
  WriteResult,
} from '../contracts/api.js';
import type { StoreAdapter, StoreCommand, TransactionMode } from '../contracts/store.js';
import { isVersion, NO_VERSION, type Version } from '../contracts/version.js';
import {
  CacheUnavailableError,
  ClosedError,
  ConflictError,
  InvalidIdError,
  InvalidOptionError,
  LockstepError,
  messageOf,
  PartialWriteError,
  StoreContractError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
  UnsupportedError,
} from '../errors.js';
import type { Consumer } from '../feed/consumer.js';
import { nextImmediate, nextTick } from '../kit/batcher.js';
import { checkKnown, numberOption } from '../kit/options.js';
import { callerSleep, withSignal, withTimeout } from '../kit/wait.js';
import { checkKey, keyPrefix } from '../protocol/key.js';
import { Loader, mayHaveCommitted } from '../read/loader.js';
import { type Load, Reader } from '../read/reader.js';
import type { EngineContext } from '../runtime/context.js';
import { jsonSerializer } from '../serializers/json.js';
import { Codec } from '../values/codec.js';
import { SignedCodec } from '../values/signed-codec.js';
import { MODE_OPTIONS, transactionMode } from '../write/transaction-mode.js';
import { BlindPut, type Settled } from '../write/unit.js';
import { WritePath } from '../write/write-path.js';
import { type CollectionSettings, collectionSettings, MAX_TTL_MS } from './settings.js';

const READ_OPTIONS = ['signal', 'timeoutMs', 'tx', 'fresh', 'ttlMs'];
const INVALIDATE_OPTIONS = ['signal', 'timeoutMs'];
const WRITE_OPTIONS = ['signal', 'timeoutMs', 'tx', 'ttlMs'];
const TRANSACT_OPTIONS = [...WRITE_OPTIONS, ...MODE_OPTIONS];
const CONDITIONAL_OPTIONS = [...WRITE_OPTIONS, 'ifVersion'];
const UPDATE_OPTIONS = [...WRITE_OPTIONS, 'retries', 'fromCache'];
/** What a call without options has: nothing to check. */
const NO_OPTIONS = {};
const MAX_TIMEOUT_MS = 24 * 3_600_000;
/** Keys of one `getMany` that are asked for at once: others' reads wait behind no more. */
const READ_TOGETHER = 1_000;
/** The longest pause between two tries of `update`. */
const MAX_RETRY_PAUSE_MS = 64;

/** What `update` does to a row. */
type Change<Value> = Parameters<Collection<Value>['update']>[1];

/** One collection: checks what callers pass, and joins the read path, the write path and the cache's part. */
export class CollectionEngine<Value, Id, Tx> implements Collection<Value, Id, Tx> {
  readonly name: string;
  readonly store: StoreAdapter<Value, Id, Tx>;
  readonly settings: CollectionSettings;
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly #context: EngineContext;
  readonly writes: WritePath<Value>;
  readonly #consumer: Consumer | undefined;
  readonly #reader: Reader<Value>;
  #opening: Promise<void> | undefined;
  #storeOpening: Promise<void> | undefined;
  #opened = false;

  constructor(options: CollectionOptions<Value, Id, Tx>, context: EngineContext) {
    const { integrity } = context;
    const checked = collectionSettings(
      options as unknown as CollectionOptions<never, never, never>,
      context.adapter,
    );
    // That a row is known to be absent has no payload that could carry a signature.
    const settings = integrity === undefined ? checked : { ...checked, negativeTtlMs: 0 };
    const { store } = options;
    const untyped = store as unknown as StoreAdapter<Value, never>;
    this.name = settings.name;
    this.store = store;
    this.settings = settings;
    this.keyPrefix = keyPrefix(context.prefix, settings.name);
    this.#context = context;
    const serializer = options.serializer ?? store.serializer ?? jsonSerializer();
    const { schema } = options;
    const { maxPayloadBytes, name } = settings;
    this.codec =
      integrity === undefined
        ? new Codec(name, serializer, schema, maxPayloadBytes)
        : new SignedCodec(integrity, this.keyPrefix, name, serializer, schema, maxPayloadBytes);
    const lifetime = (ttlMs: number): { ttlMs: number; staleAtMs: number } => this.#lifetime(ttlMs);
    const loader = new Loader(untyped, {
      collection: settings.name,
      timeoutMs: settings.storeTimeoutMs,
      maxConcurrent: settings.maxConcurrentLoads,
      maxQueued: settings.maxQueuedLoads,
      tick: context.local ? nextTick : nextImmediate,
      clock: context.clock,
      events: context.events,
    });
    const load: Load<Value> = (key, primary) => loader.load(key, primary);
    const { codec, keyPrefix: prefix } = this;
    this.#consumer = store.feed && context.consumerOf(store.feed);
    const member = this.#consumer?.join({
      name: settings.name,
      source: store.source,
      keyPrefix: prefix,
      holeTtlMs: settings.holeTtlMs,
      holeOnEmpty: store.capabilities.replicaReads,
    });
    const flushKey =
      settings.burst === undefined ? undefined : (key: string): Promise<void> => this.writes.flushKey(key);
    const reader = new Reader({
      ...context,
      settings,
      lifetime,
      member,
      store: untyped,
      codec,
      load,
      flushKey,
    });
    this.#reader = reader;
    const detach = (cacheKey: string): void => reader.detach(cacheKey);
    this.writes = new WritePath({
      store: untyped,
      settings,
      keyPrefix: prefix,
      codec,
      context,
      lifetime,
      detach,
      member,
      load: async (key) => {
        await reader.read(key, prefix + key, settings.ttlMs);
        // The fill goes on behind the reader; what follows it on the same key comes after it.
        await context.cache.run({ kind: 'release', key: prefix + key, token: context.nextToken() });
      },
    });
  }

  // Reading.

  async get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const { value } = await this.getVersioned(id, options);
    return value === null ? undefined : value;
  }

  async getVersioned(id: Id, options?: ReadOptions): Promise<Versioned<Value>> {
    if (!this.#opened) await this.#open();
    this.#checkOpen();
    const key = this.#key(id);
    if (options === undefined) return await this.#reader.read(key, this.keyPrefix + key, this.settings.ttlMs);
    return await this.#readWith(key, options);
  }

  async getMany(ids: readonly Id[], options?: ReadOptions): Promise<(Value | undefined)[]> {
    if (!this.#opened) await this.#open();
    this.#checkOpen();
    const together = Math.min(READ_TOGETHER, Math.ceil(this.settings.maxQueuedLoads / 2));
    if (ids.length <= together) return await this.#readAll(ids, options);
    return await this.#readInParts([...ids], together, options);
  }

  async #readAll(ids: readonly Id[], options: ReadOptions | undefined): Promise<(Value | undefined)[]> {
    const keys = ids.map((id) => this.#key(id));
    const reads = keys.map((key) =>
      options === undefined
        ? this.#reader.read(key, this.keyPrefix + key, this.settings.ttlMs)
        : this.#readWith(key, options),
    );
    return (await Promise.all(reads)).map(({ value }) => (value === null ? undefined : value));
  }

  /** One part after the other, with a turn of the event loop between them: others' reads come in between. */
  async #readInParts(
    ids: readonly Id[],
    together: number,
    options: ReadOptions = {},
  ): Promise<(Value | undefined)[]> {
    const { signal, timeoutMs, ...each } = options;
    let over = false;
    const reading = async (): Promise<(Value | undefined)[]> => {
      const values: (Value | undefined)[] = [];
      for (let from = 0; from < ids.length && !over; from += together) {
        for (const value of await this.#readAll(ids.slice(from, from + together), each)) values.push(value);
        await new Promise<void>((resolve) => nextImmediate(resolve));
      }
      return values;
    };
    signal?.throwIfAborted();
    try {
      return await this.#bounded(reading, {
        ...(signal === undefined ? {} : { signal }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
    } finally {
      over = true;
    }
  }

  async refresh(id: Id, options: ReadOptions = {}): Promise<Value | undefined> {
    return await this.get(id, { ...options, fresh: true });
  }

  #readWith(key: string, options: ReadOptions, load?: Load<Value>): Promise<Versioned<Value>> {
    checkKnown(options, READ_OPTIONS, `collection("${this.name}") read options`);
    const ttlMs = this.#ttl(options);
    options.signal?.throwIfAborted();
    const { tx } = options;
    if (tx !== undefined) return this.#bounded(() => this.#readInside(key, tx), options);
    const cacheKey = this.keyPrefix + key;
    const reading = (): Promise<Versioned<Value>> =>
      options.fresh
        ? this.#refresh(key, cacheKey, ttlMs, load)
        : this.#reader.read(key, cacheKey, ttlMs, load);
    return this.#bounded(reading, options);
  }

  async #refresh(
    key: string,
    cacheKey: string,
    ttlMs: number,
    load?: Load<Value>,
  ): Promise<Versioned<Value>> {
    // The store does not have what is buffered; where the cache is away there is nothing to ask.
    await this.writes.flushKey(key).catch((error: unknown) => {
      if (!(error instanceof CacheUnavailableError)) throw error;
    });
    return await this.#reader.refresh(key, cacheKey, ttlMs, load);
  }

  /** Inside a transaction reads go to it and fill nothing. */
  async #readInside(key: string, tx: Transaction): Promise<Versioned<Value>> {
    const row = await this.writes.readInside(key, tx);
    return { value: row?.value ?? null, version: row?.version ?? NO_VERSION, from: 'transaction' };
  }

  // Writing.

  put(id: Id, value: Value, options: PutOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#commanding(id, options, CONDITIONAL_OPTIONS, (key) => this.#put(key, value, options));
  }

  #put(key: string, value: Value, options: PutOptions): Promise<Settled<Value>> {
    const { ifVersion } = options;
    if (ifVersion !== undefined) this.#checkCondition(ifVersion);
    const submit = (valid: Value): Promise<Settled<Value>> => {
      const put = new BlindPut(key, valid, NO_VERSION);
      const bytes = this.codec.measure(valid, key);
      return this.#submit(ifVersion === undefined ? put : { ...put, ifVersion }, bytes, options);
    };
    const validating = this.#validate(key, value);
    return validating instanceof Promise ? validating.then(submit) : submit(validating);
  }

  async putMany(
    entries: Iterable<readonly [Id, Value]>,
    options: WriteOptions = {},
  ): Promise<WriteResult<Value>[]> {
    return await this.#many([...entries].map(([id, value]) => this.put(id, value, options)));
  }

  delete(id: Id, options: DeleteOptions = NO_OPTIONS): Promise<WriteResult<Value>> {
    return this.#commanding(id, options, CONDITIONAL_OPTIONS, (key) => this.#delete(key, options));
  }

  #delete(key: string, options: DeleteOptions): Promise<Settled<Value>> {
    const { ifVersion } = options;
    if (ifVersion !== undefined) this.#checkCondition(ifVersion);
    const command = { kind: 'delete', key, above: NO_VERSION } as const;
    return this.#submit(ifVersion === undefined ? command : { ...command, ifVersion }, 0, options);
  }

  async deleteMany(ids: Iterable<Id>, options: WriteOptions = {}): Promise<WriteResult<Value>[]> {
    return await this.#many([...ids].map((id) => this.delete(id, options)));
  }

  increment(
    id: Id,
    field: keyof Value & string,
    by: number,
    options: WriteOptions = NO_OPTIONS,
  ): Promise<WriteResult<Value>> {
    return this.#commanding(id, options, WRITE_OPTIONS, (key) => this.#increment(key, field, by, options));
  }

  #increment(key: string, field: string, by: number, options: WriteOptions): Promise<Settled<Value>> {
    if (!this.store.capabilities.increment) throw this.#unsupported('increment');
    const { name: collection } = this;
    if (typeof field !== 'string' || field === '') {
      throw new InvalidOptionError('field', 'must name a field', { collection, key });
    }
    if (typeof by !== 'number' || !Number.isFinite(by)) {
      throw new InvalidOptionError('by', `must be a finite number, got ${String(by)}`, { collection, key });
    }
    const command = { kind: 'increment', key, field, by, above: NO_VERSION } as const;
    return this.#submit(command, 0, options).then((settled) => {
      if (settled.outcome.kind !== 'missing') return settled;
      const message = `collection "${collection}": no row "${key}" to increment`;
      throw new StoreRefusedError(message, { collection, key });
    });
  }

  async update(id: Id, change: Change<Value>, options: UpdateOptions = {}): Promise<WriteResult<Value>> {
    return await this.#writing(id, options, UPDATE_OPTIONS, async (key) => {
      if (!this.store.capabilities.compareAndSet) throw this.#unsupported('update (compare-and-set)');
      const retries = numberOption(options.retries, 10, 'options.retries', { min: 0, max: 1_000 });
      this.#ttl(options);
      const giveUp = new AbortController();
      try {
        return await this.#bounded(() => this.#update(key, change, retries, options, giveUp.signal), options);
      } finally {
        giveUp.abort();
      }
    });
  }

  async #update(
    key: string,
    change: Change<Value>,
    retries: number,
    { fromCache, tx, ttlMs }: UpdateOptions,
    givenUp: AbortSignal,
  ): Promise<WriteResult<Value>> {
    const inside = tx === undefined ? {} : { tx };
    const writing = { ...inside, ...(ttlMs === undefined ? {} : { ttlMs }) };
    const { clock, random } = this.#context;
    for (let attempt = 0; ; attempt++) {
      const fresh = attempt > 0 || fromCache === false;
      const current = await this.#readWith(key, { ...inside, ...(fresh ? { fresh } : {}) });
      const { value, version } = current;
      const next = await change(value ?? undefined);
      givenUp.throwIfAborted();
      if (next === undefined || (next === null && value === null)) {
        return { value, version, cache: 'updated', store: 'committed', coalesced: false };
      }
      try {
        const ifVersion = value === null ? null : version;
        const settling =
          next === null
            ? this.#delete(key, { ...writing, ifVersion: version })
            : this.#put(key, next, { ...writing, ifVersion });
        // It goes on when the caller has given up.
        return this.#result(key, await this.#context.activity.track(settling), ifVersion);
      } catch (error) {
        if (!(error instanceof ConflictError) || attempt >= retries) throw error;
      }
      // Those who lost against each other at once would meet again.
      if (attempt > 0) await callerSleep(clock, random() * Math.min(2 ** attempt, MAX_RETRY_PAUSE_MS));
      givenUp.throwIfAborted();
    }
  }

  async write<T>(
    id: Id,
    body: (tx: Tx) => Promise<T>,
    options: WriteOptions & TransactionMode = {},
  ): Promise<WriteResult<Value> & { readonly returned: T }> {
    return await this.#writing(id, options, TRANSACT_OPTIONS, async (key) => {
      if (options.tx !== undefined) {
        const problem = 'write() opens its own transaction; use tx.client inside yours';
        throw new InvalidOptionError('options.tx', problem);
      }
      const timeoutMs = this.#timeout(options.timeoutMs, this.settings.storeTimeoutMs);
      const run = (client: unknown): Promise<T> => body(client as Tx);
      const mode = transactionMode(options, 'options');
      const bounds = { ...mode, timeoutMs, signal: options.signal };
      return await this.writes.transact(key, run, this.#ttl(options), bounds);
    });
  }

  async invalidate(id: Id | readonly Id[], options: InvalidateOptions = {}): Promise<CacheOutcome> {
    if (!this.#opened) await this.#open();
    this.#checkOpen();
    checkKnown(options, INVALIDATE_OPTIONS, `collection("${this.name}") invalidate options`);
    options.signal?.throwIfAborted();
    const ids = Array.isArray(id) ? (id as readonly Id[]) : [id as Id];
    const keys = ids.map((one) => this.#key(one));
    const all = (): Promise<CacheOutcome[]> =>
      this.#context.activity.track(Promise.all(keys.map((key) => this.writes.invalidate(key))));
    const outcomes = await this.#bounded(all, options);
    return outcomes.reduce(worse, 'invalidated');
  }

  async flush(): Promise<number> {
    if (!this.#opened) await this.#open();
    const { buffer } = this.writes;
    return buffer === undefined ? 0 : await this.#context.activity.track(buffer.flusher.flushAll());
  }

  /** Keys that may hold a buffered write. @internal */
  async unflushed(): Promise<number> {
    return (await this.writes.buffer?.flusher.size()) ?? 0;
  }

  // For `through`: one entity by the caller's own functions.

  /** Reads with another load than the store's. @internal */
  async readBy(id: Id, options: ReadOptions, load: Load<Value>): Promise<Value | undefined> {
    if (!this.#opened) await this.#open();
    this.#checkOpen();
    const { value } = await this.#readWith(this.#key(id), options, load);
    return value ?? undefined;
  }

  /** Writes with another function than the store's. @internal */
  async writeBy(
    id: Id,
    value: Value,
    options: WriteOptions,
    write: () => Promise<unknown>,
  ): Promise<WriteResult<Value>> {
    return await this.#writing(id, options, WRITE_OPTIONS, async (key) => {
      const valid = await this.#validate(key, value);
      this.codec.measure(valid, key);
      const ttlMs = this.#ttl(options);
      const writing = (): Promise<WriteResult<Value>> =>
        this.#context.activity.track(this.writes.writeBy(key, valid, ttlMs, write));
      return await this.#bounded(writing, options);
    });
  }

  #submit(command: StoreCommand<Value>, bytes: number, options: WriteOptions): Promise<Settled<Value>> {
    const ttlMs = this.#ttl(options);
    const { signal, timeoutMs, tx } = options;
    if (tx !== undefined) return this.writes.submitInside(command, ttlMs, tx);
    if (signal === undefined && timeoutMs === undefined) return this.writes.submit(command, bytes, ttlMs);
    // It goes on when the caller has given up.
    const submit = (): Promise<Settled<Value>> =>
      this.#context.activity.track(this.writes.submit(command, bytes, ttlMs));
    return this.#bounded(submit, options);
  }

  // Checks.

  /** A write from its first moment, so that `close` waits for it; wrong calls reject with nothing touched. */
  async #writing<T>(
    id: Id,
    options: WriteOptions,
    known: readonly string[],
    body: (key: string) => Promise<T>,
  ): Promise<T> {
    const { activity } = this.#context;
    activity.enter();
    try {
      if (!this.#opened) await this.#open();
      return await body(this.#begin(id, options, known));
    } finally {
      activity.leave();
    }
  }

  /** As `writing`, for one command. Between its promise and the caller's there is none: this is the hot path. */
  async #commanding(
    id: Id,
    options: PutOptions,
    known: readonly string[],
    submit: (key: string) => Promise<Settled<Value>>,
  ): Promise<WriteResult<Value>> {
    const { activity } = this.#context;
    activity.enter();
    try {
      if (!this.#opened) await this.#open();
      const key = this.#begin(id, options, known);
      return this.#result(key, await submit(key), options.ifVersion);
    } finally {
      activity.leave();
    }
  }

  #begin(id: Id, options: WriteOptions, known: readonly string[]): string {
    this.#checkOpen();
    if (options !== NO_OPTIONS) {
      checkKnown(options, known, `collection("${this.name}") write options`);
      options.signal?.throwIfAborted();
    }
    return this.#key(id);
  }

  /**
   * The value as it will be written, if it can be encoded; a promise only where the schema validates
   * asynchronously, so that a caller's writes of one key keep their order. Throws `ValidationError`,
   * `InvalidOptionError`.
   */
  #validate(key: string, value: Value): Value | Promise<Value> {
    if (value === undefined || value === null) {
      throw new InvalidOptionError('value', `must not be ${String(value)}; use delete()`, {
        collection: this.name,
        key,
      });
    }
    return this.codec.validate(value, key);
  }

  #key(id: Id): string {
    let key: string;
    try {
      key = this.store.keyOf(id);
    } catch (error) {
      if (error instanceof InvalidIdError) throw error;
      throw new InvalidIdError(`collection "${this.name}": ${messageOf(error)}`, {
        cause: error,
        collection: this.name,
      });
    }
    checkKey(key, this.name);
    return key;
  }

  #checkCondition(ifVersion: Version | null): void {
    if (!this.store.capabilities.compareAndSet) throw this.#unsupported('ifVersion');
    if (ifVersion !== null && !isVersion(ifVersion)) {
      throw new InvalidOptionError(
        'options.ifVersion',
        `must be a version or null, got ${String(ifVersion)}`,
      );
    }
  }

  #ttl(options: { readonly ttlMs?: number }): number {
    return numberOption(options.ttlMs, this.settings.ttlMs, 'options.ttlMs', { min: 1, max: MAX_TTL_MS });
  }

  #timeout(timeoutMs: number | undefined, fallback: number): number {
    return numberOption(timeoutMs, fallback, 'options.timeoutMs', { min: 1, max: MAX_TIMEOUT_MS });
  }

  /** Starts it once its bounds are known to be right: a wrong call touches nothing. */
  #bounded<T>(start: () => Promise<T>, { signal, timeoutMs }: CallOptions): Promise<T> {
    if (timeoutMs === undefined) return withSignal(start(), signal);
    const ms = this.#timeout(timeoutMs, 0);
    const late = (): Error =>
      new StoreTimeoutError(`collection "${this.name}": no answer within ${ms} ms`, {
        collection: this.name,
      });
    return withSignal(withTimeout(this.#context.clock, start(), ms, late), signal);
  }

  #unsupported(what: string): UnsupportedError {
    return new UnsupportedError(`collection "${this.name}": ${this.store.name} has no ${what}`, {
      collection: this.name,
    });
  }

  #conflict(key: string, ifVersion: Version | null | undefined, version: Version): ConflictError {
    const expected = ifVersion === null ? 'no row' : `version ${ifVersion}`;
    const found = version === NO_VERSION ? 'something else' : `version ${version}`;
    return new ConflictError(
      `collection "${this.name}", key "${key}": expected ${expected}, found ${found}`,
      {
        collection: this.name,
        key,
      },
    );
  }

  // Results.

  /** Throws for a condition that did not hold. */
  #result(
    key: string,
    { outcome, cache, coalesced, store }: Settled<Value>,
    ifVersion?: Version | null,
  ): WriteResult<Value> {
    if (outcome.kind === 'written') {
      return new CommandResult(outcome.value, outcome.version, cache, store, coalesced);
    }
    if (outcome.kind === 'conflict') throw this.#conflict(key, ifVersion, outcome.version);
    return new CommandResult<Value>(null, NO_VERSION, cache, store, coalesced);
  }

  async #many(writes: Promise<WriteResult<Value>>[]): Promise<WriteResult<Value>[]> {
    const results = await Promise.allSettled(writes);
    const failed = results.filter((result) => result.status === 'rejected');
    if (failed.length === 0) {
      return results.map((result) => (result as PromiseFulfilledResult<WriteResult<Value>>).value);
    }
    const unknown = failed.filter(({ reason }) => isUnknown(reason)).length;
    const counts = outcomes(failed.length - unknown, unknown, results.length);
    throw new PartialWriteError(
      `collection "${this.name}": ${counts}: ${String(failed[0]?.reason)}`,
      results,
      { cause: failed[0]?.reason, collection: this.name },
    );
  }

  /** Jittered, so that what was cached together does not expire together. */
  #lifetime(ttlMs: number): { ttlMs: number; staleAtMs: number } {
    const { staleWhileRevalidateMs, ttlJitter } = this.settings;
    const { clock, random } = this.#context;
    const jittered = Math.max(1, Math.round(ttlMs * (1 + ttlJitter * (2 * random() - 1))));
    if (staleWhileRevalidateMs === 0) return { ttlMs: jittered, staleAtMs: 0 };
    return { ttlMs: jittered + staleWhileRevalidateMs, staleAtMs: clock.now() + jittered };
  }

  #checkOpen(): void {
    if (this.#context.closed()) throw new ClosedError(`collection "${this.name}": this Lockstep is closed`);
  }

  #open(): Promise<void> {
    this.#opening ??= this.#openStore().then(
      () => {
        this.#opened = true;
      },
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }

  async #openStore(): Promise<void> {
    this.#checkOpen();
    await this.#storeOpen();
    await this.#consumer?.open(this.store.source);
    // A cache that can't be asked now takes nothing into its buffer; it is asked again.
    await this.writes.buffer?.check().catch(() => undefined);
    const strict = this.settings.consistency === 'strict';
    if (strict) await this.#context.warnIfEvicting(this.name, 'is strict');
    else if (!this.store.capabilities.versioned && this.#context.adapter.shared) {
      // Nobody waits for it: such a write goes on without the cache.
      void this.#context.warnIfEvicting(this.name, 'has a store without versions');
    }
  }

  /** Waited for as long as for any answer of the store. The opening itself goes on; the next call joins it. */
  #storeOpen(): Promise<void> {
    const { storeTimeoutMs } = this.settings;
    this.#storeOpening ??= Promise.resolve(
      this.store.open?.({
        onWarning: (error) => this.#context.events.error.emit({ where: 'open', error }),
      }),
    ).finally(() => {
      this.#storeOpening = undefined;
    });
    return withTimeout(this.#context.clock, this.#storeOpening, storeTimeoutMs, () => {
      const message = `collection "${this.name}": the store was not open after ${storeTimeoutMs} ms`;
      return new StoreUnavailableError(message, 'not-committed', { collection: this.name });
    });
  }
}

/** A class for the reason that `unit.ts` (in `write`) gives. */
class CommandResult<Value> implements WriteResult<Value> {
  readonly value: Value | null;
  readonly version: Version;
  readonly cache: WriteResult<Value>['cache'];
  readonly store: WriteResult<Value>['store'];
  readonly coalesced: boolean;

  constructor(
    value: Value | null,
    version: Version,
    cache: WriteResult<Value>['cache'],
    store: WriteResult<Value>['store'],
    coalesced: boolean,
  ) {
    this.value = value;
    this.version = version;
    this.cache = cache;
    this.store = store;
    this.coalesced = coalesced;
  }
}

/** True when a write that rejected with this may be committed, as one that its caller's signal ended may. */
function isUnknown(reason: unknown): boolean {
  const foreign = !(reason instanceof LockstepError);
  return foreign || reason instanceof StoreContractError || mayHaveCommitted(reason);
}

/** Says how many of a call's writes were not written, and of how many nobody knows. */
function outcomes(notWritten: number, unknown: number, all: number): string {
  if (unknown === 0) return `${notWritten} of ${all} were not written`;
  const doubtful = `${unknown} of ${all} may have been written, or not`;
  return notWritten === 0 ? doubtful : `${notWritten} of ${all} were not written, ${doubtful}`;
}

const SEVERITY: readonly CacheOutcome[] = ['updated', 'invalidated', 'queued', 'deferred'];

function worse(a: CacheOutcome, b: CacheOutcome): CacheOutcome {
  return SEVERITY.indexOf(b) > SEVERITY.indexOf(a) ? b : a;
}
