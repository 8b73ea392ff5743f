import type { Collection, Lockstep, WriteResult } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { StoreAdapter, StoreRow } from '../../src/contracts/store.js';
import type { View } from '../../src/contracts/views.js';
import { memoryStore } from '../../src/memory/index.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** `n` is unique per write, so that a row tells its commit. */
export interface Grouped {
  readonly n: number;
  readonly group: string;
}

export interface ViewsWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  /** @defaultValue true */
  readonly evicts?: boolean;
  /** A control changes what the engine sees of the store, of the cache, and the cache's transitions. */
  readonly storeOf?: (store: StoreAdapter<Grouped>) => StoreAdapter<Grouped>;
  readonly cacheOf?: (cache: CacheAdapter) => CacheAdapter;
  readonly apply?: Apply;
  /** A control: views are loaded from a replica that lags. @defaultValue false */
  readonly replica?: boolean;
  /** More readers of one list: for what shows only when several of them meet. @defaultValue false */
  readonly crowded?: boolean;
}

interface Commit {
  readonly key: string;
  readonly step: number;
  readonly version: number;
  /** `undefined`: deleted. */
  readonly row: Grouped | undefined;
}

/** A write that was acknowledged, and no older state of the row may be read from then on. */
interface Acknowledged {
  readonly key: string;
  readonly end: number;
  readonly version: number;
}

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Grouped>;
  readonly lists: View<string, Listed[]>;
}

interface Listed {
  readonly key: string;
  readonly n: number;
}

const KEYS = ['a', 'b', 'c'];
const GROUPS = ['x', 'y'];
const USUAL = { clients: 5, calls: 6, writes: 0.45, groups: GROUPS } as const;
const CROWDED = { clients: 9, calls: 6, writes: 0.25, groups: ['x'] } as const;
const EVICTION = 0.04;
const BEAT_MS = 50;
const CALL = { timeoutMs: 1_000, primary: true } as const;

/**
 * Two processes with lists of the rows of a group, a cache and a store behind a bad network, and a foreign writer. No list
 * that is read after an acknowledged write may show a row as it was before: not a row that has left, nor lack one that has
 * entered (G2). Once the network is well and the feed is drained, each list is what the store has.
 */
