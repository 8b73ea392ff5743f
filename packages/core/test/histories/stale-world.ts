import type { Collection, Lockstep, Versioned } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { Clock } from '../../src/contracts/clock.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { StoreContractError, StoreUnavailableError } from '../../src/errors.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';
import { type Asked, judgeStale, type StaleHistory } from './stale-history.js';
import type { Row } from './world.js';

export interface StaleWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** The cache's transitions; a control takes a rule out, as do those below. */
  readonly apply?: Apply;
  /** Changes what one process sees of the cache. */
  readonly cacheOf?: (cache: CacheAdapter, clock: Clock) => CacheAdapter;
  /** Changes what one process sees of the store. */
  readonly storeOf?: (store: StoreAdapter<Row>) => StoreAdapter<Row>;
  /** Changes how a process reads. */
  readonly read?: (process: StaleProcess, key: string, nowMs: number) => Promise<Versioned<Row>>;
}

export interface StaleProcess {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Row>;
  readonly cache: CacheAdapter;
  readonly asked: Asked[];
}

const KEYS = ['a', 'b'];
const CLIENTS = 5;
const CALLS = 12;
const PAUSE_MS = 600;
const AWAY_MS = 1_500;
const TTL_MS = 250;
const EVICTION = 0.005;
/** The chance that the store answers a read with an error. */
const ANSWERED = 0.15;
const CALL = { timeoutMs: 1_000, primary: true } as const;

/**
 * Two processes with `staleIfErrorMs`, which lose the store for seconds, while another program goes on to write, and a
 * relay, which reaches it, to invalidate. What expired may be served as such while the store can't be reached; what was
 * invalidated may not.
 */
export async function runStaleWorld(options: StaleWorldOptions): Promise<string[]> {
  const world = new StaleWorld(options);
  await world.live();
  return [...judgeStale(world.history), ...(await world.drain())];
}

class StaleWorld {
  readonly history: StaleHistory = { writes: [], reads: [], commits: [], held: [], told: [] };
  readonly #options: StaleWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #cache: SimCache;
  readonly #inner: MemoryStore<Row>;
  readonly #processes: StaleProcess[];
  #away = false;
  #count = 0;

