import type { Collection, Lockstep, Versioned } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type BufferHistory, judge } from './buffer-history.js';
import { Mortal } from './mortal.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** `n` is unique per write; `base` is the row that an update read. */
interface Row {
  readonly n: number;
  readonly base?: number;
}

export interface BufferWorldOptions {
  readonly seed: number;
  /** The cache's transitions; a control takes a rule out. */
  readonly apply?: Apply;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  readonly evictsUnflushed?: boolean;
  /** How far apart the engine takes the clocks to be, in ms. @defaultValue more than they are */
  readonly maxClockSkewMs?: number;
  /** @defaultValue 100 */
  readonly cacheTimeoutMs?: number;
  /** Processes switch their cache off and on. @defaultValue false */
  readonly switches?: boolean;
  /** A control: switched off, they read the store without what is unflushed. @defaultValue false */
  readonly readUnflushed?: boolean;
  readonly wrapCache?: (cache: CacheAdapter) => CacheAdapter;
  readonly wrapStore?: (store: StoreAdapter<Row>) => StoreAdapter<Row>;
}

interface Process {
  readonly collection: Collection<Row>;
  readonly lockstep: Lockstep;
  readonly mortal: Mortal;
  /** The step at which it was last switched off or on. */
  switchedAt: number;
}

const CLIENTS = 5;
const CALLS = 4;
const KEYS = ['a', 'b'];
const EVICTION = 0.03;
const CRASH = 0.004;
const SWITCH = 0.05;
/** The cache's clock and the store's are up to this far from true time, each in its own direction. */
const SKEW_MS = 30;

/**
 * Two application processes, one of which buffers every write and one that writes through, a worker that
 * sweeps and relays, and a foreign writer; a bad network, clocks that are apart, evictions and crashes.
 * Returns what is wrong with the history, and with cache and store once everything is flushed.
 */
export async function runBufferWorld(options: BufferWorldOptions): Promise<string[]> {
  const world = new BufferWorld(options);
  await world.live();
  return await world.settle();
}

/** Time passes faster than messages, now and then: until a flush comes through. */
async function flushed(collection: Collection<Row>): Promise<void> {
  for (;;) {
    const failure = await collection.flush().catch((error: unknown) => error);
    if (!(failure instanceof Error)) return;
  }
}

class BufferWorld {
  readonly #options: BufferWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #cache: SimCache;
  readonly #inner: MemoryStore<Row>;
  readonly #store: StoreAdapter<Row>;
  readonly #history: BufferHistory = { writes: [], reads: [], commits: [], problems: [] };
  readonly #processes: Process[];
  #count = 0;

