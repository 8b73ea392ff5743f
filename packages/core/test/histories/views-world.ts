import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { StoreAdapter, StoreRow } from '../../src/contracts/store.js';
import type { View } from '../../src/contracts/views.js';
import { memoryStore } from '../../src/memory/index.js';
import { type Acknowledged, GROUPS, type Grouped, GroupedWorld, KEYS, TIMES } from './grouped-world.js';
import type { Apply } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** Near entries of the views, whose bound is judged by the clock. */
export interface NearLists {
  /** False: a change that nobody is told of, though no channel breaks; a control. */
  readonly tells?: (key: string, chance: (probability: number) => boolean) => boolean;
  /** Told of each read's origin. */
  readonly onRead?: (from: 'near' | 'beyond') => void;
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
  /** @defaultValue no near entries */
  readonly near?: NearLists;
}

interface Commit {
  readonly key: string;
  readonly step: number;
  readonly version: number;
  /** `undefined`: deleted. */
  readonly row: Grouped | undefined;
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

const USUAL = { clients: 5, calls: 6, writes: 0.45, groups: GROUPS, pauseMs: 0 } as const;
const CROWDED = { clients: 9, calls: 6, writes: 0.25, groups: ['x'], pauseMs: 0 } as const;
const NEAR = { clients: 6, calls: 14, writes: 0.15, groups: GROUPS, pauseMs: 40 } as const;
const MAX_STALE_MS = 100;
const EVICTION = 0.04;
const NEAR_EVICTION = 0.005;
const RESTART = 0.001;
const CALL = { timeoutMs: 1_000, primary: true } as const;

/**
 * Two processes with lists of the rows of a group, a cache and a store behind a bad network, and a foreign writer. No list
 * that is read after an acknowledged write may show a row as it was before: not a row that has left, nor lack one that has
 * entered (G2). Once the network is well and the feed is drained, each list is what the store has.
 */
export async function runViewsWorld(options: ViewsWorldOptions): Promise<string[]> {
  const { apply, crowded, evicts = true, near, replica, seed } = options;
  const faults = options.faults ?? (near === undefined ? 0.02 : 0.01);
  const shape = near !== undefined ? NEAR : crowded ? CROWDED : USUAL;
  const chance = (probability: number): boolean => world.scheduler.chance(probability);
  const { tells } = near ?? {};
  const world: GroupedWorld = new GroupedWorld({
    ...{ seed, faults, evicts },
    ...(tells && { tells: (key: string) => tells(key, chance) }),
    ...(apply && { apply }),
  });
  const { cache, scheduler } = world;
  const { clock } = scheduler;
  const inner = memoryStore<Grouped>({ name: 'rows', clock, feedGraceMs: 50 });
  const commits: Commit[] = [];
  const problems: string[] = [];

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

  /** Of a near hit the event comes within the call. */
  let lastHit: string | undefined;
  const processes = Array.from({ length: 2 }, (): Process => {
    const lockstep = world.lockstep(options.cacheOf?.(cache.adapter) ?? cache.adapter);
    const rows = lockstep.collection<Grouped>({
      name: 'rows',
      store: options.storeOf?.(store) ?? store,
      tags: ['group'],
      holeTtlMs: 2_000,
      ...TIMES,
    });
    const lists = lockstep.view<string, Listed[]>({
      name: 'lists',
      load: async (group) => {
        const found = await store.read(KEYS, { ...CALL, primary: !replica });
        return found.flatMap((row) => (row?.value.group === group ? [{ key: row.key, n: row.value.n }] : []));
      },
      dependsOn: (group) => rows.where({ group }),
      ...TIMES,
      ...(near && { near: { maxItems: 10, maxStaleMs: MAX_STALE_MS } }),
    });
    lockstep.events.on('hit', ({ collection, from }) => {
      if (collection === 'lists') lastHit = from;
    });
    return { lockstep, rows, lists };
  });

  async function write(process: number): Promise<void> {
    const { rows } = processes[process] as Process;
    const key = scheduler.pick(KEYS);
    const kind = scheduler.random();
    const writing =
      kind < 0.25
        ? rows.delete(key)
        : kind < 0.5
          ? rows.patch(key, { ...world.row() })
          : rows.put(key, world.row());
    await world.write(process, key, writing);
  }

  async function read(process: number): Promise<void> {
    const { lists } = processes[process] as Process;
    const group = scheduler.pick<string>(shape.groups);
    const [begin, beginMs] = [scheduler.step, clock.now()];
    lastHit = undefined;
    const reading = lists.get(group).catch(() => undefined);
    const isNear = lastHit === 'near';
    near?.onRead?.(isNear ? 'near' : 'beyond');
    const list = await reading;
    if (list === undefined) return;
    const isOwed = (each: Acknowledged): boolean => {
      if (near === undefined || each.end >= begin) return each.end < begin;
      const isDue = !isNear || each.process === process || each.endMs + MAX_STALE_MS <= beginMs;
      return isDue && touches(each, group);
    };
    for (const key of KEYS) judge(group, key, list.find((each) => each.key === key)?.n, begin, isOwed);
  }

  /**
   * True of a write of a row that was in the group, or is since. What was changed before it is not hurried by it: by others,
   * where it is near, or by a write that was not acknowledged.
   */
  function touches({ key, version }: Acknowledged, group: string): boolean {
    const own = commits.filter((commit) => commit.key === key);
    const at = own.findIndex((commit) => commit.version === version);
    return [own[at - 1], own[at]].some((commit) => commit?.row?.group === group);
  }

  /** What a list shows of a key must be a state of the row that is no older than what the reader is owed. */
  function judge(
    group: string,
    key: string,
    n: number | undefined,
    begin: number,
    isOwed: (write: Acknowledged) => boolean,
  ): void {
    const newest = world.newest(key, isOwed);
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
      if (shape.pauseMs > 0) await scheduler.sleep(shape.pauseMs * scheduler.random());
      const process = scheduler.chance(0.5) ? 0 : 1;
      await (scheduler.chance(shape.writes) ? write(process) : read(process));
    }
  }

  async function foreigner(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await scheduler.deliver();
      const key = scheduler.pick(KEYS);
      const command = scheduler.chance(0.3)
        ? ({ kind: 'delete', key, above: 0 } as const)
        : ({ kind: 'put', key, value: world.row(), above: 0 } as const);
      const [outcome] = await inner.write([command], CALL);
      if (outcome?.kind === 'written') committed(key, outcome.value, outcome.version);
    }
  }

  const between = (): void => {
    if (scheduler.chance(near === undefined ? EVICTION : NEAR_EVICTION)) cache.evict();
    if (near !== undefined && faults > 0 && scheduler.chance(RESTART)) cache.restart();
  };
  const clients = Array.from({ length: shape.clients }, client);
  await world.until(Promise.all([...clients, foreigner()]), between);
  await world.calm(processes.map(({ lockstep }) => lockstep));
  const relay = (processes[0] as Process).lockstep.startRelay();
  const drained = async (): Promise<void> => {
    while ((await inner.feed.status(['rows'])).pending > 0) {
      await new Promise<void>((resolve) => void clock.schedule(resolve, 20));
    }
  };
  await world.until(drained());
  await world.until(relay.stop());
  if (replica) return problems;
  if (near !== undefined) await world.until(scheduler.sleep(MAX_STALE_MS));
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
        await world.until(reading.then((list) => (got = list)));
      }
      if (got.join() !== expected.join()) {
        problems.push(`G5: list "${group}" is [${got}] after the drain, and the store has [${expected}]`);
      }
    }
  }
  return problems;
}
