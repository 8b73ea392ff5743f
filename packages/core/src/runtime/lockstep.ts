import { randomBytes } from 'node:crypto';
import { Buffers } from '../buffer/buffers.js';
import { CacheClient } from '../cache/client.js';
import { KeptByCache } from '../cache/kept.js';
import { collectionEngine } from '../collection/collection.js';
import { ThroughCalls } from '../collection/through.js';
import type {
  Collection,
  CollectionInfo,
  Lockstep,
  ThroughRecord,
  TransactionResult,
} from '../contracts/api.js';
import type { LockstepEvents } from '../contracts/events.js';
import type { Fleet } from '../contracts/fleet.js';
import type { UniqueSets } from '../contracts/lookups.js';
import type {
  CollectionOptions,
  LockstepOptions,
  OpenOptions,
  ThroughOptions,
  Transaction,
  TransactionOptions,
} from '../contracts/options.js';
import type { QueueJob } from '../contracts/queue.js';
import type { Relay, RelayOptions } from '../contracts/relay.js';
import type { LockstepStatus } from '../contracts/status.js';
import type { View, ViewInfo, ViewOptions } from '../contracts/views.js';
import { ClosedError, StoreTimeoutError } from '../errors.js';
import { Handover } from '../feed/handover.js';
import { JobRunner } from '../feed/job-runner.js';
import { startRelay } from '../feed/relay.js';
import { withDefaults } from '../kit/options.js';
import { withTimeout } from '../kit/wait.js';
import { NearWatch } from '../near/watch.js';
import { enginePrefix } from '../protocol/key.js';
import { checkCompression } from '../values/compression.js';
import { Integrity } from '../values/integrity.js';
import { viewOf } from '../views/view.js';
import { Activity } from './activity.js';
import { AnnouncedParts } from './announced-parts.js';
import { Collections } from './collections.js';
import { Consumers } from './consumers.js';
import type { EngineContext } from './context.js';
import { EventHub } from './events.js';
import { evictionWarning } from './eviction-warning.js';
import { Announcements } from './fleet.js';
import { LOCKSTEP } from './options.js';
import { openAll } from './ready.js';
import { CacheSwitch, DISABLED } from './switch.js';
import { Transactions } from './transactions.js';
import { UsedAdapters } from './used-adapters.js';

/** How long `close` waits for work under way. */
const CLOSE_TIMEOUT_MS = 15_000;

/**
 * Makes a Lockstep over one cache. Throws `InvalidOptionError` naming the option that is wrong; connects
 * at first use.
 */
export function createLockstep(options: LockstepOptions): Lockstep {
  return new LockstepEngine(options);
}

/** Makes tokens that are unique for ever: 96 random bits of this process, then a counter. */
function tokenSource(): () => string {
  const process = randomBytes(12).toString('base64url');
  let count = 0;
  return () => `${process}.${(++count).toString(36)}`;
}

class LockstepEngine implements Lockstep {
  readonly #context: EngineContext;
  /** The start of the keys that belong to no collection. */
  readonly #ownPrefix: string;
  readonly #lifecycle = { closed: false };
  readonly #adapters = new UsedAdapters();
  readonly #collections = new Collections();
  readonly #consumers = new Consumers(() => this.#context, this.#collections);
  readonly #transactions: Transactions;
  readonly #through: ThroughCalls;
  readonly #jobs: JobRunner;
  readonly #relays = new Set<Relay>();
  readonly #announcements: Announcements;
  #closing: Promise<void> | undefined;

