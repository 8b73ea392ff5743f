import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { ChangeFeed } from '../../src/contracts/feed.js';
import type { Relay } from '../../src/contracts/relay.js';
import type { StoreAdapter } from '../../src/contracts/store.js';
import { type MemoryStore, type MemoryTx, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type CommitRecord, type ReadRecord, staleReads, type WriteRecord } from './history.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { adapterOf, overNetwork, type Side } from './sim-registry.js';
import { simStore } from './sim-store.js';
import type { Row } from './world.js';

export interface ConsumersWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** Changes what processes see of the feed; a control takes a rule out. */
  readonly adapt?: (feed: ChangeFeed) => ChangeFeed;
}

/** A cache with a prefix, the processes that use it, and what these saw. One of them relays. */
interface Consumer {
  readonly prefix: string;
  readonly side: Side;
  readonly processes: Process[];
  readonly relay: Relay;
  readonly reads: ReadRecord[];
  readonly writes: WriteRecord[];
}

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Row>;
}

const KEYS = ['a', 'b', 'c'];
const CLIENTS = 4;
const CALLS = 6;
const FOREIGN_WRITES = 3;
const EVICTION = 0.01;
const PAUSE_MS = 1_500;
const CALL = { timeoutMs: 1_000, primary: true } as const;

/**
 * Two caches of one table from the start, and a third that joins them while transactions are open, and that holds rows from
 * an earlier use; each has processes and a relay of its own. Within a cache no read goes behind an acknowledged write of
 * that cache (G2); once the feed is drained no cache holds what differs from the row, whoever changed it (G5).
 */
export async function runConsumersWorld(options: ConsumersWorldOptions): Promise<string[]> {
  const world = new ConsumersWorld(options);
  await world.live();
  return [...world.problems(), ...(await world.drain())];
}

class ConsumersWorld {
  readonly #options: ConsumersWorldOptions;
  readonly #scheduler: Scheduler;
  readonly #rows: MemoryStore<Row>;
  readonly #commits: CommitRecord[] = [];
  readonly #consumers: Consumer[] = [];
  #calm = false;
  #count = 0;