  constructor(options: BufferWorldOptions) {
    const { apply, evictsUnflushed, faults = 0.02, seed, wrapStore = (same) => same } = options;
    const scheduler = new Scheduler(seed);
    this.#options = options;
    this.#scheduler = scheduler;
    const skewMs = scheduler.chance(0.5) ? SKEW_MS : -SKEW_MS;
    this.#cache = new SimCache({
      scheduler,
      faults,
      evicts: true,
      skewMs,
      ...(apply ? { apply } : {}),
      ...(evictsUnflushed ? { evictsUnflushed } : {}),
    });
    const clock = { ...scheduler.clock, now: () => scheduler.clock.now() - skewMs };
    this.#inner = memoryStore<Row>({ name: 'rows', clock, feedGraceMs: 50 });
    this.#store = wrapStore(
      simStore({
        inner: this.#inner,
        scheduler,
        faults: () => (this.#cache.calm ? 0 : faults),
        versioned: true,
        committed: (key, value, version) => this.#committed(key, value, version),
      }),
    );
    this.#processes = [this.#process(true), this.#process(false)];
  }

  #process(behind: boolean): Process {
    const { cacheTimeoutMs = 100, maxClockSkewMs = 4 * SKEW_MS, wrapCache = (same) => same } = this.#options;
    const mortal = new Mortal();
    const lockstep = createLockstep({
      cache: mortal.cache(wrapCache(this.#cache.adapter)),
      clock: this.#scheduler.clock,
      random: this.#scheduler.random,
      cacheTimeoutMs,
      breaker: { threshold: 1_000_000 },
    });
    const collection = lockstep.collection<Row>({
      name: 'rows',
      store: mortal.store(this.#store),
      strategy: behind ? 'write-behind' : 'write-through',
      burst: { ackTimeoutMs: 60, maxClockSkewMs },
      ttlMs: 2_000,
      ttlJitter: 0,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
      batch: { queueTimeoutMs: 1_000 },
    });
    return { collection, lockstep, mortal, switchedAt: 0 };
  }

  async live(): Promise<void> {
    const worker = this.#process(false);
    const relay = worker.lockstep.startRelay();
    let running = CLIENTS + 1;
    const ends = (): void => {
      running--;
    };
    const clients = [...Array.from({ length: CLIENTS }, () => this.#client()), this.#foreigner()];
    for (const client of clients) client.then(ends, ends);
    const between = (): void => {
      if (this.#scheduler.chance(EVICTION)) this.#cache.evict();
      if (this.#scheduler.chance(CRASH)) this.#crash();
      if (this.#options.switches && this.#scheduler.chance(SWITCH)) this.#switch();
      this.#checkIndex();
    };
    await this.#scheduler.run(() => running === 0, between);
    await Promise.all(clients);
    this.#cache.calm = true;
    await this.#until(relay.stop());
  }

  #switch(): void {
    const process = this.#scheduler.pick(this.#processes);
    process.lockstep.enabled = !process.lockstep.enabled;
    process.switchedAt = this.#scheduler.step;
  }

  /** A process ends in the middle of whatever it does, and another starts. */
  #crash(): void {
    const place = this.#scheduler.chance(0.5) ? 0 : 1;
    this.#processes[place]?.mortal.die();
    this.#processes[place] = this.#process(place === 0);
  }

  /** The index names every unflushed entry, at any instant. */
  #checkIndex(): void {
    for (const [cacheKey, entry] of this.#cache.entries) {
      const key = cacheKey.slice('wtc:rows:'.length);
      if (entry?.kind === 'value' && entry.unflushed && !this.#cache.index.marks.has(key)) {
        this.#history.problems.push(`the index does not name "${key}", which is unflushed`);
      }
    }
  }

  async #client(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const process = this.#scheduler.pick(this.#processes);
      const key = this.#scheduler.pick(KEYS);
      await (this.#scheduler.chance(0.4) ? this.#read(process, key) : this.#write(process, key));
    }
  }

  async #read(process: Process, key: string): Promise<void> {
    const { collection, lockstep, mortal } = process;
    const begin = this.#scheduler.step;
    const off = !lockstep.enabled;
    const unflushed = off && this.#options.readUnflushed;
    const reading = unflushed ? this.#readStore(key) : collection.getVersioned(key);
    const read = await mortal.race(reading).catch(() => undefined);
    if (read === undefined) return;
    const { from, value, version } = read;
    // On a bad network the cache may not be reached, which may hold what is unflushed.
    const past = off && process.switchedAt < begin && this.#options.faults === 0;
    this.#history.reads.push({
      key,
      begin,
      end: this.#scheduler.step,
      version,
      n: value?.n ?? 0,
      from,
      past,
    });
  }

  async #readStore(key: string): Promise<Versioned<Row>> {
    const [row] = await this.#store.read([key], { timeoutMs: 1_000, primary: true });
    return { value: row?.value ?? null, version: row?.version ?? 0, from: 'store' };
  }

  async #write({ collection, mortal }: Process, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const n = ++this.#count;
    const kind = this.#scheduler.random();
    let base: number | undefined;
    const writing =
      kind < 0.2
        ? collection.update(key, (row) => {
            base = row?.n ?? 0;
            return { n, base };
          })
        : kind > 0.8
          ? collection.delete(key)
          : collection.put(key, { n });
    const result = await mortal.race(writing).catch(() => undefined);
    if (result === undefined || result.version === 0 || result.store === 'missing') return;
    const { cache, coalesced, store, value, version } = result;
    const end = this.#scheduler.step;
    const newest = value?.n ?? 0;
    const own = newest === n;
    const passed = coalesced && own;
    this.#history.writes.push({ key, begin, end, version, n: newest, own, passed, base, cache, store });
  }

  #committed(key: string, value: Row | null, version: number): void {
    this.#history.commits.push({ key, step: this.#scheduler.step, version, n: value?.n ?? 0 });
  }

  async #foreigner(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await this.#scheduler.deliver();
      const command = {
        kind: 'put',
        key: this.#scheduler.pick(KEYS),
        value: { n: ++this.#count },
        above: 0,
      } as const;
      const [outcome] = await this.#inner.write([command], { timeoutMs: 1_000 });
      if (outcome?.kind === 'written') this.#committed(command.key, outcome.value, outcome.version);
    }
  }

  /** Once the network is well and everything is flushed: what is lost, and where cache and store differ. */
  async settle(): Promise<string[]> {
    for (const { lockstep } of this.#processes) await this.#until(lockstep.drain());
    const { collection, lockstep } = this.#process(false);
    const relay = lockstep.startRelay();
    await this.#until(flushed(collection));
    await this.#until(this.#feedDrained());
    await this.#until(relay.stop());
    const problems = [...this.#history.problems, ...judge(this.#history)];
    for (const key of KEYS) {
      const entry = this.#cache.live(`wtc:rows:${key}`);
      const [row] = await this.#inner.read([key], { timeoutMs: 1_000, primary: true });
      if (entry?.kind !== 'value') continue;
      const cached = entry.payload === null ? 0 : (JSON.parse(String(entry.payload)) as Row).n;
      if (entry.unflushed) problems.push(`"${key}" is unflushed after the flush`);
      if (cached !== (row?.value.n ?? 0)) {
        problems.push(
          `G5: "${key}" holds ${cached} (${entry.version}), the store ${row?.value.n} (${row?.version})`,
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
