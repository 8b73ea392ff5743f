import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { StoreRow } from '../../src/contracts/store.js';
import { type MemoryStore, memoryStore } from '../../src/memory/index.js';
import {
  KEYS as ALL_KEYS,
  type Grouped as AnyGrouped,
  GROUPS,
  GroupedWorld,
  TIMES,
} from './grouped-world.js';
import type { Apply } from './sim-cache.js';
import { simStore } from './sim-store.js';

/** `seen` counts what something has changed unseen: no version, no trigger and no feed tells it. */
interface Grouped extends AnyGrouped {
  readonly seen?: number;
}

export interface RowTagsWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message. @defaultValue 0.02 */
  readonly faults?: number;
  readonly strict?: boolean;
  /** A control changes what the engine sees of the cache, and the cache's transitions. */
  readonly cacheOf?: (cache: CacheAdapter) => CacheAdapter;
  readonly apply?: Apply;
  /** Near entries, which may be as late as their bound. `false` of `tells`: a change that nobody is told of; a control. */
  readonly near?: {
    readonly tells?: (key: string, chance: (probability: number) => boolean) => boolean;
    readonly onRead?: (from: string) => void;
  };
  /** More readers of one row: for what shows only when several of them meet. @defaultValue false */
  readonly crowded?: boolean;
}

/** The state that was acknowledged as ended: no reader who begins later gets a row of the group that has seen less. */
interface Ended {
  readonly key: string;
  readonly group: string;
  readonly seen: number;
  readonly process: number;
  readonly end: number;
  readonly endMs: number;
}

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<Grouped>;
}

const KEYS: readonly string[] = ALL_KEYS;
const USUAL = {
  keys: KEYS,
  clients: 5,
  calls: 8,
  writes: 0.25,
  ends: 0.25,
  evictions: 0.03,
} as const;
const CROWDED = {
  keys: KEYS.slice(0, 1),
  clients: 9,
  calls: 6,
  writes: 0.05,
  ends: 0.3,
  evictions: 0.1,
} as const;

/** Near rows, and those that are not: time must go on, for the bound to be passed. */
const NEAR = { keys: KEYS, clients: 6, calls: 14, writes: 0.1, ends: 0.1, evictions: 0.005 } as const;
const NEAR_PAUSE_MS = 40;
const MAX_STALE_MS = 100;

/**
 * Two processes with tagged rows, a cache and a store behind a bad network. Something changes the rows of a group unseen, and
 * ends the group's tag. No read that begins after the acknowledgement may return such a row as it was before; nor a row as
 * it was before an acknowledged write (G2).
 */
