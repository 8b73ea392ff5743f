import type { Collection, Lockstep, Versioned, WriteResult } from '../../src/contracts/api.js';
import type { StoreAdapter, StoreRow } from '../../src/contracts/store.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { backwardReads, behindTheStore, type History, staleReads } from './history.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache } from './sim-cache.js';
import { snapshots } from './sim-snapshots.js';
import { simStore } from './sim-store.js';

/** `n` is unique per write, so that a row tells its commit even where versions are hidden. */
export interface Row {
  readonly n: number;
}

export interface WorldOptions {
  readonly seed: number;
  /** The cache's transitions; a mutant takes a rule out. */
  readonly apply?: Apply;
  readonly consistency?: 'available' | 'strict';
  readonly strategy?: 'write-through' | 'cache-aside';
  /** @defaultValue true */
  readonly versioned?: boolean;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** @defaultValue true */
  readonly evicts?: boolean;
  /** Readers' loads may come from a replica that lags. @defaultValue false */
  readonly replica?: boolean;
  /**
   * The store's sessions keep a snapshot: inserts below a delete that it hides are refused, and run again; or, a
   * negative control, stay below its tombstone. @defaultValue they see what was committed before each statement
   */
  readonly snapshots?: 'refuse' | 'hide';
  /** More clients, all at one key: for what shows only when several of them meet. @defaultValue false */
  readonly crowded?: boolean;
  /** Statements and commits are held up past their time-outs, and clients take their time. @defaultValue false */
  readonly late?: boolean;
  /** The cache restarts, empty. @defaultValue false */
  readonly restarts?: boolean;
  /** Whether it says so to those who ask. @defaultValue false */
  readonly hidesLosses?: boolean;
  /** Processes switch their cache off and on. @defaultValue false */
  readonly switches?: boolean;
  /** Changes what the engine sees of the store; a mutant takes a rule out. */
  readonly storeOf?: (store: StoreAdapter<Row>) => StoreAdapter<Row>;
  /** Makes an application process; a negative control puts something naive in the engine's place. */
  readonly application?: (parts: ApplicationParts) => Application;
}

export interface ApplicationParts {
  readonly cache: SimCache;
  readonly store: StoreAdapter<Row>;
  readonly scheduler: Scheduler;
  readonly options: WorldOptions;
}

export interface Application {
  readonly collection: Pick<Collection<Row>, 'getVersioned' | 'put' | 'delete' | 'update'>;
  readonly lockstep?: Lockstep;
  /** A control: what a process does that is told to switch its cache off, or on. @defaultValue that */
  readonly toggle?: (enabled: boolean) => void;
}

const PROCESSES = 2;
const USUAL = { clients: 5, calls: 4, keys: ['a', 'b'] } as const;
const CROWDED = { clients: 8, calls: 6, keys: ['a'] } as const;
const EVICTION = 0.04;
const RESTART = 0.004;
const SWITCH = 0.05;
/** The chance that a statement, or its commit, is held up, and for how long at most: longer than an intent stands. */
const HELD = 0.3;
const MAX_HELD_MS = 2_500;
const MAX_PAUSE_MS = 500;
/** The share of reads that go past the cache. */
const DIRECT = 0.5;

/**
 * Two application processes, a cache and a store behind a bad network, a foreign writer and a relay, in an
 * order drawn from the seed. Returns what is wrong with the history, and with the cache after the drain.
 */
export async function runWorld(options: WorldOptions): Promise<string[]> {
  const world = new World(options);
  await world.live();
  return [...world.problems, ...(await world.drain())];
}

class World {
  readonly problems: string[] = [];
  readonly #options: WorldOptions;
  readonly #scheduler: Scheduler;
  readonly #cache: SimCache;
  readonly #inner: MemoryStore<Row>;
  readonly #store: StoreAdapter<Row>;
  readonly #applications: Application[];
  readonly #history: History = { writes: [], reads: [], commits: [] };
  readonly #versioned: boolean;
  readonly #shape: typeof USUAL | typeof CROWDED;
  #count = 0;
  /** Processes that were told to switch their cache off, and the step at which each was told something last. */
  readonly #off = new Set<Application>();
  readonly #switchedAt = new Map<Application, number>();
  /** Whether a write may have been committed that neither cache nor queue heard of. */
  #untold = false;

