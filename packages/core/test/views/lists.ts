import type { Collection } from '../../src/contracts/api.js';
import type { CacheAdapter } from '../../src/contracts/cache.js';
import type { ViewOptions } from '../../src/contracts/views.js';
import { type CacheCalls, faultPlan, faultyCache, manualClock } from '../../src/faults/index.js';
import { memoryCache, memoryDatabase, memoryStore } from '../../src/memory/index.js';
import { createLockstep } from '../../src/runtime/lockstep.js';

export interface Product {
  readonly category: string;
  readonly name: string;
  readonly tenant?: string;
}

export type Items = Collection<Product>;
export type Any = Readonly<Record<'ids' | 'name', readonly string[]>>;
type Listing = ViewOptions<{ category: string }, string[]>;

/** A shop with a list of each category, and a count of its loads. */
export function openLists(
  more: Partial<Listing> = {},
  adapt: (cache: CacheAdapter) => CacheAdapter = (same) => same,
) {
  const clock = manualClock();
  const memory = memoryCache({ clock });
  const plan = faultPlan<CacheCalls>({ clock });
  const server = { generation: 'first' };
  const cache: CacheAdapter = adapt({
    ...faultyCache(memory, plan),
    probe: async () => new Map([['', { generation: server.generation, nowMs: clock.now() }]]),
  });
  const database = memoryDatabase({ name: 'lists', clock, feedGraceMs: 0 });
  const rows = memoryStore<Product>({ name: 'items', database });
  const loads: string[] = [];
  const gates: Promise<void>[] = [];
  async function namesOf(category: string): Promise<string[]> {
    const found = await rows.read(rows.keys(), { timeoutMs: 1_000, primary: true });
    return found.flatMap((row) => (row?.value.category === category ? [row.value.name] : [])).sort();
  }
  function join() {
    const lockstep = createLockstep({ cache, clock, random: () => 0.5 });
    const items = lockstep.collection({
      name: 'items',
      store: rows,
      tags: ['category', ['category', 'tenant']],
    });
    const lists = lockstep.view<{ category: string }, string[]>({
      name: 'list',
      load: async ({ category }) => {
        loads.push(category);
        const names = await namesOf(category);
        await gates.shift();
        return names;
      },
      dependsOn: ({ category }) => items.where({ category }),
      ...more,
    });
    return { lockstep, items, lists };
  }
  return { ...join(), clock, gates, join, loads, memory, namesOf, plan, rows, server };
}

export const books = { category: 'books' };