export async function runRowTagsWorld(options: RowTagsWorldOptions): Promise<string[]> {
  const { apply, crowded, faults = 0.02, near, seed, strict } = options;
  const shape = near !== undefined ? NEAR : crowded ? CROWDED : USUAL;
  const { calls, clients, ends, evictions, keys, writes } = shape;
  const chance = (probability: number): boolean => world.scheduler.chance(probability);
  const { tells } = near ?? {};
  const world: GroupedWorld = new GroupedWorld({
    ...{ seed, faults, evicts: !strict },
    ...(tells && { tells: (key: string) => tells(key, chance) }),
    ...(apply && { apply }),
  });
  const { cache, scheduler } = world;
  const memory = memoryStore<Grouped>({ name: 'rows', clock: scheduler.clock, feedGraceMs: 50 });
  const hidden = new Map(keys.map((key) => [key, 0]));
  const ended: Ended[] = [];
  const problems: string[] = [];

  const shown = (key: string, value: Grouped): Grouped => ({ ...value, seen: hidden.get(key) ?? 0 });
  const inner: MemoryStore<Grouped> = {
    ...memory,
    async read(asked, call) {
      const found = await memory.read(asked, call);
      return found.map((row) => row && { ...row, value: shown(row.key, row.value) });
    },
    async write(commands, call) {
      const outcomes = await memory.write(commands, call);
      return outcomes.map((outcome, i) =>
        outcome.kind === 'written' && outcome.value !== null
          ? { ...outcome, value: shown((commands[i] as { key: string }).key, outcome.value) }
          : outcome,
      );
    },
  };
  const store = simStore({
    inner,
    scheduler,
    faults: () => (cache.calm ? 0 : faults),
    versioned: true,
    committed: () => undefined,
  });
  // In a cluster the two keys of a read are of two servers.
  const apart: CacheAdapter = {
    ...cache.adapter,
    async read(asked, encoding) {
      const reading = asked.map((key) => cache.adapter.read([key], encoding));
      return (await Promise.all(reading)).flat();
    },
  };

  const processes = Array.from({ length: 2 }, (): Process => {
    const lockstep = world.lockstep(options.cacheOf?.(apart) ?? apart);
    const rows = lockstep.collection<Grouped>({
      name: 'rows',
      store,
      tags: ['group'],
      holeTtlMs: 2_000,
      ...TIMES,
      ...(strict ? { consistency: 'strict' } : {}),
      ...(near && { near: { maxItems: 1, maxStaleMs: MAX_STALE_MS } }),
    });
    return { lockstep, rows };
  });

  async function write(process: number): Promise<void> {
    const { rows } = processes[process] as Process;
    const key = scheduler.pick(keys);
    const row = world.row();
    await world.write(process, key, scheduler.chance(0.5) ? rows.put(key, row) : rows.patch(key, { ...row }));
  }

  async function end(process: number): Promise<void> {
    const { rows } = processes[process] as Process;
    const group = scheduler.pick<string>(GROUPS);
    const found = await memory.read(keys, { timeoutMs: 1_000, primary: true });
    const members = found.filter((row): row is StoreRow<Grouped> => row?.value.group === group);
    const states = members.map(({ key }) => {
      const seen = (hidden.get(key) ?? 0) + 1;
      hidden.set(key, seen);
      return { key, group, seen };
    });
    if ((await rows.invalidateTag({ group })) !== 'invalidated') return;
    const [endStep, endMs] = [scheduler.step, scheduler.clock.now()];
    for (const state of states) ended.push({ ...state, process, end: endStep, endMs });
  }

  async function read(process: number): Promise<void> {
    const { rows } = processes[process] as Process;
    const key = scheduler.pick(keys);
    const [begin, beginMs] = [scheduler.step, scheduler.clock.now()];
    const read = await rows.getVersioned(key).catch(() => undefined);
    if (read === undefined) return;
    const { from, value, version } = read;
    near?.onRead?.(from);
    type Past = Pick<Ended, 'process' | 'end' | 'endMs'>;
    const isPast = (each: Past, late: boolean): boolean =>
      late && each.process !== process ? each.endMs + MAX_STALE_MS <= beginMs : each.end < begin;
    const owed = world.newest(key, (write) => isPast(write, from === 'near'));
    if (version < owed) problems.push(`G2: "${key}" was at ${owed} before a read at ${begin} had ${version}`);
    // The list of what was ended is as near as rows are.
    const before = ended.filter(
      (each) => each.key === key && each.group === value?.group && isPast(each, near !== undefined),
    );
    const least = Math.max(0, ...before.map(({ seen }) => seen));
    if ((value?.seen ?? least) >= least) return;
    problems.push(
      `"${key}" of "${value?.group}" was ended at ${least} before a read at ${begin} had ${value?.seen}`,
    );
  }

  async function client(): Promise<void> {
    for (let call = 0; call < calls; call++) {
      if (near !== undefined) await scheduler.sleep(NEAR_PAUSE_MS * scheduler.random());
      const process = scheduler.chance(0.5) ? 0 : 1;
      const kind = scheduler.random();
      await (kind < writes ? write(process) : kind < writes + ends ? end(process) : read(process));
    }
  }

  /** Mostly a row: without the list no entry is current, and nothing could go wrong. */
  function evict(): void {
    if (cache.calm || strict) return;
    if (near !== undefined) {
      cache.evict();
      return;
    }
    const all = [...cache.entries.keys()];
    const rows = all.filter((key) => !key.includes('%t:'));
    const from = scheduler.chance(0.1) ? all : rows;
    if (from.length > 0) cache.entries.delete(scheduler.pick(from));
  }

  const between = (): void => {
    if (scheduler.chance(evictions)) evict();
  };
  await world.until(Promise.all(Array.from({ length: clients }, client)), between);
  await world.calm(processes.map(({ lockstep }) => lockstep));
  return problems;
}
