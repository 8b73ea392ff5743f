import type { QueueAdapter, QueueStatus } from '@lockstep/core';
import { eitherDown, type Outage, type OutageAllowances, seededRandom, systemMs } from '@lockstep/torture';
import { queueAt } from '../engines/adapters.js';
import { FaultInjector } from '../faults/injector.js';
import { isMongoFault } from '../faults/names.js';
import { type Figures, figuresOf } from '../figures.js';
import type { Rates } from '../messages.js';
import type { DemoOptions } from '../options.js';
import { makeProduct } from '../products.js';
import { openStore } from '../stores/open.js';
import type { ShopStore } from '../stores/store.js';
import { Applications } from './applications.js';
import { FactExchange } from './exchange.js';
import { FeedLag } from './feed-lag.js';
import { OutageWatch } from './outage-watch.js';
import { mongoPinger, redisPinger } from './pingers.js';
import { Poller } from './poller.js';
import { type Servers, startServers } from './servers.js';
import { Totals } from './totals.js';
import { Workers } from './workers.js';

/**
 * The time that the checker allows for a write of which only the relay's lag is promised. After an outage clients look
 * for the cache again every half second, and the relay, which backs off, a little later.
 */
export const ALLOWANCES: OutageAllowances = { lagBoundMs: 1_000, recoveryMs: 2_000 };

const POLL_MS = 500;

/** Everything that a run consists of, started and stopped together. */
export class Shop {
  readonly options: DemoOptions;
  readonly servers: Servers;
  readonly store: ShopStore;
  readonly applications: Applications;
  readonly workers: Workers;
  readonly exchange: FactExchange;
  readonly totals = new Totals();
  readonly feedLag: FeedLag;
  readonly faults: FaultInjector;
  /** Outages of the cache. */
  readonly watch: OutageWatch | undefined;
  /** Outages of a store that is a replica set: another primary may have to be elected. */
  readonly storeWatch: OutageWatch | undefined;
  readonly feed: Poller<Awaited<ReturnType<ShopStore['feedStatus']>>> | undefined;
  readonly queue: Poller<QueueStatus> | undefined;
  readonly #queueAdapter: QueueAdapter | undefined;
  readonly notes: string[];
  /** When the load began, by `systemMs`; 0 before the load. */
  loadSinceMs = 0;
  unexpectedExits = 0;
  serverVersions: Record<string, string> = {};
  #stopping: Promise<void> | undefined;

  private constructor(
    options: DemoOptions,
    servers: Servers,
    store: ShopStore,
    notes: string[],
    onNotice: (message: string) => void,
  ) {
    this.options = options;
    this.servers = servers;
    this.store = store;
    this.notes = notes;
    const { cache, queue } = servers;
    this.feedLag = new FeedLag(ALLOWANCES.recoveryMs);
    this.exchange = new FactExchange(() => this.outagesKnownMs);
    const onOutage = () => this.exchange.tellOutages(this.outages);
    this.watch = cache === null ? undefined : new OutageWatch(redisPinger(cache.url), onOutage);
    this.storeWatch =
      servers.mongo === null ? undefined : new OutageWatch(mongoPinger(servers.mongo.url), onOutage);
    const relayed = options.engine === 'lockstep';
    const onExit = (name: string, how: string) => {
      if (!this.faults.expects(name)) {
        this.unexpectedExits += 1;
        onNotice(`${name} ended: ${how}`);
      }
    };
    this.applications = new Applications({
      count: cache === null ? 1 : options.processes,
      config: {
        seed: options.seed,
        products: options.products,
        engine: options.engine,
        store: servers.storeAddress,
        cacheUrl: cache?.url ?? null,
        queueUrl: queue?.url ?? null,
        mix: options.mix,
        trace: options.trace ?? null,
        zipf: options.zipf ?? null,
        allowances: ALLOWANCES,
      },
      exchange: this.exchange,
      totals: this.totals,
      onExit,
    });
    this.workers = new Workers({
      count: cache === null || !relayed ? 0 : options.workers,
      config: { store: servers.storeAddress, cacheUrl: cache?.url ?? '', queueUrl: queue?.url ?? null },
      onReport: ({ batches, errors }) => {
        this.feedLag.add(batches);
        for (const { where, message } of errors) {
          this.totals.backgroundErrors.add({ where: `worker: ${where}`, code: '', message, count: 1 });
        }
      },
      onExit,
    });
    this.faults = new FaultInjector({
      cache,
      queue,
      store,
      mongo: servers.mongo,
      applications: this.applications,
      exchange: this.exchange,
      products: options.products,
      random: seededRandom(options.seed, 900_001),
      adopts: relayed,
    });
    this.feed = relayed ? new Poller(() => store.feedStatus(), POLL_MS) : undefined;
    const adapter = queue === null || !relayed ? undefined : queueAt(queue.url);
    this.#queueAdapter = adapter;
    this.queue = adapter === undefined ? undefined : new Poller(() => adapter.status(), POLL_MS);
  }

