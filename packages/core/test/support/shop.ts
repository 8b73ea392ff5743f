import type { CacheAdapter, ScannedEntry } from '../../src/contracts/cache.js';
import type { CacheCommand } from '../../src/contracts/cache-commands.js';
import type { LockstepEventMap, LockstepEventName } from '../../src/contracts/events.js';
import type { CollectionOptions, LockstepOptions } from '../../src/contracts/options.js';
import {
  type CacheCalls,
  faultPlan,
  faultyCache,
  faultyQueue,
  faultyStore,
  type ManualClock,
  manualClock,
  type QueueCalls,
  type StoreCalls,
} from '../../src/faults/index.js';
import {
  type MemoryDatabase,
  type MemoryStoreOptions,
  memoryCache,
  memoryDatabase,
  memoryQueue,
  memoryStore,
} from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

export interface Product {
  readonly name: string;
  readonly stock: number;
}

export interface ShopOptions {
  readonly lockstep?: Partial<LockstepOptions>;
  readonly collection?: Partial<CollectionOptions<Product>>;
  readonly withQueue?: boolean;
  readonly validate?: MemoryStoreOptions<Product, string>['validate'];
  /** Changes what the engine sees of the cache. */
  readonly adapt?: (cache: CacheAdapter) => CacheAdapter;
}

/** One process of a shop over adapters in memory, each behind a plan of faults, with a clock that stands still. */
export function openShop(options: ShopOptions = {}) {
  const clock = manualClock();
  const memory = memoryCache({ clock });
  const database = memoryDatabase({ name: 'shop', clock, feedGraceMs: 0 });
  const rows = storeOf(database, 'products', options.validate);
  const cachePlan = faultPlan<CacheCalls>({ clock });
  const storePlan = faultPlan<StoreCalls>({ clock });
  const queuePlan = faultPlan<QueueCalls>({ clock });
  const jobs = memoryQueue({ clock, random: () => 0.5 });
  const queue = faultyQueue(jobs, queuePlan);
  const adapt = options.adapt ?? ((same: CacheAdapter) => same);
  const cache = adapt(faultyCache(memory, cachePlan));

  /** Another process over the same cache, database and queue. */
  function join(more: Partial<LockstepOptions> = {}) {
    return joinStore(rows, more);
  }

  /** Another process over the same cache and queue, and a table of its own. */
  function joinStore(table: typeof rows, more: Partial<LockstepOptions> = {}) {
    const lockstep = createLockstep({
      cache,
      ...(options.withQueue === false ? {} : { queue }),
      clock,
      random: () => 0.5,
      ...options.lockstep,
      ...more,
    });
    const products = lockstep.collection({
      name: 'products',
      store: faultyStore(table, storePlan),
      ...options.collection,
    });
    return { lockstep, products };
  }

  const { lockstep, products } = join();
  return {
    clock,
    memory,
    database,
    rows,
    /** The table as the shop's own collection sees it. */
    store: faultyStore(rows, storePlan),
    cachePlan,
    storePlan,
    queuePlan,
    jobs,
    lockstep,
    products,
    join,
    joinStore,
    /** What the cache holds at an id, past the faults. */
    entry: (id: string) => entryAt(memory, `wtc:products:${id}`),
    /** The events of one name, as they come. */
    record: <Name extends LockstepEventName>(name: Name) => {
      const events: LockstepEventMap[Name][] = [];
      lockstep.events.on(name, (event) => void events.push(event));
      return events;
    },
  };
}

export function storeOf(
  database: MemoryDatabase,
  name: string,
  validate?: MemoryStoreOptions<Product, string>['validate'],
) {
  return memoryStore<Product>({ name, database, ...(validate === undefined ? {} : { validate }) });
}

async function entryAt(cache: CacheAdapter, key: string): Promise<ScannedEntry | undefined> {
  for await (const entry of cache.scan(key, 'utf8')) if (entry.key === key) return entry;
  return undefined;
}

/** Lets everything happen that waits for nothing but its turn. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Moves the clock in steps until the promise settles; fails after `maxMs` of the clock's time. */
export async function elapse<T>(
  clock: ManualClock,
  promise: Promise<T>,
  stepMs = 5,
  maxMs = 60_000,
): Promise<T> {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  promise.then(done, done);
  for (let elapsedMs = 0; !settled; elapsedMs += stepMs) {
    if (elapsedMs > maxMs) throw new Error(`not settled after ${maxMs} ms`);
    await turns(2);
    if (!settled) clock.advance(stepMs);
  }
  return await promise;
}

/** Picks the cache calls that carry a command of this kind. */
export function carries(kind: CacheCommand['kind']) {
  return { when: (commands: readonly CacheCommand[]) => commands.some((command) => command.kind === kind) };
}

export const LAMP: Product = { name: 'lamp', stock: 3 };
export const CHAIR: Product = { name: 'chair', stock: 5 };