  constructor(options: LockstepOptions) {
    const settings = withDefaults(options, LOCKSTEP, 'createLockstep');
    const { breaker, cache: adapter, cacheTimeoutMs: timeoutMs, clock, prefix, queue, random } = settings;
    checkCompression(settings.compression, 'createLockstep');
    const integrity = settings.integrity && new Integrity(settings.integrity, prefix);
    const activity = new Activity();
    const events = new EventHub();
    const ownPrefix = enginePrefix(prefix);
    this.#ownPrefix = ownPrefix;
    const buffers = new Buffers();
    const disabled = process.env[DISABLED];
    const onOff = (): void => {
      nearWatch.clear();
      activity.track(buffers.flushOwn((error) => events.error.emit({ where: 'flush', error })));
    };
    const cacheSwitch = new CacheSwitch({ prefix, events, disabled, onOff });
    const bounds = { breaker, clock, events };
    const cache = new CacheClient(adapter, {
      ...bounds,
      timeoutMs,
      prefix: ownPrefix,
      drained: (beforeMs) => this.#consumers.drained(beforeMs),
    });
    const announced = new AnnouncedParts();
    const nearWatch = new NearWatch({
      ...{ adapter, clock, prefix: ownPrefix, timeoutMs },
      open: () => cache.open(),
      onBreak: (error) => {
        cache.trust.due();
        events.error.emit({ where: 'near', error });
      },
    });
    this.#context = {
      prefix,
      announced,
      adapter,
      cache,
      handover: new Handover(queue, { ...bounds, timeoutMs: settings.queueTimeoutMs, integrity }),
      kept: new KeptByCache(adapter, ownPrefix, timeoutMs, clock),
      queue,
      compression: settings.compression,
      integrity,
      events,
      activity,
      buffers,
      cacheSwitch,
      nearWatch,
      anySuspended: (tagKeys) => this.#collections.anySuspended(tagKeys),
      clock,
      random,
      nextToken: tokenSource(),
      lifecycle: this.#lifecycle,
      consumerOf: (feed) => this.#consumers.of(feed),
      transaction: (host, body, callOptions) => this.#transactions.run(host, body, callOptions),
      warnIfEvicting: evictionWarning(() => this.#context, timeoutMs * 4),
    };
    this.#transactions = new Transactions(this.#collections, activity, clock);
    this.#through = new ThroughCalls(this, clock);
    this.#jobs = new JobRunner({ prefix, cache, clock, integrity, targets: this.#collections });
    this.#announcements = new Announcements({
      adapter,
      isConnected: () => cache.wasOpened,
      ownPrefix,
      announced,
      clock,
      events,
      relay: () => [...this.#relays][0]?.status(),
      near: () => nearWatch.status(),
      queue: queue?.name ?? null,
      settings: settings.announce,
      status: () => cacheSwitch.status,
      timeoutMs,
    });
    this.#adapters.use(adapter);
    this.#adapters.use(queue);
  }

  get cache() {
    return this.#context.adapter;
  }

  get queue() {
    return this.#context.queue;
  }

  get prefix(): string {
    return this.#context.prefix;
  }

  get events(): LockstepEvents {
    return this.#context.events;
  }

  get collections(): readonly CollectionInfo[] {
    return this.#collections.infos();
  }

  get fleet(): Fleet {
    return this.#announcements;
  }

  get views(): readonly ViewInfo[] {
    return this.#collections.views;
  }

  get enabled(): boolean {
    return !this.status().switchedOff.includes('process');
  }

  set enabled(enabled: boolean) {
    this.#context.cacheSwitch.set('process', enabled);
  }

  status(): LockstepStatus {
    const { cacheSwitch, nearWatch } = this.#context;
    const near = nearWatch.status();
    return near.length === 0 ? cacheSwitch.status : { ...cacheSwitch.status, near };
  }

  async switchOff(): Promise<readonly string[]> {
    this.#checkOpen();
    return await this.#consumers.switch(true);
  }

  async switchOn(): Promise<readonly string[]> {
    this.#checkOpen();
    return await this.#consumers.switch(false);
  }

  collection<Value, Id = string, Tx = unknown, const Unique extends UniqueSets<Value> = UniqueSets<Value>>(
    options: CollectionOptions<Value, Id, Tx, Unique>,
  ): Collection<Value, Id, Tx, Unique> {
    this.#checkOpen();
    this.#collections.checkFree(options?.name);
    const collection = collectionEngine(options, this.#context);
    this.#collections.add(collection);
    this.#adapters.use(collection.store);
    this.#adapters.use(collection.store.feed);
    this.#announcements.start();
    return collection.calls;
  }

  view<Params, Value, Client>(options: ViewOptions<Params, Value, Client>): View<Params, Value> {
    this.#checkOpen();
    this.#collections.checkFree(options?.name);
    const info = viewOf(options, this.#context);
    this.#collections.addView(info as ViewInfo);
    return info.calls;
  }

  through<Value>(options: ThroughOptions<Value>): ThroughRecord<Value> {
    this.#checkOpen();
    return this.#through.record(options);
  }

  transaction<T, Tx = unknown>(
    body: (tx: Transaction<Tx>) => Promise<T>,
    options: TransactionOptions<Tx> & { readonly outcomes: true },
  ): Promise<TransactionResult<T>>;
  transaction<T, Tx = unknown>(
    body: (tx: Transaction<Tx>) => Promise<T>,
    options?: TransactionOptions<Tx> & { readonly outcomes?: false },
  ): Promise<T>;
  async transaction<T, Tx>(
    body: (tx: Transaction<Tx>) => Promise<T>,
    options: TransactionOptions<Tx> = {},
  ): Promise<T | TransactionResult<T>> {
    this.#checkOpen();
    const result = await this.#transactions.transaction(body as (tx: Transaction) => Promise<T>, options);
    return options.outcomes === true ? result : result.returned;
  }

  async open(options: OpenOptions = {}): Promise<void> {
    this.#checkOpen();
    await openAll({ ...this.#context, prefix: this.#ownPrefix, collections: this.#collections }, options);
  }

  startRelay(options: RelayOptions = {}): Relay {
    this.#checkOpen();
    const relay = startRelay(this.#consumers, this.#context, options);
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

  async drain(): Promise<void> {
    await this.#context.activity.idle();
  }

  close(): Promise<void> {
    this.#lifecycle.closed = true;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { activity, buffers, clock, events } = this.#context;
    const failed = (error: unknown): void => events.error.emit({ where: 'close', error });
    await Promise.all([...this.#relays].map((relay) => relay.stop()));
    activity.track(buffers.flushOwn(failed));
    const late = (): Error =>
      new StoreTimeoutError(`calls were still under way after ${CLOSE_TIMEOUT_MS} ms`);
    await withTimeout(clock, activity.idle(), CLOSE_TIMEOUT_MS, late).catch(failed);
    await Promise.all([this.#announcements.end(), ...this.#consumers.all.map((consumer) => consumer.end())]);
    await this.#context.nearWatch.close().catch(failed);
    await this.#adapters.close(failed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    if (this.#lifecycle.closed) throw new ClosedError('this Lockstep is closed');
  }
}