export async function runViewsWorld(options: ViewsWorldOptions): Promise<string[]> {
  const { apply = applyCommand, crowded, evicts = true, faults = 0.02, replica, seed } = options;
  const shape = crowded ? CROWDED : USUAL;
  const scheduler = new Scheduler(seed);
  const { clock } = scheduler;
  // The scheduler's time stands still, and a server's does not: no two commands meet one time of it.
  let micros = 0;
  const timed: Apply = (entry, command, nowMs) => apply(entry, command, nowMs + ++micros / 1_000);
  const cache = new SimCache({ scheduler, faults, evicts, apply: timed });
  const inner = memoryStore<Grouped>({ name: 'rows', clock, feedGraceMs: 50 });
  const commits: Commit[] = [];
  const acknowledged: Acknowledged[] = [];
  const problems: string[] = [];
  let count = 0;

  const committed = (key: string, value: Grouped | null, version: number): void => {
    commits.push({ key, step: scheduler.step, version, row: value ?? undefined });
  };
  const lagging = (key: string): StoreRow<Grouped> | undefined => {
    const own = commits.filter((commit) => commit.key === key);
    const seen = own[own.length - 1 - Math.floor(scheduler.random() * 3)];
    return seen?.row && { key, value: seen.row, version: seen.version };
  };
  const store = simStore({
    inner,
    scheduler,
    faults: () => (cache.calm ? 0 : faults),
    versioned: true,
    lagging: replica ? lagging : undefined,
    committed,
  });

  const processes = Array.from({ length: 2 }, (): Process => {
    const lockstep = createLockstep({
      cache: options.cacheOf?.(cache.adapter) ?? cache.adapter,
      clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Grouped>({
      name: 'rows',
      store: options.storeOf?.(store) ?? store,
      tags: ['group'],
      ttlMs: 10_000,
      holeTtlMs: 2_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
    });
    const lists = lockstep.view<string, Listed[]>({
      name: 'lists',
      load: async (group) => {
        const found = await store.read(KEYS, { ...CALL, primary: !replica });
        return found.flatMap((row) => (row?.value.group === group ? [{ key: row.key, n: row.value.n }] : []));
      },
      dependsOn: (group) => rows.where({ group }),
      ttlMs: 10_000,
      leaseMs: 300,
      leaseWaitMs: 200,
      storeTimeoutMs: 500,
    });
    return { lockstep, rows, lists };
  });

  const newRow = (): Grouped => ({ n: ++count, group: scheduler.pick<string>(GROUPS) });

  async function write({ rows }: Process): Promise<void> {
    const key = scheduler.pick(KEYS);
    const kind = scheduler.random();
    const writing: Promise<WriteResult<Grouped>> =
      kind < 0.25
        ? rows.delete(key)
        : kind < 0.5
          ? rows.patch(key, { ...newRow() })
          : rows.put(key, newRow());
    const result = await writing.catch(() => undefined);
    if (result?.cache !== 'updated' && result?.cache !== 'invalidated') return;
    acknowledged.push({ key, end: scheduler.step, version: result.version });
  }

  async function read({ lists }: Process): Promise<void> {
    const group = scheduler.pick<string>(shape.groups);
    const begin = scheduler.step;
    const list = await lists.get(group).catch(() => undefined);
    if (list === undefined) return;
    for (const key of KEYS) judge(group, key, list.find((each) => each.key === key)?.n, begin);
  }

  /** What a list shows of a key must be a state of the row that is no older than what was acknowledged before. */
  function judge(group: string, key: string, n: number | undefined, begin: number): void {
    const owed = acknowledged.filter((write) => write.key === key && write.end < begin);
    const newest = Math.max(0, ...owed.map(({ version }) => version));
    const shows = ({ row }: Commit): boolean =>
      n === undefined ? row?.group !== group : row?.n === n && row.group === group;
    const own = commits.filter((commit) => commit.key === key);
    if (newest === 0 && n === undefined) return;
    if (own.some((commit) => commit.version >= newest && shows(commit))) return;
    const what = n === undefined ? 'lacked it' : `had its row ${n}`;
    problems.push(`G2: "${key}" was at ${newest} before list "${group}" was read at ${begin}, which ${what}`);
  }

  async function client(): Promise<void> {
    for (let call = 0; call < shape.calls; call++) {
      const process = scheduler.pick(processes);
      await (scheduler.chance(shape.writes) ? write(process) : read(process));
    }
  }

  async function foreigner(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await scheduler.deliver();
      const key = scheduler.pick(KEYS);
      const command = scheduler.chance(0.3)
        ? ({ kind: 'delete', key, above: 0 } as const)
        : ({ kind: 'put', key, value: newRow(), above: 0 } as const);
      const [outcome] = await inner.write([command], CALL);
      if (outcome?.kind === 'written') committed(key, outcome.value, outcome.version);
    }
  }

  async function until(work: Promise<unknown>, between?: () => void): Promise<void> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    work.then(end, end);
    // A read that waits for another's answer is sent a turn later, in which nothing else may be left to happen.
    const beat = (): void => {
      if (!over) clock.schedule(beat, BEAT_MS);
    };
    beat();
    await scheduler.run(() => over, between);
    await work;
  }

  const evict = (): void => {
    if (scheduler.chance(EVICTION)) cache.evict();
  };
  const clients = Array.from({ length: shape.clients }, client);
  await until(Promise.all([...clients, foreigner()]), evict);

  cache.calm = true;
  await until(Promise.all(processes.map(({ lockstep }) => lockstep.drain())));
  const relay = (processes[0] as Process).lockstep.startRelay();
  const drained = async (): Promise<void> => {
    while ((await inner.feed.status(['rows'])).pending > 0) {
      await new Promise<void>((resolve) => void clock.schedule(resolve, 20));
    }
  };
  await until(drained());
  await until(relay.stop());
  if (replica) return problems;
  for (const { lists } of processes) {
    for (const group of GROUPS) {
      const found = await inner.read(KEYS, CALL);
      const expected = found.flatMap((row) =>
        row?.value.group === group ? [`${row.key}${row.value.n}`] : [],
      );
      let got: string[] | undefined;
      // Time may jump past the load's.
      while (got === undefined) {
        const reading = lists.get(group).then(
          (list) => list.map(({ key, n }) => `${key}${n}`),
          () => undefined,
        );
        await until(reading.then((list) => (got = list)));
      }
      if (got.join() !== expected.join()) {
        problems.push(`G5: list "${group}" is [${got}] after the drain, and the store has [${expected}]`);
      }
    }
  }
  return problems;
}
