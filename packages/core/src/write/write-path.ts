import { CollectionBuffer } from '../buffer/buffer.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { CacheOutcome, WriteResult } from '../contracts/api.js';
import type { Payload } from '../contracts/cache-commands.js';
import type { Transaction } from '../contracts/options.js';
import type {
  StoreAdapter,
  StoreCommand,
  StoreOutcome,
  StoreRow,
  StoreTransaction,
  StoreTransactionOptions,
} from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import {
  InvalidOptionError,
  SerializationError,
  StoreBusyError,
  StoreContractError,
  StoreRefusedError,
  UnsupportedError,
} from '../errors.js';
import type { Membership } from '../feed/membership.js';
import { asStoreError, checkRow } from '../read/loader.js';
import type { EngineContext } from '../runtime/context.js';
import type { Codec } from '../values/codec.js';
import { CacheSide, INSIDE_PATIENCE_MS } from './cache-step.js';
import { WriteQueue } from './group-commit.js';
import type { Reservation } from './reservation.js';
import {
  type KeySettled,
  LockstepTransaction,
  type TransactionParticipant,
  type TransactionSettled,
  type TransactionWrite,
} from './transaction.js';
import { isBlind, reserved, type Settled } from './unit.js';

/** A write that the store has taken, or whose condition did not hold. */
type Applied<Value> = Exclude<StoreOutcome<Value>, { kind: 'failed' }>;

export interface WritePathOptions<Value> {
  readonly store: StoreAdapter<Value, never>;
  readonly settings: CollectionSettings;
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly context: EngineContext;
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  readonly member: Membership | undefined;
  /** Called when a write of the key is about to be acknowledged: no later reader joins an earlier load. */
  readonly detach: (cacheKey: string) => void;
  /** Brings a row into the cache. */
  readonly load: (key: string) => Promise<unknown>;
}

/**
 * The write path: prepare the cache, write to the store, bring the cache in step. Three ways lead
 * through it: group commit, the caller's own transaction, and the caller's own function.
 */
export class WritePath<Value> implements TransactionParticipant {
  readonly #options: WritePathOptions<Value>;
  readonly #cacheSide: CacheSide;
  readonly #queue: WriteQueue<Value>;
  /** Where writes may be acknowledged before the store has them. */
  readonly buffer: CollectionBuffer<Value> | undefined;

