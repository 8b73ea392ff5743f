import type { vi } from 'vitest';
import type { Lockstep, WriteResult } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { CacheHit } from '../../src/contracts/cache-commands.js';
import { applyCommand } from '../../src/protocol/transitions.js';
import { createLockstep } from '../../src/runtime/lockstep.js';
import { Scheduler } from './scheduler.js';
import { type Apply, SimCache, type SimCacheOptions } from './sim-cache.js';

/** `n` is unique per write, so that a row tells its commit. */
export interface Grouped {
  readonly n: number;
  readonly group: string;
}

/** A write that was acknowledged: no older state of the row may be read from then on. */
export interface Acknowledged {
  readonly key: string;
  readonly process: number;
  readonly end: number;
  readonly endMs: number;
  readonly version: number;
}

/** One rule taken out, and the world in which that must show. */
export interface Control<Options> {
  readonly name: string;
  /** Made anew for each history. */
  readonly world: () => Omit<Options, 'seed'>;
  /** Changes the engine itself, until it is disposed. */
  readonly change?: () => Disposable;
}

/** Of collections and views. */
export const TIMES = {
  ttlMs: 10_000,
  leaseMs: 300,
  leaseWaitMs: 200,
  storeTimeoutMs: 500,
} as const;
export const GROUPS = ['x', 'y'] as const;
export const KEYS = ['a', 'b', 'c'] as const;
const BEAT_MS = 50;

interface GroupedWorldOptions extends Partial<Omit<SimCacheOptions, 'scheduler'>> {
  readonly seed: number;
  readonly faults: number;
  readonly evicts: boolean;
}

/** Rows of groups, a cache behind a bad network, and what was acknowledged: the ground of worlds with tags. */
export class GroupedWorld {
  readonly scheduler: Scheduler;
  readonly cache: SimCache;
  readonly acknowledged: Acknowledged[] = [];
  #count = 0;

  constructor({ apply = applyCommand, seed, ...options }: GroupedWorldOptions) {
    this.scheduler = new Scheduler(seed);
    // The scheduler's time stands still, and a server's does not: no two commands meet one time of it.
    let micros = 0;
    const timed: Apply = (entry, command, nowMs) => apply(entry, command, nowMs + ++micros / 1_000);
    this.cache = new SimCache({ ...options, scheduler: this.scheduler, apply: timed });
  }

  lockstep(cache: CacheAdapter): Lockstep {
    const { clock, random } = this.scheduler;
    return createLockstep({
      ...{ cache, clock, random },
      cacheTimeoutMs: 100,
      breaker: { threshold: 1_000_000 },
    });
  }

  row(): Grouped {
    return { n: ++this.#count, group: this.scheduler.pick<string>(GROUPS) };
  }

  async write(process: number, key: string, writing: Promise<WriteResult<unknown>>): Promise<void> {
    const result = await writing.catch(() => undefined);
    if (result?.cache !== 'updated' && result?.cache !== 'invalidated') return;
    const { clock, step } = this.scheduler;
    const { version } = result;
    this.acknowledged.push({ key, process, version, end: step, endMs: clock.now() });
  }

  /** The newest version of a row among what a reader is owed. */
  newest(key: string, isOwed: (write: Acknowledged) => boolean): number {
    const owed = this.acknowledged.filter((write) => write.key === key && isOwed(write));
    return Math.max(0, ...owed.map(({ version }) => version));
  }

  /** Runs until the work is over. `between` runs before each event. */
  async until(work: Promise<unknown>, between?: () => void): Promise<void> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    work.then(end, end);
    // A read that waits for another's answer is sent a turn later, in which nothing else may be left to happen.
    const beat = (): void => {
      if (!over) this.scheduler.clock.schedule(beat, BEAT_MS);
    };
    beat();
    await this.scheduler.run(() => over, between);
    await work;
  }

  /** Nothing goes wrong from now on; what is under way comes to its end. */
  async calm(locksteps: readonly Lockstep[]): Promise<void> {
    this.cache.calm = true;
    await this.until(Promise.all(locksteps.map((lockstep) => lockstep.drain())));
  }
}

/** A control: of these keys what is missing counts as what was there last. */
export function missingIsLast(isMeant: (key: string) => boolean): (cache: CacheAdapter) => CacheAdapter {
  const last = new Map<string, CacheHit>();
  return (cache) => ({
    ...cache,
    async read(keys, encoding) {
      const hits = await cache.read(keys, encoding);
      return hits.map((hit, i) => {
        const key = keys[i] as string;
        if (!isMeant(key) || hit instanceof Error) return hit;
        if (hit !== undefined) last.set(key, hit);
        return hit ?? last.get(key);
      });
    },
  });
}

/** Undoes what was changed of the engine. */
export function restoring(...spies: readonly ReturnType<typeof vi.spyOn>[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const spy of spies) spy.mockRestore();
    },
  };
}
