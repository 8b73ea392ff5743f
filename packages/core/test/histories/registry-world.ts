import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { ChangeFeed } from '../../src/contracts/feed.js';
import type { Relay } from '../../src/contracts/relay.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type History, staleReads } from './history.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { adapterOf, overNetwork, type Side } from './sim-registry.js';
import { simStore } from './sim-store.js';
import type { Row } from './world.js';

export interface RegistryWorldOptions {
  readonly seed: number;
  /** The cache fails over while one process stays with the old primary. @defaultValue false */
  readonly split?: boolean;
  /** The chance that a call of the registry fails. @defaultValue 0.02 */
  readonly registryFaults?: number;
  /** The cache holds entries of a collection from before anything was recorded, of rows that have changed since. @defaultValue false */
  readonly filled?: boolean;
  /** No relay runs before the others are through. @defaultValue false */
  readonly lateRelay?: boolean;
  /** The process that relays can't read the registry once it knows the first collections. @defaultValue false */
  readonly deafRelay?: boolean;
  /** Changes what a process sees of the feed; a mutant takes a rule out. */
  readonly adapt?: (feed: ChangeFeed) => ChangeFeed;
}

/** A process, and the primary that its connections lead to. */
interface Process {
  readonly lockstep: Lockstep;
  readonly relays: boolean;
  readonly collections: Collection<Row>[];
  side: Side;
}

const KEYS = ['a', 'b', 'c'] as const;
const FAULTS = 0.02;
const CLIENTS = 5;
const CALLS = 6;
const FOREIGN_WRITES = 2;
const READS_OF_LATE = 10;
const PAUSE_MS = 1_500;

/**
 * Several collections on one table, declared by different processes, one of them late; a relay in a process of
 * its own, and a registry across a network that delays and loses. With `split`, the cache fails over to a replica that
 * lacks the last writes, and one process, with a relay of its own, goes on with the old primary for a while.
 */
export async function runRegistryWorld(options: RegistryWorldOptions): Promise<string[]> {
  const world = new RegistryWorld(options);
  await world.live();
  return [...world.problems, ...(await world.drain())];
}

class RegistryWorld {
  readonly problems: string[] = [];
  readonly #options: RegistryWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #rows: MemoryStore<Row>;
  readonly #history: History = { writes: [], reads: [], commits: [] };
  readonly #processes: Process[];
  readonly #relays: Relay[] = [];
  #side: Side;
  #sides = 0;
  readonly #late = { declared: false };
  #calm = false;
  #count = 0;