  constructor(options: WorldOptions) {
    const { apply, evicts = true, faults = 0.02, seed, versioned = true } = options;
    const scheduler = new Scheduler(seed);
    const { hidesLosses } = options;
    const cache = new SimCache({ scheduler, faults, evicts, hidesLosses, ...(apply ? { apply } : {}) });
    this.#options = options;
    this.#versioned = versioned;
    this.#shape = options.crowded ? CROWDED : USUAL;
    this.#scheduler = scheduler;
    this.#cache = cache;
    this.#inner = memoryStore<Row>({ name: 'rows', clock: scheduler.clock, feedGraceMs: 50 });
    const inner =
      options.snapshots === undefined
        ? this.#inner
        : snapshots({
            inner: this.#inner,
            scheduler,
            newest: (key) => this.#history.commits.findLast((commit) => commit.key === key),
            refuses: options.snapshots === 'refuse',
          });
    const store = simStore({
      inner,
      scheduler,
      faults: () => (cache.calm ? 0 : faults),
      versioned,
      lagging: options.replica === true ? (key) => this.#lagging(key) : undefined,
      committed: (key, value, version) => this.#committed(key, value, version),
      heldMs: options.late
        ? () => (!cache.calm && scheduler.chance(HELD) ? scheduler.random() * MAX_HELD_MS : 0)
        : undefined,
    });
    this.#store = store;
    const seen = options.storeOf?.(store) ?? store;
    const make = options.application ?? engine;
    this.#applications = Array.from({ length: PROCESSES }, () =>
      make({ cache, store: seen, scheduler, options }),
    );
  }

  /** Runs the clients to their ends, and judges what they saw. */
  async live(): Promise<void> {
    const { clients: count } = this.#shape;
    let running = count + 1;
    const ends = (): void => {
      running--;
    };
    const clients = [...Array.from({ length: count }, () => this.#client()), this.#foreigner()];
    for (const client of clients) client.then(ends, ends);
    const evict = (): void => {
      if (this.#scheduler.chance(EVICTION)) this.#cache.evict();
      if (this.#options.switches && this.#scheduler.chance(SWITCH)) this.#switch();
      if (this.#options.restarts && this.#scheduler.chance(RESTART)) this.#cache.restart();
    };
    await this.#scheduler.run(() => running === 0, evict);
    await Promise.all(clients);
    this.problems.push(...staleReads(this.#history), ...behindTheStore(this.#history));
    if (this.#options.consistency === 'strict') this.problems.push(...backwardReads(this.#history));
  }

  #switch(): void {
    const application = this.#scheduler.pick(this.#applications);
    const enabled = this.#off.delete(application);
    if (!enabled) this.#off.add(application);
    this.#switchedAt.set(application, this.#scheduler.step);
    if (application.toggle !== undefined) application.toggle(enabled);
    else if (application.lockstep !== undefined) application.lockstep.enabled = enabled;
  }

  async #client(): Promise<void> {
    const { late = false } = this.#options;
    // Longer than it takes until what is held up arrives.
    for (let call = 0; call < this.#shape.calls * (late ? 4 : 1); call++) {
      if (late) await this.#pause();
      const application = this.#scheduler.pick(this.#applications);
      const key = this.#scheduler.pick<string>(this.#shape.keys);
      if (this.#scheduler.chance(late ? 0.95 : 0.5)) await this.#read(application, key);
      else await this.#write(application.collection, key);
    }
  }

  #pause(): Promise<void> {
    const { clock, random } = this.#scheduler;
    return new Promise((resolve) => {
      clock.schedule(resolve, random() * MAX_PAUSE_MS);
    });
  }

  async #read(application: Application, key: string): Promise<void> {
    const { collection } = application;
    const past = this.#off.has(application);
    const begin = this.#scheduler.step;
    const direct = this.#options.late && this.#scheduler.chance(DIRECT);
    const read = await (direct ? this.#readStore(key) : collection.getVersioned(key)).catch(() => undefined);
    if (read === undefined) return;
    const end = this.#scheduler.step;
    const version = read.value === null ? 0 : this.#versionOf(key, read.value);
    if (this.#versioned && read.value !== null && version !== read.version) {
      this.problems.push(`read of "${key}" returned the row of ${version} as ${read.version}`);
    }
    const stood = (this.#switchedAt.get(application) ?? 0) < begin;
    const seen = { key, begin, end, version: version || read.version, from: read.from };
    this.#history.reads.push({ ...seen, past: past && stood && !direct });
  }

  async #write(collection: Application['collection'], key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const row = { n: ++this.#count };
    const kind = this.#scheduler.random();
    const updates = this.#versioned && kind < 0.2;
    const deletes = kind > 0.7;
    const writing = updates
      ? collection.update(key, () => row)
      : deletes
        ? collection.delete(key)
        : collection.put(key, row);
    const result = await writing.catch(() => undefined);
    if (result === undefined || result.cache === 'deferred') this.#untold = true;
    if (result === undefined) return;
    const end = this.#scheduler.step;
    const version = this.#versioned ? result.version : this.#provenBy(key, result, begin);
    this.#history.writes.push({ key, begin, end, version, deletes, cache: result.cache });
  }

  /** As a process reads that can't reach the cache. */
  async #readStore(key: string): Promise<Versioned<Row>> {
    const [row] = await this.#store.read([key], { timeoutMs: 1_000, primary: true });
    return { value: row?.value ?? null, version: row?.version ?? 0, from: 'store' };
  }

  /** Where versions are hidden: a row tells its own; a deletion is at least the first one since it began. */
  #provenBy(key: string, { value }: WriteResult<Row>, begin: number): number {
    if (value !== null) return this.#versionOf(key, value);
    const deletion = this.#history.commits.find((c) => c.key === key && c.deleted && c.step >= begin);
    return deletion?.version ?? 0;
  }

  #versionOf(key: string, { n }: Row): number {
    const commit = this.#history.commits.find((c) => c.key === key && c.n === n);
    if (commit === undefined) this.problems.push(`"${key}" held row ${n}, which was never committed (G1)`);
    return commit?.version ?? 0;
  }

  #committed(key: string, value: Row | null, version: number): void {
    const step = this.#scheduler.step;
    this.#history.commits.push({ key, step, version, deleted: value === null, n: value?.n ?? 0 });
  }

  /** A state of the row that is up to two commits old; none, once the network is well. */
  #lagging(key: string): StoreRow<Row> | undefined {
    const commits = this.#history.commits.filter((commit) => commit.key === key);
    const lag = this.#cache.calm ? 0 : Math.floor(this.#scheduler.random() * 3);
    const seen = commits[commits.length - 1 - lag];
    return seen === undefined || seen.deleted
      ? undefined
      : { key, value: { n: seen.n }, version: seen.version };
  }

  /**
   * Writes behind the adapter's back. Without a feed nobody could tell the cache of it; and a strict
   * collection promises G7 of writers that announce themselves (`docs/consistency.md`).
   */
  async #foreigner(): Promise<void> {
    const writes = this.#versioned && this.#options.consistency !== 'strict' ? 2 : 0;
    for (let i = 0; i < writes; i++) {
      await this.#scheduler.deliver();
      const key = this.#scheduler.pick<string>(this.#shape.keys);
      const command = this.#scheduler.chance(0.3)
        ? ({ kind: 'delete', key, above: 0 } as const)
        : ({ kind: 'put', key, value: { n: ++this.#count }, above: 0 } as const);
      const [outcome] = await this.#inner.write([command], { timeoutMs: 1_000 });
      if (outcome?.kind === 'written') this.#committed(key, outcome.value, outcome.version);
    }
  }

  /** G5: once the network is well and the feed is drained, no entry may differ from its row. */
  async drain(): Promise<string[]> {
    this.#cache.calm = true;
    const { lockstep } = this.#applications[0] as Application;
    await this.#until(Promise.all(this.#applications.map((application) => application.lockstep?.drain())));
    if (lockstep !== undefined && this.#versioned) {
      const relay = lockstep.startRelay();
      await this.#until(this.#feedDrained());
      await this.#until(relay.stop());
    }
    // Without versions there is no feed to tell the cache of such a write: it may be old until it expires.
    if (!this.#versioned && this.#untold) return [];
    const problems: string[] = [];
    for (const key of this.#shape.keys) {
      const entry = this.#cache.live(`wtc:rows:${key}`);
      const [row] = await this.#inner.read([key], { timeoutMs: 1_000, primary: true });
      if (entry?.kind === 'hole' && entry.knownAbsent && row !== undefined) {
        problems.push(`G5: "${key}" is known absent, the row is at ${row.version}`);
      }
      if (entry?.kind !== 'value') continue;
      const cached = entry.payload === null ? undefined : (JSON.parse(String(entry.payload)) as Row).n;
      if (cached !== row?.value.n) {
        problems.push(
          `G5: "${key}" holds row ${cached} (${entry.version}), the store ${row?.value.n} (${row?.version})`,
        );
      }
    }
    return problems;
  }

  async #feedDrained(): Promise<void> {
    while ((await this.#inner.feed.status(['rows'])).pending > 0) {
      await new Promise<void>((resolve) => {
        this.#scheduler.clock.schedule(resolve, 20);
      });
    }
  }

  async #until(promise: Promise<unknown>): Promise<void> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    promise.then(end, end);
    await this.#scheduler.run(() => done);
    await promise;
  }
}

export function engine({ cache, options, scheduler, store }: ApplicationParts): Application {
  const lockstep = createLockstep({
    cache: cache.adapter,
    clock: scheduler.clock,
    random: scheduler.random,
    cacheTimeoutMs: 100,
    // The breaker has a clock of its own; here every call is tried.
    breaker: { threshold: 1_000_000 },
  });
  const collection = lockstep.collection<Row>({
    name: 'rows',
    store,
    ttlMs: 10_000,
    holeTtlMs: 2_000,
    leaseMs: 300,
    leaseWaitMs: 200,
    // Short intents, so that what is held up outlives them.
    storeTimeoutMs: options.late ? 100 : 500,
    batch: { queueTimeoutMs: options.late ? 100 : 1_000 },
    ...(options.consistency ? { consistency: options.consistency } : {}),
    ...(options.strategy ? { strategy: options.strategy } : {}),
  });
  return { collection, lockstep };
}