  constructor(options: WritePathOptions<Value>) {
    const { codec, context, detach, keyPrefix, lifetime, load, member, settings, store } = options;
    const { burst } = settings;
    this.#options = options;
    this.#cacheSide = new CacheSide({
      ...context,
      settings,
      lifetime,
      detach,
      member,
      store: store as unknown as StoreAdapter<never, never>,
      flushKey: burst === undefined ? undefined : (key, patienceMs) => this.flushKey(key, patienceMs),
    });
    this.#queue = new WriteQueue({
      collection: settings.name,
      store,
      storeTimeoutMs: settings.storeTimeoutMs,
      batch: settings.batch,
      clock: context.clock,
      hooks: {
        prepare: (command) => this.#prepare(command),
        settle: (key, reservation, outcome, ttlMs, settled) =>
          this.#settle(key, reservation, outcome, ttlMs, settled),
        abandon: (key, reservation, error) => this.#cacheSide.abandon(keyPrefix + key, reservation, error),
      },
      ...(burst === undefined
        ? {}
        : { buffered: true, committed: (storeMs) => this.buffer?.committed(storeMs) }),
    });
    const writes = this.#queue;
    this.buffer =
      burst &&
      new CollectionBuffer({
        burst,
        settings,
        store,
        codec,
        keyPrefix,
        context,
        lifetime,
        load,
        member,
        writes,
      });
  }

  /** By group commit, or through the buffer. Whoever does not wait for it has it counted as an activity. */
  submit(command: StoreCommand<Value>, bytes: number, ttlMs: number): Promise<Settled<Value>> {
    const { events, unflushed } = this.#options.context;
    const writing = unflushed.none
      ? (): Promise<Settled<Value>> => this.#queue.submit(command, bytes, ttlMs)
      : (): Promise<Settled<Value>> => this.#behindOthers(command, bytes, ttlMs);
    const settling =
      this.buffer === undefined ? writing() : this.#submitOrBuffer(this.buffer, command, writing);
    return events.write.wanted ? settling.then((settled) => this.#told(command, settled)) : settling;
  }

  /** What a buffered write of another row may allow is tried once more when the store has that. */
  async #behindOthers(command: StoreCommand<Value>, bytes: number, ttlMs: number): Promise<Settled<Value>> {
    const { context, store } = this.#options;
    try {
      return await this.#queue.submit(command, bytes, ttlMs);
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || !error.mayDependOnOthers) throw error;
      await context.unflushed.flush(store.feed);
      return await this.#queue.submit(command, bytes, ttlMs);
    }
  }

  #told(command: StoreCommand<Value>, settled: Settled<Value>): Settled<Value> {
    const { outcome, cache, store, storeMs, cacheMs } = settled;
    const { events } = this.#options.context;
    if (store === 'pending' || cache === 'pending') return settled;
    if (outcome.kind === 'written' && command.kind !== 'restamp' && command.kind !== 'flush') {
      const { key, kind: op } = command;
      const { version } = outcome;
      events.write.emit({
        collection: this.#options.settings.name,
        key,
        version,
        op,
        store,
        cache,
        storeMs,
        cacheMs,
      });
    }
    return settled;
  }

  async #submitOrBuffer(
    buffer: CollectionBuffer<Value>,
    command: StoreCommand<Value>,
    writing: () => Promise<Settled<Value>>,
  ): Promise<Settled<Value>> {
    const { key } = command;
    if (!isBlind(command)) return await buffer.holding(key, writing);
    if (!buffer.takes(key)) return await this.#past(buffer, command, writing);
    const value = command.kind === 'put' ? command.value : null;
    const payload = this.#payload(key, value, undefined);
    const buffered = payload === undefined ? undefined : await buffer.offer({ key, value, payload });
    if (buffered === undefined) return await this.#past(buffer, command, writing);
    this.#options.detach(this.#options.keyPrefix + key);
    const { cacheMs, coalesced, version } = buffered;
    const outcome = { kind: 'written', value: buffered.value, version } as const;
    return { outcome, cache: 'updated', store: 'buffered', coalesced, storeMs: 0, cacheMs };
  }

  #past(
    buffer: CollectionBuffer<Value>,
    { key, kind }: StoreCommand<Value>,
    writing: () => Promise<Settled<Value>>,
  ): Promise<Settled<Value>> {
    return kind === 'delete' ? buffer.holding(key, writing) : writing();
  }

  /** Before something reads what the store has: what is buffered of the key gets there first. */
  async flushKey(key: string, patienceMs?: number): Promise<void> {
    await this.buffer?.flusher.flushKey(key, patienceMs);
  }

  /**
   * As `flushKey`, for a transaction that reads the key. Where others hold the row it is flushed in the transaction,
   * which may hold it itself: otherwise each would wait for the other.
   */
  async #flushInside(key: string, inside: LockstepTransaction, tx: StoreTransaction): Promise<void> {
    const flusher = this.buffer?.flusher;
    if (flusher === undefined || inside.hasFlushed(this, key)) return;
    const { settings, store } = this.#options;
    try {
      await flusher.flushKey(key, INSIDE_PATIENCE_MS);
    } catch (error) {
      if (!(error instanceof StoreBusyError)) throw error;
      const command = await flusher.commandOf(key);
      if (command === undefined) return;
      const [outcome] = await store.write([command], { timeoutMs: settings.storeTimeoutMs, tx });
      if (outcome?.kind === 'failed') throw outcome.error;
      inside.flushed(this, key);
    }
  }

  #prepare(command: StoreCommand<Value>, tx?: LockstepTransaction): Reservation | Promise<Reservation> {
    const { key } = command;
    // A deletion asks for a row: where it finds none, nothing would stop a buffered write of it.
    const blind = command.kind === 'put' && isBlind(command);
    return this.#cacheSide.prepare(key, this.#options.keyPrefix + key, blind, tx?.endsAtMs);
  }

  /** Inside a transaction: at once, alone, and the cache after the commit. */
  submitInside(command: StoreCommand<Value>, ttlMs: number, tx: Transaction): Promise<Settled<Value>> {
    const { settings, store } = this.#options;
    const inside = asLockstepTransaction(tx);
    return inside.call(store.transactions, settings.name, (storeTx) =>
      this.#writeInside(command, ttlMs, inside, storeTx),
    );
  }

  async #writeInside(
    command: StoreCommand<Value>,
    ttlMs: number,
    inside: LockstepTransaction,
    storeTx: StoreTransaction,
  ): Promise<Settled<Value>> {
    const { context, keyPrefix, settings, store } = this.#options;
    const cacheKey = keyPrefix + command.key;
    const reservation = await this.#prepare(command, inside);
    const stamped = command.kind === 'flush' ? command : reserved(command, reservation);
    const startedAt = context.clock.monotonic();
    let outcome: StoreOutcome<Value> | undefined;
    try {
      await this.#enter(command.key, reservation, storeTx);
      [outcome] = await store.write([stamped], { timeoutMs: settings.storeTimeoutMs, tx: storeTx });
      if (outcome?.kind === 'failed') throw outcome.error;
      if (outcome === undefined) throw new StoreContractError(`${store.name}: a write without an outcome`);
    } catch (error) {
      this.#cacheSide.abandon(cacheKey, reservation);
      throw asStoreError(error, settings.name, 'unknown');
    }
    if (outcome.kind === 'written' && !isMoved(command.key, outcome)) {
      const { value, version } = outcome;
      inside.wrote(this, store.source, command.key, { reservation, value, version, ttlMs, final: false });
    } else {
      this.#cacheSide.abandon(cacheKey, reservation);
    }
    const storeMs = context.clock.monotonic() - startedAt;
    return { outcome, cache: 'pending', store: 'pending', coalesced: false, storeMs, cacheMs: 0 };
  }

  /** Behind an intent that runs out, readers can wait for the transaction. */
  async #enter(key: string, { intent }: Reservation, tx: StoreTransaction): Promise<void> {
    const { settings, store } = this.#options;
    if (intent) await store.fence?.enter([key], { timeoutMs: settings.storeTimeoutMs, tx });
  }

  /** The row at a key as a transaction sees it. */
  readInside(key: string, tx: Transaction): Promise<StoreRow<Value> | undefined> {
    const { settings, store } = this.#options;
    const inside = asLockstepTransaction(tx);
    return inside.call(store.transactions, settings.name, async (storeTx) => {
      // What the transaction itself has written it has locked.
      if (!inside.hasWritten(this, key)) await this.#flushInside(key, inside, storeTx);
      const call = { timeoutMs: settings.storeTimeoutMs, primary: true, tx: storeTx };
      const [row] = await store.read([key], call);
      const problem = checkRow(row, key, store);
      if (problem !== undefined) throw problem;
      return row;
    });
  }

  /** The caller's own statements in a transaction, then the row at the key into the cache. */
  async transact<T>(
    key: string,
    body: (client: unknown) => Promise<T>,
    ttlMs: number,
    options: StoreTransactionOptions,
  ): Promise<WriteResult<Value> & { readonly returned: T }> {
    const { context, keyPrefix, settings, store } = this.#options;
    if (store.transactions === undefined) {
      throw new UnsupportedError(`collection "${settings.name}": ${store.name} has no transactions`);
    }
    // Before the transaction holds a connection: flushing needs one, too.
    await this.flushKey(key);
    const host = store.transactions;
    const { buffer } = this;
    let row: StoreRow<Value> | undefined;
    const transaction = (): Promise<{ readonly value: T; readonly settled: TransactionSettled }> =>
      context.transaction(
        host,
        async (tx) => {
          const reservation = await this.#cacheSide.prepare(key, keyPrefix + key, false, tx.endsAtMs);
          const note = (value: Value | null, version: Version): void =>
            tx.wrote(this, store.source, key, { reservation, value, version, ttlMs, final: true });
          // Noted before the caller's statements, too, so that a failure gives the reservation back.
          note(null, NO_VERSION);
          await tx.call(host, settings.name, (storeTx) => this.#enter(key, reservation, storeTx));
          const result = await body(tx.client);
          row = await this.readInside(key, tx);
          note(row?.value ?? null, row?.version ?? NO_VERSION);
          return result;
        },
        options,
      );
    const { value: returned, settled } = await (buffer?.holding(key, transaction) ?? transaction());
    const { version, cache } = settled.get(this)?.get(key) ?? { version: NO_VERSION, cache: 'deferred' };
    if (row !== undefined && version !== NO_VERSION && row.version !== version) {
      // What the transaction had put off until its commit came after the row was read.
      const options = { timeoutMs: settings.storeTimeoutMs, primary: true };
      [row] = await store.read([key], options).catch(() => [row]);
    }
    return { value: row?.value ?? null, version, cache, store: 'committed', coalesced: false, returned };
  }

  /** The caller's own function instead of the store's. Its error propagates. */
  async writeBy(
    key: string,
    value: Value,
    ttlMs: number,
    write: () => Promise<unknown>,
  ): Promise<WriteResult<Value>> {
    const { keyPrefix, settings } = this.#options;
    const cacheKey = keyPrefix + key;
    const reservation = await this.#cacheSide.prepare(key, cacheKey, true);
    try {
      await write();
    } catch (error) {
      this.#cacheSide.abandon(cacheKey, reservation, asStoreError(error, settings.name, 'unknown'));
      throw error;
    }
    const written = { kind: 'written', value, version: NO_VERSION } as const;
    const cache = await new Promise<CacheOutcome>((settled) => {
      this.#settle(key, reservation, written, ttlMs, settled);
    });
    return { value, version: NO_VERSION, cache, store: 'committed', coalesced: false };
  }

  /** Whatever the cache holds of the key becomes unreadable. */
  async invalidate(key: string): Promise<CacheOutcome> {
    const cacheKey = this.#options.keyPrefix + key;
    // A buffered write is what the cache must not lose; where it can't be flushed now, it stays.
    await this.flushKey(key).catch(() => undefined);
    return await this.#cacheSide.invalidate(key, cacheKey, NO_VERSION, false);
  }

  /** The cache after a commit of one key. */
  #settle(
    key: string,
    reservation: Reservation,
    outcome: Applied<Value>,
    ttlMs: number,
    settled: (cache: CacheOutcome) => void,
  ): void {
    const cacheKey = this.#options.keyPrefix + key;
    if (isMoved(key, outcome)) {
      this.#cacheSide.abandon(cacheKey, reservation);
      void this.#floorBoth(key, outcome.key, outcome.version).then(settled);
    } else if (outcome.kind === 'written') {
      const payload = this.#payload(key, outcome.value, outcome.version);
      this.#cacheSide.settle(key, cacheKey, reservation, outcome.version, payload, ttlMs, settled);
    } else {
      // Nothing was written, and the caller's idea of the row was wrong: so may be what is cached.
      this.#cacheSide.abandon(cacheKey, reservation);
      const version = outcome.kind === 'missing' ? NO_VERSION : outcome.version;
      void this.#cacheSide.invalidate(key, cacheKey, version, false).then(settled);
    }
  }

  /** A row that the store keeps under another key than it was written with: readers fill what is there. */
  async #floorBoth(key: string, own: string, version: Version): Promise<CacheOutcome> {
    const { keyPrefix } = this.#options;
    const outcomes = await Promise.all(
      [key, own].map((each) => this.#cacheSide.invalidate(each, keyPrefix + each, version, false)),
    );
    return outcomes.find((outcome) => outcome !== 'invalidated') ?? 'invalidated';
  }

  async settleTransaction(
    key: string,
    write: TransactionWrite | undefined,
    version: Version,
    absent: boolean | undefined,
    storeMs: number,
  ): Promise<KeySettled> {
    const { context, keyPrefix, settings, store } = this.#options;
    const startedAt = context.clock.monotonic();
    const cacheKey = keyPrefix + key;
    // A deletion's own version may be known only from the change list; another statement may have put the row back.
    const current =
      write !== undefined && (write.value === null ? absent !== false : write.version === version);
    let cache: CacheOutcome;
    if (current && (version !== NO_VERSION || !store.capabilities.versioned)) {
      const payload = this.#payload(key, write.value as Value | null, version);
      cache = await new Promise((settled) => {
        const { reservation, ttlMs } = write;
        this.#cacheSide.settle(key, cacheKey, reservation, version, payload, ttlMs, settled);
      });
    } else {
      if (write !== undefined) this.#cacheSide.abandon(cacheKey, write.reservation);
      cache = await this.#cacheSide.invalidate(key, cacheKey, version, false);
    }
    const { write: told } = context.events;
    // Without a version there is no change.
    if (told.wanted && (version !== NO_VERSION || !store.capabilities.versioned)) {
      const cacheMs = context.clock.monotonic() - startedAt;
      const of = { collection: settings.name, key, version, op: 'transaction', store: 'committed' } as const;
      told.emit({ ...of, cache, storeMs, cacheMs });
    }
    return { version, cache };
  }

  async announceTransaction(key: string, tx: LockstepTransaction): Promise<void> {
    const { keyPrefix, settings, store } = this.#options;
    if (settings.consistency !== 'strict') return;
    const reservation = await this.#cacheSide.prepare(key, keyPrefix + key, false, tx.endsAtMs);
    // Its value is not known here: the key gets a floor.
    const unknown = { value: undefined, version: NO_VERSION, ttlMs: 0, final: false };
    tx.wrote(this, store.source, key, { reservation, ...unknown });
  }

  abandonTransaction(key: string, reservation: Reservation): void {
    this.#cacheSide.abandon(this.#options.keyPrefix + key, reservation);
  }

  /** `undefined`: the row can't be cached, and its key gets a floor. */
  #payload(key: string, value: Value | null, version: Version | undefined): Payload | null | undefined {
    const { codec, context } = this.#options;
    if (value === null) return codec.encodeAbsent(key, version);
    try {
      const payload = codec.encode(value, key, version);
      return codec.fits(payload) ? payload : undefined;
    } catch (error) {
      // The row is committed and not what was checked before (a default, a trigger).
      if (!(error instanceof SerializationError)) throw error;
      context.events.error.emit({ where: 'serialize', error });
      return undefined;
    }
  }
}

type Moved<Value> = Extract<Applied<Value>, { kind: 'written' }> & { readonly key: string };

function isMoved<Value>(key: string, outcome: Applied<Value>): outcome is Moved<Value> {
  return outcome.kind === 'written' && outcome.key !== undefined && outcome.key !== key;
}

function asLockstepTransaction(tx: Transaction): LockstepTransaction {
  if (tx instanceof LockstepTransaction) return tx;
  throw new InvalidOptionError('options.tx', 'must be the transaction that lockstep.transaction() hands out');
}