  constructor(options: RegistryWorldOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options.seed);
    this.#rows = memoryStore<Row>({ name: 'rows', clock: this.#scheduler.clock, feedGraceMs: 50 });
    this.#side = this.#newSide();
    this.#processes = [['x', 'y'], ['x'], ['x']].map((names, n) => this.#newProcess(names, n === 2));
  }

  #startRelays(): void {
    const relaying = this.#options.split === true ? [0, 2] : [2];
    for (const n of relaying) this.#relays.push((this.#processes[n] as Process).lockstep.startRelay());
  }

  /** As an older release, or another life of the prefix, has left it; nobody is told of the later change. */
  async #fill(): Promise<void> {
    for (const key of KEYS) {
      const [old, now] = [{ n: ++this.#count }, { n: ++this.#count }];
      const version = await this.#writeUntold(key, old);
      const expiresAtMs = this.#scheduler.clock.now() + 1_000_000;
      const at = { version, expiresAtMs, staleAtMs: 0, unflushed: false };
      const payload = JSON.stringify(old);
      this.#side.cache.entries.set(`wtc:x:${key}`, { ...at, kind: 'value', payload });
      await this.#writeUntold(key, now);
    }
  }

  async #writeUntold(key: string, row: Row): Promise<number> {
    await this.#writeForeign(key, row);
    const { version } = this.#history.commits.at(-1) as { version: number };
    this.#rows.feed.acknowledge([{ source: 'rows', key, version }]);
    return version;
  }

  #newSide(): Side {
    const cache = new SimCache({ scheduler: this.#scheduler, faults: FAULTS, evicts: true });
    return { identity: `primary ${this.#sides++}`, cache };
  }

  #newProcess(names: readonly string[], relays: boolean): Process {
    const scheduler = this.#scheduler;
    const at = { side: this.#side };
    const lockstep = createLockstep({
      cache: adapterOf(() => at.side),
      clock: scheduler.clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const process: Process = Object.assign(at, { lockstep, relays, collections: [] });
    for (const name of names) this.#declare(process, name);
    return process;
  }

  #declare(process: Process, name: string): void {
    const collection = process.lockstep.collection<Row>({
      name,
      store: this.#store(process),
      ttlMs: 1_000_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
      batch: { queueTimeoutMs: 1_000 },
    });
    process.collections.push(collection);
  }

  readonly #stores = new WeakMap<Process, ReturnType<RegistryWorld['storeOf']>>();

  #store(process: Process): ReturnType<RegistryWorld['storeOf']> {
    const store = this.#stores.get(process) ?? this.storeOf(process.relays);
    this.#stores.set(process, store);
    return store;
  }

  /** The table as one process sees it: one feed for all of its collections. */
  storeOf(relays: boolean) {
    const scheduler = this.#scheduler;
    const { deafRelay, registryFaults = FAULTS } = this.#options;
    const faulty = (): boolean => !this.#calm && scheduler.chance(FAULTS);
    const deaf = (): boolean => deafRelay === true && relays && this.#late.declared;
    const away = (): boolean => !this.#calm && (deaf() || scheduler.chance(registryFaults));
    const { feed } = this.#rows;
    const adapted = this.#options.adapt?.(feed) ?? feed;
    const networked: ChangeFeed = {
      ...adapted,
      name: feed.name,
      acknowledge(changes, under) {
        if (!faulty()) void scheduler.deliver().then(() => adapted.acknowledge(changes, under));
      },
      registry: overNetwork(adapted.registry, scheduler, away),
    };
    return simStore({
      inner: { ...this.#rows, feed: networked },
      scheduler,
      faults: () => (this.#calm ? 0 : FAULTS),
      versioned: true,
      committed: (key, value, version) => this.#committed(key, value, version),
    });
  }

  #committed(key: string, value: Row | null, version: number): void {
    const step = this.#scheduler.step;
    this.#history.commits.push({ key, step, version, deleted: value === null, n: value?.n ?? 0 });
  }

  /** Runs the clients to their ends, and judges what they saw. */
  async live(): Promise<void> {
    if (this.#options.filled === true) await this.#fill();
    if (this.#options.lateRelay !== true) this.#startRelays();
    const others = this.#options.split === true ? [this.#split()] : [this.#declareLate()];
    const clients = [...Array.from({ length: CLIENTS }, () => this.#client()), this.#foreigner(), ...others];
    await this.#until(Promise.all(clients), () => this.#evict());
    // A process that is cut off with an old primary sees what that holds (`docs/consistency.md`).
    if (this.#options.split !== true) this.problems.push(...staleReads(this.#history));
  }

  #evict(): void {
    if (this.#scheduler.chance(0.01)) this.#side.cache.evict();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#scheduler.clock.schedule(resolve, ms);
    });
  }

  async #client(): Promise<void> {
    const scheduler = this.#scheduler;
    for (let call = 0; call < CALLS; call++) {
      await this.#sleep(scheduler.random() * PAUSE_MS);
      const collection = scheduler.pick(scheduler.pick(this.#processes).collections);
      const key = scheduler.pick<string>(KEYS);
      if (scheduler.chance(0.6)) {
        await this.#read(collection, key);
        continue;
      }
      const begin = scheduler.step;
      const deletes = scheduler.chance(0.2);
      const writing = deletes ? collection.delete(key) : collection.put(key, { n: ++this.#count });
      const result = await writing.catch(() => undefined);
      if (result === undefined) continue;
      const { cache, version } = result;
      this.#history.writes.push({ key, begin, end: scheduler.step, version, deletes, cache });
    }
  }

  async #read(collection: Collection<Row>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const read = await collection.getVersioned(key).catch(() => undefined);
    if (read === undefined) return;
    const { from, version } = read;
    this.#history.reads.push({ key, begin, end: this.#scheduler.step, version, from });
  }

  async #foreigner(): Promise<void> {
    for (let i = 0; i < FOREIGN_WRITES; i++) {
      await this.#sleep(this.#scheduler.random() * 4 * PAUSE_MS);
      await this.#writeForeign(this.#scheduler.pick<string>(KEYS));
    }
  }

  async #writeForeign(key: string, value: Row = { n: ++this.#count }): Promise<void> {
    await this.#rows.foreignWrite(key, value);
    const [row] = await this.#rows.read([key], { timeoutMs: 1_000, primary: true });
    if (row !== undefined) this.#committed(key, value, row.version);
  }

  /** A collection that no other process knows of. */
  async #declareLate(): Promise<void> {
    await this.#sleep(this.#scheduler.random() * PAUSE_MS);
    this.#declare(this.#processes[1] as Process, 'late');
    this.#late.declared = true;
    const late = (this.#processes[1] as Process).collections.at(-1) as Collection<Row>;
    for (let i = 0; i < READS_OF_LATE; i++) {
      await this.#sleep((this.#scheduler.random() * PAUSE_MS) / 3);
      await this.#read(late, this.#scheduler.pick<string>(KEYS));
    }
  }

  /** All but the first process go over to a replica that was promoted; that one later. */
  async #split(): Promise<void> {
    const scheduler = this.#scheduler;
    await this.#sleep(1_500 + scheduler.random() * 2 * PAUSE_MS);
    const old = this.#side;
    this.#side = this.#newSide();
    const entries = [...old.cache.entries];
    const lost = Math.floor(scheduler.random() * 3);
    // An entry that was not replicated is what an earlier one was, or not there.
    for (const [key, entry] of entries.slice(0, entries.length - lost))
      this.#side.cache.entries.set(key, entry);
    for (const process of this.#processes.slice(1)) process.side = this.#side;
    // What happens on the wrong side: each key at most once, so that nothing later makes up for it.
    const [cutOff] = this.#processes as [Process];
    for (const key of KEYS) {
      await this.#sleep((scheduler.random() * PAUSE_MS) / 2);
      if (scheduler.chance(0.3)) await this.#writeForeign(key);
      else
        await scheduler
          .pick(cutOff.collections)
          .put(key, { n: ++this.#count })
          .catch(() => undefined);
    }
    await this.#sleep(scheduler.random() * PAUSE_MS);
    for (const process of this.#processes) process.side = this.#side;
  }

  /** Once the network is well and the feed is drained, no entry of any collection may differ from its row. */
  async drain(): Promise<string[]> {
    this.#calm = true;
    this.#side.cache.calm = true;
    if (this.#options.lateRelay === true) this.#startRelays();
    await this.#until(Promise.all(this.#processes.map(({ lockstep }) => lockstep.drain())));
    await this.#until(this.#drained());
    await this.#until(Promise.all(this.#relays.map((relay) => relay.stop())));
    const problems: string[] = [];
    for (const [name, entry] of this.#side.cache.entries) {
      const [, collection = '', key = ''] = name.split(':');
      if (collection === '' || !KEYS.some((each) => each === key)) continue;
      const [row] = await this.#rows.read([key], { timeoutMs: 1_000, primary: true });
      if (entry?.kind !== 'value' || entry.expiresAtMs <= this.#scheduler.clock.now()) continue;
      const cached = entry.payload === null ? undefined : (JSON.parse(String(entry.payload)) as Row).n;
      if (cached === row?.value.n) continue;
      problems.push(`G5: "${name}" holds row ${cached} (${entry.version}), the store ${row?.value.n}`);
    }
    return problems;
  }

  async #drained(): Promise<void> {
    const { identity } = this.#side;
    for (;;) {
      const { pending } = await this.#rows.feed.status(['rows']);
      const [record] = await this.#rows.feed.registry.read('wtc', ['rows']);
      const current = record?.identity === identity && record.replayed;
      if (pending === 0 && current) return;
      await this.#sleep(100);
    }
  }

  async #until(promise: Promise<unknown>, between?: () => void): Promise<void> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    promise.then(end, end);
    await this.#scheduler.run(() => done, between, 40_000);
    await promise;
  }
}
