import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { Clock } from '../../src/contracts/clock.js';
import type { Relay } from '../../src/contracts/relay.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { withTimeout } from '../../src/kit/wait.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** A row that has a unique value, or none. `n` tells its commit. */
export interface Named {
  readonly n: number;
  readonly name: string | null;
}

export interface LookupsWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** Changes what the processes see of the cache; a mutant takes a rule out. */
  readonly adaptCache?: (cache: CacheAdapter) => CacheAdapter;
  /** Changes how a process finds rows; a mutant takes a rule out. */
  readonly find?: (process: LookupsProcess, name: string) => Promise<Named | undefined>;
}

/** A process, and the store as it sees it. */
export interface LookupsProcess {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Named>;
  readonly store: StoreAdapter<Named>;
  readonly cache: CacheAdapter;
  /** Gives up an answer that never comes. */
  within<T>(answer: Promise<T>): Promise<T>;
}

/** Who has a name from a step on; `undefined`: nobody. */
interface Holding {
  readonly name: string;
  readonly step: number;
  readonly key: string | undefined;
}

/** A write that is owed to every read that begins after it. */
interface Acknowledged {
  readonly begin: number;
  readonly end: number;
  readonly version: number;
  readonly key: string;
}

interface Found {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
  readonly row: Named | undefined;
}

interface Commit {
  readonly key: string;
  readonly step: number;
  readonly version: number;
  readonly row: Named | undefined;
}

const KEYS = ['1', '2', '3'] as const;
const NAMES = ['a', 'b'] as const;
const PROCESSES = 3;
const CLIENTS = 5;
const CALLS = 6;
const FOREIGN_WRITES = 2;
const PAUSE_MS = 400;
const CLOCK_STEPS_MS = 2_000;

/**
 * Three processes that find rows by a unique value which goes from row to row, a foreign writer, and a relay at the
 * end, in an order drawn from the seed. One process does not declare the index.
 */
export async function runLookupsWorld(options: LookupsWorldOptions): Promise<string[]> {
  const world = new LookupsWorld(options);
  await world.live();
  return [...world.problems(), ...(await world.drain())];
}

class LookupsWorld {
  readonly #options: LookupsWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #cache: SimCache;
  readonly #inner: MemoryStore<Named>;
  readonly #processes: LookupsProcess[];
  readonly #commits: Commit[] = [];
  readonly #acknowledged: Acknowledged[] = [];
  readonly #found: Found[] = [];
  #count = 0;