  /** Starts servers, table, applications and workers; the cache is warm when it resolves, and nothing loads yet. */
  static async start(options: DemoOptions, onNotice: (message: string) => void): Promise<Shop> {
    const notes: string[] = [];
    const note = (message: string) => {
      notes.push(message);
      onNotice(message);
    };
    onNotice('starting the servers');
    const servers = await startServers({
      store: options.store,
      owned: options.faults.length > 0,
      elections: options.faults.some(isMongoFault),
      onNotice: note,
    });
    let store: ShopStore | undefined;
    let shop: Shop | undefined;
    try {
      store = openStore(servers.storeAddress);
      onNotice(`seeding ${options.products} products`);
      const random = seededRandom(options.seed, 900_000);
      await store.prepare(
        Array.from({ length: options.products }, (_, index) => makeProduct(index + 1, random)),
      );
      shop = new Shop(options, servers, store, notes, onNotice);
      await shop.#begin(onNotice);
      return shop;
    } catch (error) {
      await shop?.stop();
      await store?.close().catch(() => undefined);
      await servers.stop();
      throw error;
    }
  }

  async #begin(onNotice: (message: string) => void): Promise<void> {
    const { cache, queue } = this.servers;
    this.serverVersions = {
      store: await this.store.serverVersion(),
      ...(cache === null ? { cache: 'memory' } : { cache: `Redis or Valkey ${cache.version}` }),
      ...(queue === null ? {} : { queue: `Redis or Valkey ${queue.version}` }),
      node: process.version,
    };
    await Promise.all([this.watch?.start(), this.storeWatch?.start()]);
    onNotice('starting the processes');
    await Promise.all([this.applications.start(), this.workers.start()]);
    onNotice('warming the cache with getMany, in batches of 500');
    await this.applications.warm(this.options.products);
  }

  async load(rates: Rates): Promise<void> {
    this.loadSinceMs = systemMs();
    this.feedLag.begin(this.loadSinceMs);
    await this.applications.load(rates);
  }

  /** In which the relay could not bring cache and store in step. */
  get outages(): Outage[] {
    return eitherDown(this.watch?.outages ?? [], this.storeWatch?.outages ?? []);
  }

  /** Up to when all outages are known. */
  get outagesKnownMs(): number {
    const nowMs = systemMs();
    return Math.min(this.watch?.knownMs ?? nowMs, this.storeWatch?.knownMs ?? nowMs);
  }

  get figures(): Figures {
    this.feedLag.settle(systemMs(), this.outages);
    return figuresOf({
      totals: this.totals,
      faults: this.faults.counts,
      feedLag: this.feedLag.summary,
      feedLagInOutages: this.feedLag.outageSummary,
      cacheDownMs: this.watch?.downMs(this.loadSinceMs) ?? 0,
      storeDownMs: this.storeWatch?.downMs(this.loadSinceMs) ?? 0,
    });
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.feed?.stop();
    this.queue?.stop();
    // A frozen Redis would hold up everything that wants to say goodbye to it.
    await this.faults.settle();
    await Promise.allSettled([this.applications.stop(), this.workers.stop()]);
    await Promise.allSettled([
      this.watch?.stop(),
      this.storeWatch?.stop(),
      this.#queueAdapter?.close(),
      this.store.close(),
    ]);
    await this.servers.stop();
  }
}
