import { setTimeout as pause } from 'node:timers/promises';
import { redisCache } from '@lockstep/cache-redis';
import {
  type Collection,
  type ConsumerRecord,
  createLockstep,
  type Lockstep,
  type StoreAdapter,
  type View,
} from '@lockstep/core';
import { type Random, randomChoice, randomInt, seededRandom } from '../random.js';
import { type BreakableCache, startBreakableCache, UNPROVEN_US } from '../views/breaker.js';
import type { CacheKind } from '../views/settings.js';
import { type Break, breakOnce, bringsBack, CHANNEL_BREAKS } from './breaker.js';
import { NearChecker } from './checker.js';
import { type NearControl, without } from './controls.js';
import { type NearRow, type NearStore, type NearStoreName, openNearStore } from './stores.js';
import { openWay, type Way } from './ways.js';

export interface NearRunOptions {
  /** Ends once so many reads were judged. */
  readonly reads: number;
  /** And so many lists of them were near. @defaultValue 0 */
  readonly nearListsAtLeast?: number;
  readonly seed: number;
  readonly maxStaleMs: number;
  readonly control?: NearControl | undefined;
  /** @defaultValue 'memory' */
  readonly store?: NearStoreName;
  /** @defaultValue 'standalone' */
  readonly cache?: CacheKind;
  /** @defaultValue all */
  readonly breaks?: readonly Break[];
  /** Ends with the first stale read. @defaultValue false */
  readonly untilStale?: boolean;
}

export interface NearRunResult {
  readonly store: NearStoreName;
  readonly cache: CacheKind;
  readonly seed: number;
  readonly reads: number;
  readonly nearReads: number;
  /** Reads of lists, among the others. */
  readonly lists: number;
  readonly nearLists: number;
  readonly writes: number;
  readonly seconds: number;
  readonly breaks: Readonly<Record<string, number>>;
  /** Reads that returned less than they owed. */
  readonly stale: number;
  /** Such reads while the cache was replaced by one that had less, until that was replayed: nothing is promised then. */
  readonly excused: number;
  readonly samples: readonly string[];
}

type Adapter = StoreAdapter<NearRow, string>;

interface Process {
  readonly lockstep: Lockstep;
  readonly rows: Collection<NearRow, string>;
  /** The versions of the rows of a group, as its view has them. */
  readonly list: (group: number) => { readonly isNear: boolean; readonly versions: Promise<number[]> };
}

const PROCESSES = 3;
/** So many that most of them are not written again before a message that was lost shows. */
const KEYS = Array.from({ length: 400 }, (_, n) => `k${n}`);
/** As many lists, of four rows each: the others' writes end none of them, so that lists are near for a while. */
const GROUPS = 10;
const LISTED = 4 * GROUPS;
const LISTS = 0.05;
const READS_AT_ONCE = 500;
const MAX_WRITE_PAUSE_MS = 4;
const MAX_CALM_MS = 400;
const SAMPLES = 5;
const PREFIX = 'near';
/** A cache that turns out to have lost nothing is not replayed. */
const MAX_REPLAY_MS = 15_000;

/**
 * Three Locksteps with near entries of rows, and of lists of them, over one store and one cache, whose channels go through
 * proxies that hold, swallow, delay and cut them, while the cache's servers are flushed, evict, hang, restart and fail over,
 * and a foreign writer and a relay are at work. Each read is judged by what was acknowledged: near reads by the bound, all
 * others, and those of the writer's own process, at once.
 */
export async function runNear(options: NearRunOptions): Promise<NearRunResult> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const cache = await startBreakableCache(options.cache ?? 'standalone');
    closing.push(() => cache.stop());
    const store = await openNearStore(options.store ?? 'memory', PROCESSES);
    closing.push(() => store.close());
    const ways = await Promise.all(Array.from({ length: PROCESSES }, () => openWay(cache)));
    closing.push(() => Promise.all(ways.flatMap(({ proxies }) => proxies.map((proxy) => proxy.stop()))));
    const run = new NearRun(options, cache, store, ways);
    closing.push(() => run.close());
    return await run.go();
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