  constructor(options: StaleWorldOptions) {
    const { apply = applyCommand, faults = 0.02, seed } = options;
    this.#options = options;
    const scheduler = new Scheduler(seed);
    this.#scheduler = scheduler;
    this.#cache = new SimCache({
      scheduler,
      faults,
      evicts: true,
      apply: (entry, command, nowMs) => {
        const { key, kind } = command;
        const { step } = scheduler;
        if (kind === 'invalidate')
          this.history.told.push({ key: keyOf(key), step, version: command.version });
        return apply(entry, command, nowMs);
      },
    });
    this.#inner = memoryStore<Row>({ name: 'rows', clock: scheduler.clock, feedGraceMs: 50 });
    this.#processes = [this.#process(), this.#process()];
  }

  #process(reaches = false): StaleProcess {
    const { clock, random } = this.#scheduler;
    const { cacheOf = (same) => same, storeOf = (same) => same } = this.#options;
    const cache = cacheOf(this.#cache.adapter, clock);
    const asked: Asked[] = [];
    const lockstep = createLockstep({
      cache,
      clock,
      random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Row>({
      name: 'rows',
      store: storeOf(this.#store(asked, reaches)),
      ttlMs: TTL_MS,
      ttlJitter: 0,
      staleIfErrorMs: 100 * TTL_MS,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 300,
      batch: { queueTimeoutMs: 1_000 },
    });
    return { lockstep, rows, cache, asked };
  }

  #store(asked: Asked[], reaches: boolean): StoreAdapter<Row> {
    const { faults = 0.02 } = this.#options;
    const scheduler = this.#scheduler;
    const store = simStore({
      inner: this.#inner,
      scheduler,
      faults: () => (this.#cache.calm ? 0 : faults),
      versioned: true,
      committed: (key, value, version) => this.#committed(key, value, version),
    });
    const reach = async (): Promise<void> => {
      await scheduler.deliver();
      if (this.#away && !reaches) throw new StoreUnavailableError('no route to the store', 'not-committed');
    };
    return {
      ...store,
      async read(keys, call) {
        const ask: Asked = { keys, begin: scheduler.step, end: Number.POSITIVE_INFINITY, answered: false };
        asked.push(ask);
        try {
          await reach();
          const rows = await store.read(keys, call);
          ask.answered = true;
          if (scheduler.chance(ANSWERED)) throw new StoreContractError('an answer that is none');
          return rows;
        } finally {
          ask.end = scheduler.step;
        }
      },
      async write(commands, call) {
        await reach();
        return await store.write(commands, call);
      },
    };
  }

  #committed(key: string, value: Row | null, version: number): void {
    const step = this.#scheduler.step;
    this.history.commits.push({ key, step, version, deleted: value === null, n: value?.n ?? 0 });
  }

  async live(): Promise<void> {
    const scheduler = this.#scheduler;
    const { lockstep } = this.#process(true);
    const relay = lockstep.startRelay();
    const clients = Array.from({ length: CLIENTS }, () => this.#client());
    const all = Promise.all([...clients, this.#foreigner(), this.#outages()]);
    await scheduler.until(all, () => this.#between(), 60_000);
    this.#away = false;
    this.#cache.calm = true;
    await scheduler.until(relay.stop());
  }

  #between(): void {
    if (this.#scheduler.chance(EVICTION)) this.#cache.evict();
    const { held } = this.history;
    for (const key of KEYS) {
      const entry = this.#cache.live(`wtc:rows:${key}`);
      const now = entry?.kind === 'value' ? entry : undefined;
      const last = held.findLast((each) => each.key === key);
      if (last?.version === now?.version && last?.staleAtMs === now?.staleAtMs) continue;
      held.push({ key, step: this.#scheduler.step - 1, version: now?.version, staleAtMs: now?.staleAtMs });
    }
  }

  #pause(ms: number): Promise<void> {
    return this.#scheduler.sleep(this.#scheduler.random() * ms);
  }

  async #outages(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      await this.#pause(AWAY_MS);
      this.#away = true;
      await this.#pause(AWAY_MS);
      this.#away = false;
    }
  }

  async #client(): Promise<void> {
    const scheduler = this.#scheduler;
    for (let call = 0; call < CALLS; call++) {
      await this.#pause(PAUSE_MS);
      const process = scheduler.pick(this.#processes);
      const key = scheduler.pick(KEYS);
      if (scheduler.chance(0.8)) await this.#read(process, key);
      else await this.#write(process, key);
    }
  }

  async #read(process: StaleProcess, key: string): Promise<void> {
    const { clock } = this.#scheduler;
    const { read = ({ rows }: StaleProcess) => rows.getVersioned(key) } = this.#options;
    const [begin, beginMs] = [this.#scheduler.step, clock.now()];
    const found = await read(process, key, beginMs).catch(() => undefined);
    if (found === undefined) return;
    const { from, version } = found;
    const { asked } = process;
    this.history.reads.push({ key, begin, beginMs, end: this.#scheduler.step, version, from, asked });
  }

  async #write({ rows }: StaleProcess, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const deletes = this.#scheduler.chance(0.2);
    const writing = deletes ? rows.delete(key) : rows.put(key, { n: ++this.#count });
    const result = await writing.catch(() => undefined);
    if (result === undefined) return;
    const { cache, version } = result;
    this.history.writes.push({ key, begin, end: this.#scheduler.step, version, deletes, cache });
  }

  async #foreigner(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      await this.#pause(2 * PAUSE_MS);
      const command = {
        kind: 'put',
        key: this.#scheduler.pick(KEYS),
        value: { n: ++this.#count },
        above: 0,
      } as const;
      const [outcome] = await this.#inner.write([command], CALL);
      if (outcome?.kind === 'written') this.#committed(command.key, outcome.value, outcome.version);
    }
  }

  /** G5: once the feed is drained, no entry may differ from its row, expired or not. */
  async drain(): Promise<string[]> {
    const scheduler = this.#scheduler;
    await scheduler.until(Promise.all(this.#processes.map(({ lockstep }) => lockstep.drain())));
    const relay = (this.#processes[0] as StaleProcess).lockstep.startRelay();
    await scheduler.until(this.#drained());
    await scheduler.until(relay.stop());
    const problems: string[] = [];
    for (const key of KEYS) {
      const entry = this.#cache.live(`wtc:rows:${key}`);
      const [row] = await this.#inner.read([key], CALL);
      if (entry?.kind !== 'value') continue;
      const cached = entry.payload === null ? undefined : (JSON.parse(String(entry.payload)) as Row).n;
      if (cached !== row?.value.n) {
        problems.push(`G5: "${key}" holds row ${cached}, and the store ${row?.value.n}`);
      }
    }
    return problems;
  }

  async #drained(): Promise<void> {
    while ((await this.#inner.feed.status(['rows'])).pending > 0) await this.#scheduler.sleep(20);
  }
}

function keyOf(cacheKey: string): string {
  return cacheKey.slice('wtc:rows:'.length);
}
