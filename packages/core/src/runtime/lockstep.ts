import { Buffers } from '../buffer/buffers.js';
import { CacheClient } from '../cache/client.js';
import { KeptByCache } from '../cache/kept.js';
import { CollectionEngine } from '../collection/collection.js';
import { ThroughCalls } from '../collection/through.js';
import type { Collection, CollectionInfo, Lockstep, Relay, ThroughRecord } from '../contracts/api.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { LockstepEvents } from '../contracts/events.js';
import type { ChangeFeed } from '../contracts/feed.js';
import type {
  CollectionOptions,
  LockstepOptions,
  RelayOptions,
  ThroughOptions,
  Transaction,
  TransactionOptions,
} from '../contracts/options.js';
import type { QueueAdapter, QueueJob } from '../contracts/queue.js';
import type { StoreAdapter, StoreTransactionOptions, TransactionHost } from '../contracts/store.js';
import {
  ClosedError,
  DuplicateCollectionError,
  InvalidOptionError,
  StoreTimeoutError,
  UnsupportedError,
} from '../errors.js';
import { Consumer } from '../feed/consumer.js';
import { Handover } from '../feed/handover.js';
import { JobRunner, type JobTarget } from '../feed/job-runner.js';
import { startRelay } from '../feed/relay.js';
import { checkOptions, withDefaults } from '../kit/options.js';
import { withTimeout } from '../kit/wait.js';
import { keyPrefix } from '../protocol/key.js';
import { mayHaveCommitted } from '../read/loader.js';
import { Integrity } from '../values/integrity.js';
import {
  LockstepTransaction,
  type TransactionOutcome,
  type TransactionParticipant,
} from '../write/transaction.js';
import { modeOf } from '../write/transaction-mode.js';
import { Activity } from './activity.js';
import type { EngineContext } from './context.js';
import { EventHub } from './events.js';
import { LOCKSTEP, TRANSACTION } from './options.js';
import { tokenSource } from './tokens.js';

type AnyCollection = CollectionEngine<unknown, never, never>;

/** What `close` waits for work under way. */
const CLOSE_TIMEOUT_MS = 15_000;
/** How soon a cache is asked again whether it evicts. */
const EVICTION_RETRY_MS = 5_000;
/** What a feed's answer about what is pending may take. */
const FEED_TIMEOUT_MS = 2_000;

/**
 * Makes a Lockstep over one cache. Throws `InvalidOptionError` naming the option that is wrong; connects
 * at first use.
 */
export function createLockstep(options: LockstepOptions): Lockstep {
  return new LockstepEngine(options);
}

class LockstepEngine implements Lockstep {
  readonly cache: CacheAdapter;
  readonly queue: QueueAdapter | undefined;
  readonly prefix: string;
  readonly #hub = new EventHub();
  readonly #activity = new Activity();
  readonly #clock: Clock;
  readonly #context: EngineContext;
  readonly #collections = new Map<string, AnyCollection>();
  readonly #relays = new Set<Relay>();
  readonly #consumers = new Map<ChangeFeed, Consumer>();
  readonly #onConsumer = new Set<(consumer: Consumer) => void>();
  readonly #cacheTimeoutMs: number;
  readonly #through: ThroughCalls;
  readonly #jobs: JobRunner;
  #evictionWarned = false;
  readonly #lifecycle = { closed: false };
  #closing: Promise<void> | undefined;

