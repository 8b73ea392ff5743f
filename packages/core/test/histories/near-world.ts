import type { Collection, Lockstep } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { Clock } from '../../src/contracts/clock.js';
import { memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { type History, provenVersion, type ReadRecord, type WriteRecord } from './history.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import type { Holds } from './sim-changes.js';
import { simStore } from './sim-store.js';
import type { Row } from './world.js';

export interface NearWorldOptions {
  readonly seed: number;
  /** The chance of a fault per message, a break of a channel among them. @defaultValue 0.01 */
  readonly faults?: number;
  /** Changes what each process sees of the cache; a control takes a rule out. */
  readonly cacheOf?: (cache: CacheAdapter) => CacheAdapter;
  /** False: a change that nobody is told of, though no channel breaks; a control. */
  readonly tells?: (key: string, scheduler: Scheduler) => boolean;
  readonly holds?: Holds;
  /** The share of calls that write. @defaultValue 0.2 */
  readonly writes?: number;
  /** @defaultValue 90 */
  readonly cacheTimeoutMs?: number;
  readonly onClock?: (clock: Clock) => void;
  /** Told of each read's origin. */
  readonly onRead?: (from: string) => void;
}

interface NearRead extends ReadRecord {
  readonly process: number;
  readonly beginMs: number;
}

interface NearWrite extends WriteRecord {
  readonly process: number;
  readonly endMs: number;
}

interface NearHistory extends History {
  readonly reads: NearRead[];
  readonly writes: NearWrite[];
}

interface Process {
  readonly lockstep: Lockstep;
  /** Two collections of one table. */
  readonly collections: readonly Collection<Row>[];
}

const KEYS = ['a', 'b'];
const CLIENTS = 6;
const CALLS = 14;
const MAX_PAUSE_MS = 40;
const MAX_STALE_MS = 100;
const EVICTION = 0.01;
const RESTART = 0.001;

/**
 * Processes with near entries, whose channels are slow, hang and break, and are found broken late. Reads of the cache see
 * what was acknowledged before they began; so do near reads of what their own process wrote, and `maxStaleMs` later of
 * what others did.
 */
export async function runNearWorld(options: NearWorldOptions): Promise<string[]> {
  const {
    cacheOf = (same) => same,
    cacheTimeoutMs = 90,
    faults = 0.01,
    holds,
    onClock,
    onRead,
    seed,
    tells,
    writes = 0.2,
  } = options;
  const scheduler = new Scheduler(seed);
  const { clock } = scheduler;
  onClock?.(clock);
  const lost = tells && { tells: (key: string) => tells(key, scheduler) };
  const cache = new SimCache({ scheduler, faults, evicts: true, holds, ...lost });
  const history: NearHistory = { writes: [], reads: [], commits: [] };
  const inner = memoryStore<Row>({ name: 'rows', clock, feedGraceMs: 50 });
  const store = simStore({
    ...{ inner, scheduler, faults: () => faults, versioned: true },
    committed: (key, value, version) =>
      history.commits.push({
        ...{ key, version, step: scheduler.step },
        ...{ deleted: value === null, n: value?.n ?? 0 },
      }),
  });
  const processes = [0, 1].map((): Process => {
    const lockstep = createLockstep({
      cache: cacheOf(cache.adapter),
      ...{ clock, random: scheduler.random, cacheTimeoutMs, breaker: { threshold: 1_000_000 } },
    });
    const near = { maxItems: 10, maxStaleMs: MAX_STALE_MS };
    const times = { storeTimeoutMs: 300, leaseMs: 100, leaseWaitMs: 50 };
    const collections = ['rows', 'others'].map((name) =>
      lockstep.collection<Row>({ name, store, near, ...times }),
    );
    return { lockstep, collections };
  });
  let count = 0;

  async function read(process: number, rows: Collection<Row>, key: string): Promise<void> {
    const [begin, beginMs] = [scheduler.step, clock.now()];
    const found = await rows.getVersioned(key).catch(() => undefined);
    if (found === undefined) return;
    const { from, version } = found;
    history.reads.push({ process, key, begin, beginMs, end: scheduler.step, version, from });
    onRead?.(from);
  }

  async function write(process: number, rows: Collection<Row>, key: string): Promise<void> {
    const begin = scheduler.step;
    const deletes = scheduler.chance(0.1);
    const writing = deletes ? rows.delete(key) : rows.put(key, { n: ++count });
    const result = await writing.catch(() => undefined);
    if (result === undefined) return;
    const end = { end: scheduler.step, endMs: clock.now() };
    history.writes.push({
      process,
      key,
      begin,
      deletes,
      ...end,
      version: result.version,
      cache: result.cache,
    });
  }

  async function client(): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      await scheduler.sleep(MAX_PAUSE_MS * scheduler.random());
      const process = scheduler.chance(0.5) ? 0 : 1;
      const rows = scheduler.pick((processes[process] as Process).collections);
      const key = scheduler.pick(KEYS);
      if (scheduler.chance(writes)) await write(process, rows, key);
      else await read(process, rows, key);
    }
  }

  const between = (): void => {
    if (scheduler.chance(EVICTION)) cache.evict();
    if (faults > 0 && scheduler.chance(RESTART)) cache.restart();
  };
  await scheduler.until(Promise.all(Array.from({ length: CLIENTS }, client)), between, 60_000);
  return staleNear(history);
}

/** What was acknowledged is seen: at once by the writer's process and by whoever asks the cache, near by the bound. */
function staleNear(history: NearHistory): string[] {
  return history.reads.flatMap((read) => {
    const isOwed = (write: NearWrite): boolean =>
      read.from !== 'near' || write.process === read.process
        ? write.end < read.begin
        : write.endMs + MAX_STALE_MS <= read.beginMs;
    const owed = history.writes.filter(
      (write) =>
        write.key === read.key &&
        (write.cache === 'updated' || write.cache === 'invalidated') &&
        isOwed(write),
    );
    const newest = Math.max(0, ...owed.map(({ version }) => version));
    const proven = provenVersion(read, history);
    if (proven >= newest) return [];
    return [
      `read of "${read.key}" by process ${read.process} at ${read.begin}..${read.end} (${read.from}) returned ${proven} after ${newest} was acknowledged`,
    ];
  });
}
