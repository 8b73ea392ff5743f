import type { CacheAdapter } from '../../src/contracts/cache.js';
import { memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { SimCache } from './sim-cache.js';
import { simStore } from './sim-store.js';

export interface RefusalWorldOptions {
  readonly seed: number;
  /** What a process sees of the cache; a negative control takes the proof out. */
  readonly adapt?: (cache: CacheAdapter) => CacheAdapter;
}

interface Row {
  readonly n: number;
}

interface Commit {
  readonly key: string;
  readonly atMs: number;
  readonly version: number;
}

const KEYS = ['a', 'b'];
const CLIENTS = 4;
const CALLS = 40;
const PAUSE_MS = 200;
/** The proof's second, a probe's and a relay's time-out, and what their messages take. */
const BOUND_MS = 1_800;

/**
 * Two processes that go on reading and writing, a relay, and a foreign writer, before a cache that for some
 * seconds answers reads and refuses writes. No read may return what was replaced longer ago than the bound:
 * not while that lasts, nor after it.
 */
export async function runRefusalWorld({ adapt, seed }: RefusalWorldOptions): Promise<string[]> {
  const scheduler = new Scheduler(seed);
  const { clock } = scheduler;
  const cache = new SimCache({ scheduler, faults: 0, evicts: false });
  const inner = memoryStore<Row>({ name: 'rows', clock, feedGraceMs: 50 });
  const commits: Commit[] = [];
  const problems: string[] = [];
  let count = 0;
  const committed = (key: string, _: Row | null, version: number): void =>
    void commits.push({ key, atMs: clock.monotonic(), version });
  const store = simStore({ inner, scheduler, faults: () => 0, versioned: true, committed });
  const processes = Array.from({ length: 2 }, () => {
    const seen = adapt?.(cache.adapter) ?? cache.adapter;
    const lockstep = createLockstep({
      cache: seen,
      clock,
      random: scheduler.random,
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
    const rows = lockstep.collection<Row>({
      name: 'rows',
      store,
      ttlMs: 60_000,
      leaseMs: 300,
      leaseWaitMs: 200,
    });
    return { lockstep, rows };
  });
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.schedule(resolve, ms * scheduler.random()));

  async function read(rows: (typeof processes)[number]['rows'], key: string): Promise<void> {
    const beganAtMs = clock.monotonic();
    const { from, version } = await rows.getVersioned(key);
    const newer = commits.find(
      (commit) => commit.key === key && commit.version > version && commit.atMs < beganAtMs - BOUND_MS,
    );
    if (newer === undefined) return;
    problems.push(
      `read of "${key}" at ${beganAtMs} (${from}) returned ${version}, which ${newer.version} replaced at ${newer.atMs}`,
    );
  }

  async function client({ rows }: (typeof processes)[number]): Promise<void> {
    for (let call = 0; call < CALLS; call++) {
      const key = scheduler.pick(KEYS);
      if (scheduler.chance(0.1)) await rows.put(key, { n: ++count }).catch(() => undefined);
      else await read(rows, key);
      await pause(PAUSE_MS);
    }
  }

  async function foreigner(): Promise<void> {
    for (let call = 0; call < CALLS / 4; call++) {
      await pause(4 * PAUSE_MS);
      const key = scheduler.pick(KEYS);
      const [outcome] = await inner.write([{ kind: 'put', key, value: { n: ++count }, above: 0 }], {
        timeoutMs: 1_000,
      });
      if (outcome?.kind === 'written') committed(key, outcome.value, outcome.version);
    }
  }

  async function refusal(): Promise<void> {
    await pause(1_000);
    cache.refuses = true;
    await pause(6_000);
    cache.refuses = false;
  }

  const relay = processes[0]?.lockstep.startRelay();
  const work = Promise.all([
    ...Array.from({ length: CLIENTS }, (_, i) => client(processes[i % 2] as (typeof processes)[number])),
    foreigner(),
    refusal(),
  ]);
  let over = false;
  const end = (): void => {
    over = true;
  };
  work.then(end, end);
  await scheduler.run(() => over, undefined, 200_000);
  await work;
  let stopped = false;
  const stopping = relay?.stop().then(() => {
    stopped = true;
  });
  await scheduler.run(() => stopped, undefined, 200_000);
  await stopping;
  return problems;
}