  constructor(options: LockstepOptions) {
    const settings = withDefaults(options, LOCKSTEP, 'createLockstep');
    const { breaker, cacheTimeoutMs: timeoutMs, clock, prefix } = settings;
    const integrity = settings.integrity && new Integrity(settings.integrity, prefix);
    const events = this.#hub;
    this.cache = settings.cache;
    this.queue = settings.queue;
    this.prefix = prefix;
    this.#clock = clock;
    this.#cacheTimeoutMs = timeoutMs;
    this.#context = {
      prefix: this.prefix,
      adapter: this.cache,
      cache: new CacheClient(this.cache, {
        timeoutMs,
        breaker,
        clock,
        events,
        // Collections have names, so an empty one can't collide.
        prefix: keyPrefix(this.prefix, ''),
        drained: (beforeMs) => this.#drained(beforeMs),
      }),
      handover: new Handover(this.queue, {
        timeoutMs: settings.queueTimeoutMs,
        breaker,
        clock,
        events,
        integrity,
      }),
      kept: new KeptByCache(this.cache, keyPrefix(this.prefix, ''), timeoutMs, clock),
      queue: this.queue,
      integrity,
      events,
      activity: this.#activity,
      buffers: new Buffers(),
      clock,
      random: settings.random,
      nextToken: tokenSource(),
      local: this.cache.local,
      consumerOf: (feed) => this.#consumerOf(feed),
      lifecycle: this.#lifecycle,
      transaction: (host, body, callOptions) => this.#transaction(host, body, callOptions),
      warnIfEvicting: (collection, why) => this.#warnIfEvicting(collection, why),
    };
    this.#through = new ThroughCalls(this, clock);
    this.#jobs = new JobRunner({
      prefix: this.prefix,
      cache: this.#context.cache,
      clock,
      integrity,
      targets: () => this.#jobTargets(),
    });
  }

  get events(): LockstepEvents {
    return this.#hub;
  }

  get collections(): readonly CollectionInfo[] {
    return [...this.#collections.values()].map((collection) => ({
      name: collection.name,
      store: collection.store as unknown as StoreAdapter<unknown, never>,
      keyPrefix: collection.keyPrefix,
      serializer: collection.codec.serializer,
      unflushed: collection.unflushed,
    }));
  }

  collection<Value, Id = string, Tx = unknown>(
    options: CollectionOptions<Value, Id, Tx>,
  ): Collection<Value, Id, Tx> {
    this.#checkOpen();
    if (this.#collections.has(options.name)) {
      throw new DuplicateCollectionError(`there already is a collection "${options.name}"`, {
        collection: options.name,
      });
    }
    const collection = new CollectionEngine(options, this.#context);
    this.#collections.set(collection.name, collection as unknown as AnyCollection);
    return collection;
  }

  #consumerOf(feed: ChangeFeed): Consumer {
    let consumer = this.#consumers.get(feed);
    if (consumer === undefined) {
      const { adapter, cache, clock, events, nextToken } = this.#context;
      consumer = new Consumer({ feed, name: this.prefix, adapter, cache, clock, events, nextToken });
      this.#consumers.set(feed, consumer);
      for (const listener of [...this.#onConsumer]) listener(consumer);
    }
    return consumer;
  }

  through<Value>(options: ThroughOptions<Value>): ThroughRecord<Value> {
    this.#checkOpen();
    return this.#through.record(options);
  }

  async transaction<T>(body: (tx: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    this.#checkOpen();
    checkOptions(options, TRANSACTION, 'transaction');
    const { signal, timeoutMs = TRANSACTION.timeoutMs.fallback } = options;
    const host = options.on === undefined ? this.#onlyHost() : options.on.transactions;
    if (host === undefined) throw new UnsupportedError('transaction.on: this store has no transactions');
    const { value } = await this.#transaction(host, body, { ...modeOf(options), timeoutMs, signal });
    return value;
  }

  #onlyHost(): TransactionHost {
    const hosts = new Set<TransactionHost>();
    for (const { store } of this.#collections.values()) {
      if (store.transactions !== undefined) hosts.add(store.transactions);
    }
    const [host, second] = hosts;
    if (host === undefined)
      throw new UnsupportedError('transaction: no collection has a store with transactions');
    if (second !== undefined) {
      throw new InvalidOptionError('transaction.on', 'collections live in several databases: say which');
    }
    return host;
  }

  async #transaction<T>(
    host: TransactionHost,
    body: (tx: LockstepTransaction) => Promise<T>,
    options: StoreTransactionOptions,
  ): Promise<{ readonly value: T; readonly outcome: TransactionOutcome }> {
    return await this.#activity.track(this.#runTransaction(host, body, options));
  }

  async #runTransaction<T>(
    host: TransactionHost,
    body: (tx: LockstepTransaction) => Promise<T>,
    options: StoreTransactionOptions,
  ): Promise<{ readonly value: T; readonly outcome: TransactionOutcome }> {
    let current: LockstepTransaction | undefined;
    const attempt = async (storeTx: Parameters<Parameters<TransactionHost['transaction']>[0]>[0]) => {
      // A body that runs again is a new transaction: the earlier one was rolled back.
      current?.end('its body is run again');
      current?.abandon();
      const tx = new LockstepTransaction(host, storeTx, this.#clock.monotonic() + options.timeoutMs);
      current = tx;
      let value: T;
      try {
        value = await body(tx);
        tx.end('its body has returned');
      } catch (error) {
        tx.end('its body has thrown', error);
        throw error;
      }
      // What the body began and did not wait for is part of it, or was refused.
      await tx.idle();
      const changes = await tx.changes();
      await tx.announce(changes, this.#participants(host));
      return { value, tx, changes };
    };
    const startedAt = this.#clock.monotonic();
    try {
      const { value, tx, changes } = await host.transaction(attempt, options);
      const storeMs = this.#clock.monotonic() - startedAt;
      return { value, outcome: await tx.publish(changes, this.#participants(host), storeMs) };
    } catch (error) {
      current?.end('it was rolled back', error);
      if (!mayHaveCommitted(error)) current?.abandon();
      throw error;
    }
  }

  #participants(host: TransactionHost): Map<string, TransactionParticipant[]> {
    const bySource = new Map<string, TransactionParticipant[]>();
    for (const collection of this.#collections.values()) {
      if (collection.store.transactions !== host) continue;
      const { source } = collection.store;
      bySource.set(source, [...(bySource.get(source) ?? []), collection.writes.inside]);
    }
    return bySource;
  }

  startRelay(options: RelayOptions = {}): Relay {
    this.#checkOpen();
    const { buffers, cache, clock, events, handover, nextToken } = this.#context;
    const hasQueue = this.queue !== undefined;
    const consumers = {
      all: [...this.#consumers.values()],
      onNext: (listener: (consumer: Consumer) => void) => {
        this.#onConsumer.add(listener);
        return () => this.#onConsumer.delete(listener);
      },
    };
    const watched = this.cache.shared;
    const context = { cache, handover, hasQueue, events, clock, nextToken, watched, buffers: buffers.all };
    const relay = startRelay(consumers, context, options);
    const tracked: Relay = {
      status: () => relay.status(),
      stop: async () => {
        this.#relays.delete(tracked);
        await relay.stop();
      },
    };
    this.#relays.add(tracked);
    return tracked;
  }

  async handleJob(job: QueueJob): Promise<void> {
    this.#checkOpen();
    await this.#jobs.run(job);
  }

  *#jobTargets(): Iterable<JobTarget> {
    for (const { keyPrefix, name, settings, store, writes } of this.#collections.values()) {
      const { holeTtlMs } = settings;
      const { replicaReads } = store.capabilities;
      yield { name, keyPrefix, holeTtlMs, replicaReads, buffer: writes.buffer };
    }
  }

  /** A cache that can't be asked now is asked again: it may be away when the first collection opens. */
  async #warnIfEvicting(collection: string, why: string): Promise<void> {
    if (this.#evictionWarned || this.#closing !== undefined) return;
    this.#evictionWarned = true;
    const info = await withTimeout(
      this.#clock,
      this.#context.cache.open().then(() => this.cache.info()),
      this.#cacheTimeoutMs * 4,
      () => new StoreTimeoutError('the cache did not describe itself'),
    ).catch(() => undefined);
    if (info === undefined) {
      this.#evictionWarned = false;
      this.#clock.schedule(() => void this.#warnIfEvicting(collection, why), EVICTION_RETRY_MS);
      return;
    }
    if (info.evicts !== true) return;
    process.emitWarning(
      `collection "${collection}" ${why}, but the cache (${info.description}) evicts entries before they expire: ` +
        'an evicted intent lets readers see an older version. Use maxmemory-policy noeviction.',
      { type: 'LockstepWarning', code: 'LOCKSTEP_STRICT_EVICTION' },
    );
  }

  /** Nothing that was changed before the time waits in a feed. */
  async #drained(beforeMs: number): Promise<boolean> {
    const sources = new Map<ChangeFeed, Set<string>>();
    for (const { store } of this.#collections.values()) {
      if (store.feed === undefined) continue;
      sources.set(store.feed, (sources.get(store.feed) ?? new Set()).add(store.source));
    }
    const late = (): Error => new StoreTimeoutError('the feed did not say what is pending');
    for (const [feed, names] of sources) {
      // By the ages, since the clocks differ: what is no older than this was changed afterwards.
      const agoMs = this.#clock.monotonic() - beforeMs;
      const status = withTimeout(this.#clock, feed.status([...names], this.prefix), FEED_TIMEOUT_MS, late);
      const { oldestMs, pending } = await status;
      if (pending > 0 && oldestMs >= agoMs) return false;
    }
    return true;
  }

  async drain(): Promise<void> {
    await this.#activity.idle();
  }

  close(): Promise<void> {
    this.#lifecycle.closed = true;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#relays].map((relay) => relay.stop()));
    const failed = (error: unknown): void => this.#hub.error.emit({ where: 'close', error });
    for (const buffer of this.#context.buffers.all) this.#activity.track(buffer.flushOwn().catch(failed));
    const late = (): Error =>
      new StoreTimeoutError(`calls were still under way after ${CLOSE_TIMEOUT_MS} ms`);
    await withTimeout(this.#clock, this.#activity.idle(), CLOSE_TIMEOUT_MS, late).catch((error: unknown) =>
      this.#hub.error.emit({ where: 'close', error }),
    );
    const stores = [...this.#collections.values()].map(({ store }) => store);
    const feeds = new Set<ChangeFeed>();
    for (const { feed } of stores) if (feed !== undefined) feeds.add(feed);
    const ends = await Promise.allSettled([...feeds].map((feed) => feed.close()));
    ends.push(...(await Promise.allSettled(stores.map((store) => store.close()))));
    ends.push(...(await Promise.allSettled([this.cache.close(), this.queue?.close()])));
    for (const end of ends) {
      if (end.status === 'rejected') this.#hub.error.emit({ where: 'close', error: end.reason });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError('this Lockstep is closed');
  }
}