class NearRun {
  readonly #options: NearRunOptions;
  readonly #cache: BreakableCache;
  readonly #store: NearStore;
  readonly #ways: readonly Way[];
  readonly #checker: NearChecker;
  readonly #processes: readonly Process[];
  readonly #breaks: Record<string, number> = {};
  readonly #samples: string[] = [];
  #reads = 0;
  #nearReads = 0;
  #lists = 0;
  #nearLists = 0;
  #writes = 0;
  #stale = 0;
  #excused = 0;
  /** Reads that began before are owed nothing. */
  #promisedFromMs = Number.NEGATIVE_INFINITY;

  constructor(options: NearRunOptions, cache: BreakableCache, store: NearStore, ways: readonly Way[]) {
    this.#options = options;
    this.#cache = cache;
    this.#store = store;
    this.#ways = ways;
    this.#checker = new NearChecker(KEYS.length, PROCESSES, options.maxStaleMs);
    this.#processes = ways.map((way, index) =>
      this.#process(way, store.adapters[index] as Adapter, seededRandom(options.seed, 100 + index)),
    );
  }

  #process({ client }: Way, store: Adapter, random: Random): Process {
    const cache = without(this.#options.control, redisCache({ client, commandTimeoutMs: 200 }), random);
    const lockstep = createLockstep({ cache, prefix: PREFIX, cacheTimeoutMs: 150 });
    const { maxStaleMs } = this.#options;
    const near = { maxItems: 1_000, maxStaleMs };
    const rows = lockstep.collection<NearRow>({ name: 'rows', store, near });
    return { lockstep, rows, list: this.#list(lockstep, store, near) };
  }

  /** Over a collection of its own: rows whose tags are told have no near entries of their own beside them. */
  #list(lockstep: Lockstep, store: Adapter, near: { maxItems: number; maxStaleMs: number }): Process['list'] {
    const tagged = lockstep.collection<NearRow>({ name: 'tagged', store, tags: ['group'] });
    const lists: View<number, number[]> = lockstep.view({
      name: 'lists',
      load: async (group) => {
        const found = await store.read(keysOf(group), { timeoutMs: 1_000, primary: true });
        return found.map((row) => row?.version ?? 0);
      },
      dependsOn: (group) => tagged.where({ group: `${group}` }),
      near,
    });
    let from: string | undefined;
    lockstep.events.on('hit', (hit) => {
      from = hit.from;
    });
    return (group) => {
      from = undefined;
      const versions = lists.get(group);
      // Of a near hit the event comes within the call.
      return { isNear: from === 'near', versions };
    };
  }

  async go(): Promise<NearRunResult> {
    const startedAtMs = performance.now();
    const relay = this.#processes[0]?.lockstep.startRelay();
    await Promise.all([
      ...this.#processes.map((_, index) => this.#read(index)),
      ...this.#processes.map((_, index) => this.#write(index)),
      this.#foreign(),
      this.#break(),
    ]);
    await relay?.stop();
    const { cache = 'standalone', seed, store = 'memory' } = this.#options;
    return {
      store,
      cache,
      seed,
      reads: this.#reads,
      nearReads: this.#nearReads,
      lists: this.#lists,
      nearLists: this.#nearLists,
      writes: this.#writes,
      seconds: (performance.now() - startedAtMs) / 1_000,
      breaks: this.#breaks,
      stale: this.#stale,
      excused: this.#excused,
      samples: this.#samples,
    };
  }

  get #over(): boolean {
    const { nearListsAtLeast = 0, reads, untilStale } = this.#options;
    if (untilStale === true && this.#stale > 0) return true;
    return this.#reads >= reads && this.#nearLists >= nearListsAtLeast;
  }

  async #read(index: number): Promise<void> {
    const random = seededRandom(this.#options.seed, index);
    const { list, rows } = this.#processes[index] as Process;
    while (!this.#over) {
      for (let i = 0; i < READS_AT_ONCE; i++) {
        if (random() < LISTS) await this.#judgeList(index, list, randomInt(random, 0, GROUPS - 1));
        else await this.#judge(index, rows, randomInt(random, 0, KEYS.length - 1));
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  async #judge(index: number, rows: Collection<NearRow, string>, key: number): Promise<void> {
    const beginMs = performance.now();
    const owed = this.#checker.owed(key, index, beginMs);
    const { from, version } = await rows.getVersioned(KEYS[key] as string);
    this.#reads++;
    if (from === 'near') this.#nearReads++;
    const least = from === 'near' ? owed.near : owed.now;
    if (version >= least) return;
    this.#found(`${KEYS[key]} of process ${index} (${from}): ${version}, owed ${least}`, beginMs);
  }

  async #judgeList(index: number, list: Process['list'], group: number): Promise<void> {
    const beginMs = performance.now();
    const keys = numbersOf(group);
    const owed = keys.map((key) => this.#checker.owed(key, index, beginMs));
    const { isNear, versions } = list(group);
    const found = await versions;
    this.#reads++;
    this.#lists++;
    if (isNear) this.#nearLists++;
    const least = owed.map(({ near, now }) => (isNear ? near : now));
    const late = least.findIndex((version, i) => (found[i] as number) < version);
    if (late < 0) return;
    const where = `list ${group} of process ${index} (${isNear ? 'near' : 'beyond'})`;
    this.#found(`${where}: ${KEYS[keys[late] as number]} at ${found[late]}, owed ${least[late]}`, beginMs);
  }

  #found(what: string, beginMs: number): void {
    if (beginMs < this.#promisedFromMs) {
      this.#excused++;
      return;
    }
    this.#stale++;
    if (this.#samples.length >= SAMPLES) return;
    this.#samples.push(`${what}, after ${(performance.now() - beginMs).toFixed(1)} ms`);
  }

  async #write(index: number): Promise<void> {
    const random = seededRandom(this.#options.seed, 20 + index);
    const { rows } = this.#processes[index] as Process;
    while (!this.#over) {
      const key = randomInt(random, 0, KEYS.length - 1);
      const written = await rows.put(KEYS[key] as string, this.#row(key)).catch(() => undefined);
      const isPromised = written?.cache === 'updated' || written?.cache === 'invalidated';
      if (written !== undefined && isPromised)
        this.#checker.acknowledged(key, index, written.version, performance.now());
      await pause(MAX_WRITE_PAUSE_MS * random());
    }
  }

  async #foreign(): Promise<void> {
    const random = seededRandom(this.#options.seed, 40);
    while (!this.#over) {
      const key = randomInt(random, 0, KEYS.length - 1);
      await this.#store.foreign(this.#row(key));
      await pause(20 * random());
    }
  }

  #row(key: number): NearRow {
    return { _id: KEYS[key] as string, n: this.#writes++, group: key < LISTED ? `${key % GROUPS}` : 'none' };
  }

  async #break(): Promise<void> {
    const random = seededRandom(this.#options.seed, 60);
    const { breaks = [...CHANNEL_BREAKS, ...this.#cache.faults] } = this.#options;
    const proxies = this.#ways.flatMap((way) => way.proxies);
    while (!this.#over && breaks.length > 0) {
      const what = randomChoice(random, breaks);
      const breaking = () => breakOnce(what, { cache: this.#cache, proxies, random }).catch(() => undefined);
      if (bringsBack(what)) await this.#unpromised(breaking);
      else await breaking();
      this.#breaks[what] = (this.#breaks[what] ?? 0) + 1;
      await pause(MAX_CALM_MS * random());
    }
  }

  /** Promises nothing until the relay has handed over what the cache has lost, and processes have seen that it is another. */
  async #unpromised(replace: () => Promise<unknown>): Promise<void> {
    this.#promisedFromMs = Number.POSITIVE_INFINITY;
    const before = await this.#record();
    await replace();
    const untilMs = performance.now() + MAX_REPLAY_MS;
    for (
      let now = before;
      now?.replayed !== true || now.epoch === before?.epoch;
      now = await this.#record()
    ) {
      if (performance.now() > untilMs) break;
      await pause(20);
    }
    this.#promisedFromMs = performance.now() + UNPROVEN_US / 1_000 + this.#options.maxStaleMs;
  }

  /** What the store's registry says of the cache. */
  async #record(): Promise<ConsumerRecord | undefined> {
    const { feed, source } = this.#store.adapters[0] as Adapter;
    return (await feed?.registry.read(PREFIX, [source]))?.[0];
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(({ lockstep }) => lockstep.close()));
    for (const { client } of this.#ways) client.disconnect();
  }
}

/** The places in `KEYS` of a group's rows. */
function numbersOf(group: number): number[] {
  return Array.from({ length: LISTED / GROUPS }, (_, i) => group + i * GROUPS);
}

function keysOf(group: number): string[] {
  return numbersOf(group).map((n) => KEYS[n] as string);
}
