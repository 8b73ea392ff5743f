import { isDeepStrictEqual } from 'node:util';
import type { Collection, Lockstep, WriteResult } from '../../src/contracts/api.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import {
  type Columns,
  type ColumnsHistory,
  columnsOf,
  type Judged,
  judgeColumns,
} from './columns-history.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

export interface ColumnsWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** Keys of created rows are known once they are inserted, as those of a callback store. @defaultValue they are drawn before */
  readonly inserts?: boolean;
  /** The cache's transitions; a control takes a rule out. */
  readonly apply?: Apply;
  /** Changes what one process sees of the store; a control takes a rule out. */
  readonly storeOf?: (store: StoreAdapter<Columns>) => StoreAdapter<Columns>;
}

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Columns>;
}

const KEYS = ['a', 'b'];
const CLIENTS = 6;
const CALLS = 6;
const EVICTION = 0.04;
const CALL = { timeoutMs: 1_000, primary: true } as const;

/**
 * Two processes that patch, create, put, update and delete rows of several columns, and a foreign writer. Each value of a
 * column is of one write alone: whatever a write did not name must stay as others left it.
 */
export async function runColumnsWorld(options: ColumnsWorldOptions): Promise<string[]> {
  const world = new ColumnsWorld(options);
  await world.live();
  return [...judgeColumns(world.history), ...(await world.drain())];
}

class ColumnsWorld {
  readonly history: ColumnsHistory = { writes: [], reads: [], commits: [] };
  readonly #options: ColumnsWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #cache: SimCache;
  readonly #inner: MemoryStore<Columns>;
  readonly #processes: Process[];
  #count = 0;
  /** Rows that were created are `c1`, `c2` and so on. */
  #made = 0;