  constructor(options: LookupsWorldOptions) {
    const { faults = 0.02, seed } = options;
    this.#options = options;
    this.#scheduler = new Scheduler(seed);
    this.#cache = new SimCache({ scheduler: this.#scheduler, faults, evicts: true });
    this.#inner = memoryStore<Named>({
      name: 'rows',
      clock: unsteady(this.#scheduler),
      feedGraceMs: 50,
      unique: ['name'],
    });
    this.#processes = Array.from({ length: PROCESSES }, (_, i) => this.#process(i > 0));
  }

  #process(declares: boolean): LookupsProcess {
    const { adaptCache = (same: CacheAdapter) => same, faults = 0.02 } = this.#options;
    const scheduler = this.#scheduler;
    const cache = adaptCache(this.#cache.adapter);
    const networked = simStore({
      inner: this.#inner,
      scheduler,
      faults: () => (this.#cache.calm ? 0 : faults),
      versioned: true,
      committed: (key, row, version) => {
        this.#commits.push({ key, step: scheduler.step, version, row: row ?? undefined });
      },
    });
    const { declared } = this.#inner;
    if (declared === undefined) throw new Error('the store declares nothing');
    const store: StoreAdapter<Named> = {
      ...networked,
      declared: {
        columnOf: (property) => declared.columnOf(property),
        check: (sets) => declared.check(sets),
        textOf: (property, value) => declared.textOf(property, value),
        find: async (unique, texts, call) => {
          await scheduler.deliver();
          const found = await declared.find(unique, texts, call);
          await scheduler.deliver();
          return found;
        },
      },
    };
    const lockstep = createLockstep({
      cache,
      clock: scheduler.clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Named>({
      name: 'rows',
      store,
      ttlMs: 100_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
      batch: { queueTimeoutMs: 1_000 },
      ...(declares ? { unique: ['name'] } : {}),
    });
    const { clock } = scheduler;
    const within = <T>(answer: Promise<T>): Promise<T> =>
      withTimeout(clock, answer, 500, () => new Error('no answer'));
    return { lockstep, rows, store, cache, within };
  }

  async live(): Promise<void> {
    // All are recorded, so that whoever writes knows of the index, and pointers are filled from the start.
    await this.#until(Promise.all(this.#processes.map(({ rows }) => opened(rows))));
    await this.#until(this.#sleep(4_000));
    await this.#until(Promise.all(this.#processes.map(({ rows }) => opened(rows))));
    const clients = [...Array.from({ length: CLIENTS }, () => this.#client()), this.#foreigner()];
    await this.#until(Promise.all(clients), () => {
      if (this.#scheduler.chance(0.01)) this.#cache.evict();
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#scheduler.clock.schedule(resolve, ms);
    });
  }

  async #client(): Promise<void> {
    const scheduler = this.#scheduler;
    const { find = (process, name) => process.rows.getBy('name', name) } = this.#options;
    for (let call = 0; call < CALLS; call++) {
      await this.#sleep(scheduler.random() * PAUSE_MS);
      if (scheduler.chance(0.6)) {
        const name = scheduler.pick<string>(NAMES);
        const begin = scheduler.step;
        const finder = scheduler.pick(this.#processes.slice(1));
        const found = await find(finder, name).then(
          (row) => ({ row }),
          () => undefined,
        );
        if (found !== undefined) this.#found.push({ name, begin, end: scheduler.step, row: found.row });
        continue;
      }
      await this.#write(scheduler.pick(this.#processes).rows);
    }
  }

  async #write(rows: Collection<Named>): Promise<void> {
    const scheduler = this.#scheduler;
    const [begin, key] = [scheduler.step, scheduler.pick<string>(KEYS)];
    const name = scheduler.chance(0.6) ? scheduler.pick<string>(NAMES) : null;
    const writing = scheduler.chance(0.15)
      ? rows.delete(key)
      : scheduler.chance(0.5)
        ? rows.put(key, { n: ++this.#count, name })
        : rows.patch(key, { n: ++this.#count, name });
    const result = await writing.catch(() => undefined);
    if (result === undefined || result.version === 0) return;
    if (result.cache !== 'updated' && result.cache !== 'invalidated') return;
    this.#acknowledged.push({ key, begin, end: scheduler.step, version: result.version });
  }

  async #foreigner(): Promise<void> {
    for (let i = 0; i < FOREIGN_WRITES; i++) {
      await this.#sleep(this.#scheduler.random() * 3 * PAUSE_MS);
      const key = this.#scheduler.pick<string>(KEYS);
      const name = this.#scheduler.chance(0.6) ? this.#scheduler.pick<string>(NAMES) : null;
      const row = { n: ++this.#count, name };
      const done = await this.#inner.foreignWrite(key, row).then(
        () => true,
        () => false,
      );
      const [now] = await this.#inner.read([key], { timeoutMs: 1_000, primary: true });
      if (done && now !== undefined) {
        this.#commits.push({ key, step: this.#scheduler.step, version: now.version, row });
      }
    }
  }

  /** The states of who has a name, in the order of the commits. */
  #holdings(name: string): Holding[] {
    const holdings: Holding[] = [{ name, step: 0, key: undefined }];
    let holder: string | undefined;
    for (const { key, row, step } of this.#commits) {
      if (row?.name === name) holder = key;
      else if (holder === key) holder = undefined;
      else continue;
      holdings.push({ name, step, key: holder });
    }
    return holdings;
  }

  /** The commit of a write, if it gave the row the name, or took it, or left it there. */
  #commitAbout(name: string, { key, version }: Acknowledged): Commit | undefined {
    const own = this.#commits.filter((commit) => commit.key === key);
    const at = own.findIndex((commit) => commit.version === version);
    const states = own.slice(Math.max(0, at - 1), at + 1);
    return states.some(({ row }) => row?.name === name) ? own[at] : undefined;
  }

  /**
   * G2: a read finds a state of the name that is no older than the newest write of it that was acknowledged before the
   * read began.
   */
  problems(): string[] {
    return this.#found.flatMap(({ begin, end, name, row }) => {
      if (row !== undefined && row.name !== name) return [`getBy("${name}") gave the row of "${row.name}"`];
      const holdings = this.#holdings(name);
      const owed = this.#acknowledged.filter((write) => write.end < begin);
      const owedStep = Math.max(0, ...owed.flatMap((write) => this.#commitAbout(name, write)?.step ?? []));
      const from = holdings.findLastIndex(({ step }) => step <= owedStep);
      const possible = holdings.slice(from).filter(({ step }) => step <= end);
      const holder = row && this.#commits.find((commit) => commit.row?.n === row.n)?.key;
      if (possible.some(({ key }) => key === holder)) return [];
      const shown = possible.map(({ key, step }) => `${key ?? 'nobody'} from ${step}`).join(', ');
      return [`G2: getBy("${name}") at ${begin}..${end} found ${holder ?? 'nobody'}; it was ${shown}`];
    });
  }

  /** G5: once the feed is drained, everyone finds what the store has. */
  async drain(): Promise<string[]> {
    this.#cache.calm = true;
    await this.#until(Promise.all(this.#processes.map(({ lockstep }) => lockstep.drain())));
    const relay: Relay = (this.#processes[0] as LookupsProcess).lockstep.startRelay();
    await this.#until(this.#drained());
    await this.#until(relay.stop());
    const { find = (process, name) => process.rows.getBy('name', name) } = this.#options;
    const problems: string[] = [];
    for (const name of NAMES) {
      const [key] = (await this.#inner.declared?.find(['name'], [[`=s${name}`]], { timeoutMs: 1_000 })) ?? [];
      const [stored] =
        key === undefined ? [] : await this.#inner.read([key], { timeoutMs: 1_000, primary: true });
      for (const process of this.#processes.slice(1)) {
        const found = await this.#again(() => find(process, name));
        if (found?.n === stored?.value.n) continue;
        problems.push(`G5: getBy("${name}") finds row ${found?.n}, the store has ${stored?.value.n}`);
      }
    }
    return problems;
  }

  /** Until it is answered: time may pass faster than messages travel. */
  async #again<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      let answer: { readonly value: T } | undefined;
      const asking = ask().then(
        (value) => {
          answer = { value };
        },
        () => undefined,
      );
      await this.#until(asking);
      if (answer !== undefined) return answer.value;
    }
  }

  async #drained(): Promise<void> {
    while ((await this.#inner.feed.status(['rows'])).pending > 0) await this.#sleep(20);
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

/** A server's clock that steps back and forth: versions of different rows do not follow the order of commits. */
function unsteady({ clock, random }: Scheduler): Clock {
  return { ...clock, now: () => clock.now() + Math.floor(random() * CLOCK_STEPS_MS) };
}

async function opened(rows: Collection<Named>): Promise<void> {
  for (;;) {
    const open = await rows.get('1').then(
      () => true,
      () => false,
    );
    if (open) return;
  }
}