  constructor(options: ConsumersWorldOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options.seed);
    this.#rows = memoryStore<Row>({ name: 'rows', clock: this.#scheduler.clock, feedGraceMs: 50 });
  }

  #faulty(): boolean {
    return !this.#calm && this.#scheduler.chance(this.#options.faults ?? 0.02);
  }

  #join(prefix: string, side: Side): Consumer {
    const processes = [this.#process(prefix, side), this.#process(prefix, side)];
    const relay = (processes[1] as Process).lockstep.startRelay();
    const consumer = { prefix, side, processes, relay, reads: [], writes: [] };
    this.#consumers.push(consumer);
    return consumer;
  }

  #side(prefix: string): Side {
    const { faults = 0.02 } = this.#options;
    return { identity: prefix, cache: new SimCache({ scheduler: this.#scheduler, faults, evicts: true }) };
  }

  #process(prefix: string, side: Side): Process {
    const { clock, random } = this.#scheduler;
    const lockstep = createLockstep({
      prefix,
      cache: adapterOf(() => side),
      clock,
      random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Row>({
      name: 'rows',
      store: this.#store(),
      additional: true,
      ttlMs: 1_000_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
      batch: { queueTimeoutMs: 1_000 },
    });
    return { lockstep, rows };
  }

  #store(): StoreAdapter<Row> {
    const scheduler = this.#scheduler;
    const { adapt = (same: ChangeFeed) => same, faults = 0.02 } = this.#options;
    const { feed } = this.#rows;
    const adapted = adapt(feed);
    const faulty = (): boolean => this.#faulty();
    const networked: ChangeFeed = {
      ...adapted,
      name: feed.name,
      acknowledge(changes, under) {
        if (!faulty()) void scheduler.deliver().then(() => adapted.acknowledge(changes, under));
      },
      registry: overNetwork(adapted.registry, scheduler, faulty),
    };
    return simStore({
      inner: { ...this.#rows, feed: networked },
      scheduler,
      faults: () => (this.#calm ? 0 : faults),
      versioned: true,
      committed: (key, value, version) => this.#committed(key, value, version),
    });
  }

  #committed(key: string, value: Row | null, version: number): void {
    const step = this.#scheduler.step;
    this.#commits.push({ key, step, version, deleted: value === null, n: value?.n ?? 0 });
  }

  async live(): Promise<void> {
    this.#join('east', this.#side('east'));
    this.#join('west', this.#side('west'));
    const left = this.#side('north');
    const clients = Array.from({ length: CLIENTS }, () => this.#client());
    const all = Promise.all([...clients, this.#foreigner(), this.#joinLate(left)]);
    await this.#scheduler.until(all, () => this.#evict(), 60_000);
  }

  #evict(): void {
    if (this.#scheduler.chance(EVICTION)) this.#scheduler.pick(this.#consumers).side.cache.evict();
  }

  #pause(ms: number): Promise<void> {
    return this.#scheduler.sleep(this.#scheduler.random() * ms);
  }

  async #client(): Promise<void> {
    const scheduler = this.#scheduler;
    for (let call = 0; call < CALLS; call++) {
      await this.#pause(PAUSE_MS);
      const consumer = scheduler.pick(this.#consumers);
      const { rows } = scheduler.pick(consumer.processes);
      const key = scheduler.pick(KEYS);
      if (scheduler.chance(0.6)) await this.#read(consumer, rows, key);
      else await this.#write(consumer, rows, key);
    }
  }

  async #read({ reads }: Consumer, rows: Collection<Row>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const read = await rows.getVersioned(key).catch(() => undefined);
    if (read === undefined) return;
    const { from, version } = read;
    reads.push({ key, begin, end: this.#scheduler.step, version, from });
  }

  async #write({ writes }: Consumer, rows: Collection<Row>, key: string): Promise<void> {
    const begin = this.#scheduler.step;
    const n = ++this.#count;
    const kind = this.#scheduler.random();
    const deletes = kind < 0.2;
    const writing = deletes ? rows.delete(key) : kind < 0.4 ? rows.patch(key, { n }) : rows.put(key, { n });
    const result = await writing.catch(() => undefined);
    if (result === undefined) return;
    const { cache, version } = result;
    writes.push({ key, begin, end: this.#scheduler.step, version, deletes, cache });
  }

  /** Another program, whose transactions stay open for a while. */
  async #foreigner(): Promise<void> {
    for (let i = 0; i < FOREIGN_WRITES; i++) {
      await this.#pause(2 * PAUSE_MS);
      await this.#writeForeign(this.#scheduler.pick(KEYS), { n: ++this.#count }, PAUSE_MS).catch(
        () => undefined,
      );
    }
  }

  async #writeForeign(key: string, row: Row, openMs: number): Promise<void> {
    const { transactions } = this.#rows;
    await transactions.transaction(
      async ({ client }) => {
        await (client as MemoryTx).set('rows', key, row);
        if (openMs > 0) await this.#pause(openMs);
      },
      { timeoutMs: 10_000 },
    );
    const [now] = await this.#rows.read([key], CALL);
    if (now?.value.n === row.n) this.#committed(key, row, now.version);
  }

  /** A cache that holds rows of before, which have changed since, and of which the feed does not tell any more. */
  async #joinLate(side: Side): Promise<void> {
    for (const key of KEYS) {
      const old = { n: ++this.#count };
      await this.#writeForeign(key, old, 0);
      const version = this.#commits.at(-1)?.version ?? 0;
      const expiresAtMs = this.#scheduler.clock.now() + 1_000_000;
      const payload = JSON.stringify(old);
      const at = { kind: 'value', version, payload, staleAtMs: 0, expiresAtMs, unflushed: false } as const;
      side.cache.entries.set(`north:rows:${key}`, at);
    }
    await this.#pause(3 * PAUSE_MS);
    const north = this.#join('north', side);
    for (let i = 0; i < CALLS; i++) {
      await this.#pause(PAUSE_MS);
      const { rows } = this.#scheduler.pick(north.processes);
      await this.#read(north, rows, this.#scheduler.pick(KEYS));
    }
  }

  problems(): string[] {
    return this.#consumers.flatMap(({ prefix, reads, writes }) =>
      staleReads({ reads, writes, commits: this.#commits }).map((problem) => `${prefix}: ${problem}`),
    );
  }

  async drain(): Promise<string[]> {
    const scheduler = this.#scheduler;
    this.#calm = true;
    for (const { side } of this.#consumers) side.cache.calm = true;
    const processes = this.#consumers.flatMap((consumer) => consumer.processes);
    await scheduler.until(Promise.all(processes.map(({ lockstep }) => lockstep.drain())));
    await scheduler.until(this.#drained(), undefined, 40_000);
    await scheduler.until(Promise.all(this.#consumers.map(({ relay }) => relay.stop())));
    const problems: string[] = [];
    for (const { prefix, side } of this.#consumers) {
      for (const key of KEYS) {
        const entry = side.cache.live(`${prefix}:rows:${key}`);
        const [row] = await this.#rows.read([key], CALL);
        if (entry?.kind !== 'value') continue;
        const cached = entry.payload === null ? undefined : (JSON.parse(String(entry.payload)) as Row).n;
        if (cached === row?.value.n) continue;
        problems.push(`G5: "${key}" of ${prefix} holds row ${cached}, and the store ${row?.value.n}`);
      }
    }
    return problems;
  }

  /** Each consumer has dealt with all, and the feed keeps nothing for anybody. */
  async #drained(): Promise<void> {
    for (;;) {
      const { pending } = await this.#rows.feed.status(['rows']);
      const records = await Promise.all(
        this.#consumers.map(({ prefix }) => this.#rows.feed.registry.read(prefix, ['rows'])),
      );
      if (pending === 0 && records.every(([record]) => record?.replayed === true)) return;
      await this.#scheduler.sleep(100);
    }
  }
}