  constructor(options: ColumnsWorldOptions) {
    const { apply, faults = 0.02, seed } = options;
    this.#options = options;
    const scheduler = new Scheduler(seed);
    this.#scheduler = scheduler;
    this.#cache = new SimCache({ scheduler, faults, evicts: true, ...(apply && { apply }) });
    this.#inner = memoryStore<Columns>({
      name: 'rows',
      clock: scheduler.clock,
      feedGraceMs: 50,
      newRow: (value) => ({ id: `c${++this.#made}`, value }),
    });
    this.#processes = [this.#process(), this.#process()];
  }

  #process(): Process {
    const { clock, random } = this.#scheduler;
    const { storeOf = (same) => same } = this.#options;
    const lockstep = createLockstep({
      cache: this.#cache.adapter,
      clock,
      random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Columns>({
      name: 'rows',
      store: storeOf(this.#store()),
      ttlMs: 10_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
      batch: { queueTimeoutMs: 1_000 },
    });
    return { lockstep, rows };
  }

  #store(): StoreAdapter<Columns> {
    const { faults = 0.02, inserts } = this.#options;
    const scheduler = this.#scheduler;
    const { newRows, ...store } = simStore({
      inner: this.#inner,
      scheduler,
      faults: () => (this.#cache.calm ? 0 : faults),
      versioned: true,
      committed: (key, value, version) => this.#committed(key, value, version),
    });
    const draw = async (values: readonly Columns[]) => {
      await scheduler.deliver();
      const rows = (await newRows?.(values, CALL)) ?? [];
      await scheduler.deliver();
      return rows;
    };
    if (inserts !== true) return { ...store, newRows: draw };
    return {
      ...store,
      insert: async (value, call) => {
        const key = `c${++this.#made}`;
        const command = { kind: 'put', key, value, above: 0, ifVersion: null } as const;
        const [outcome] = await store.write([command], call);
        if (outcome?.kind === 'written') return { key, value, version: outcome.version };
        throw outcome?.kind === 'failed' ? outcome.error : new Error(`an insert ended as ${outcome?.kind}`);
      },
    };
  }

  #committed(key: string, value: Columns | null, version: number): void {
    const row = value === null ? undefined : structuredClone(value);
    this.history.commits.push({ key, step: this.#scheduler.step, version, row });
  }

  async live(): Promise<void> {
    const scheduler = this.#scheduler;
    const clients = [...Array.from({ length: CLIENTS }, () => this.#client()), this.#foreigner()];
    await scheduler.until(Promise.all(clients), () => {
      if (scheduler.chance(EVICTION)) this.#cache.evict();
    });
  }

  async #client(): Promise<void> {
    const scheduler = this.#scheduler;
    for (let call = 0; call < CALLS; call++) {
      const { rows } = scheduler.pick(this.#processes);
      const kind = scheduler.random();
      if (kind < 0.4) await this.#read(rows, this.#anyKey());
      else if (kind < 0.55) await this.#create(rows);
      // Neighbours in a batch.
      else if (kind < 0.7) {
        const key = this.#anyKey();
        await Promise.all([this.#patch(rows, key), this.#patch(rows, key)]);
      } else if (kind < 0.85) await this.#patch(rows, this.#anyKey());
      else await this.#write(rows, this.#anyKey());
    }
  }

  /** One that is there from the start, or that was created a moment ago, or comes next. */
  #anyKey(): string {
    const scheduler = this.#scheduler;
    if (scheduler.chance(0.5)) return scheduler.pick(KEYS);
    return `c${Math.max(1, this.#made + 1 - Math.floor(scheduler.random() * 3))}`;
  }

  async #read(rows: Collection<Columns>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const read = await rows.getVersioned(key).catch(() => undefined);
    if (read === undefined) return;
    const { from, value, version } = read;
    this.history.reads.push({ key, begin, end: this.#scheduler.step, version, from, row: value });
  }

  async #create(rows: Collection<Columns>): Promise<void> {
    const set = columnsOf(++this.#count);
    const begin = this.#scheduler.step;
    const before = this.history.commits.length;
    const result = await rows.create(set).catch(() => undefined);
    const own = this.history.commits.slice(before).find(({ row }) => row?.a === set.a);
    if (result !== undefined && own !== undefined) this.#told(own.key, begin, result, set);
  }

  async #patch(rows: Collection<Columns>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const n = ++this.#count;
    const set: Partial<Columns> = this.#scheduler.pick([{ a: n }, { b: n }, { c: n }, { a: n, b: n }]);
    const result = await rows.patch(key, set).catch(() => undefined);
    if (result !== undefined) this.#told(key, begin, result, set);
  }

  async #write(rows: Collection<Columns>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const n = ++this.#count;
    const kind = this.#scheduler.random();
    if (kind < 0.3) {
      const result = await rows.delete(key).catch(() => undefined);
      if (result !== undefined) this.#told(key, begin, result, {});
    } else if (kind < 0.6) {
      const update = rows.update(key, (row) => (row === undefined ? undefined : { ...row, b: n }));
      const result = await update.catch(() => undefined);
      if (result?.value?.b === n) this.#told(key, begin, result, { b: n });
    } else {
      const result = await rows.put(key, columnsOf(n)).catch(() => undefined);
      if (result !== undefined) this.#told(key, begin, result, columnsOf(n));
    }
  }

  #told(key: string, begin: number, result: WriteResult<Columns>, set: Partial<Columns>): void {
    const { cache, coalesced, value, version } = result;
    if (version === 0) return;
    const told: Judged = { key, begin, end: this.#scheduler.step, version, row: value };
    this.history.writes.push({ ...told, deletes: value === null, cache, set, coalesced });
  }

  /** Changes one column as another program does: by a statement that names it. */
  async #foreigner(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      await this.#scheduler.deliver();
      const key = this.#anyKey();
      const set = { c: ++this.#count };
      const [outcome] = await this.#inner.write([{ kind: 'patch', key, set, above: 0 }], CALL);
      if (outcome?.kind === 'written') this.#committed(key, outcome.value, outcome.version);
    }
  }

  /** G5: once the network is well and the feed is drained, no entry may differ from its row, in any column. */
  async drain(): Promise<string[]> {
    this.#cache.calm = true;
    const scheduler = this.#scheduler;
    await scheduler.until(Promise.all(this.#processes.map(({ lockstep }) => lockstep.drain())));
    const relay = (this.#processes[0] as Process).lockstep.startRelay();
    await scheduler.until(this.#drained());
    await scheduler.until(relay.stop());
    const problems: string[] = [];
    for (const name of this.#cache.entries.keys()) {
      const key = name.slice('wtc:rows:'.length);
      const entry = this.#cache.live(name);
      const [row] = await this.#inner.read([key], CALL);
      if (entry?.kind === 'hole' && entry.knownAbsent && row !== undefined) {
        problems.push(`G5: "${key}" is known absent, the row is at ${row.version}`);
      }
      if (entry?.kind !== 'value') continue;
      const cached = entry.payload === null ? undefined : JSON.parse(String(entry.payload));
      if (isDeepStrictEqual(cached, row?.value)) continue;
      problems.push(
        `G5: "${key}" holds ${JSON.stringify(cached)}, and the store ${JSON.stringify(row?.value)}`,
      );
    }
    return problems;
  }

  async #drained(): Promise<void> {
    while ((await this.#inner.feed.status(['rows'])).pending > 0) await this.#scheduler.sleep(20);
  }
}
