import { setTimeout as pause } from 'node:timers/promises';
import { redisCache } from '@lockstep/cache-redis';
import { type CacheAdapter, type Collection, createLockstep, type Lockstep, type View } from '@lockstep/core';
import { controlledViewsCache } from './controls/cache.js';
import { controlledFinds, controlledViewsStore } from './controls/store.js';
import type { Shown } from './history.js';
import { type Query, TABLE, type ViewRow } from './rows.js';
import type { CacheAddress, ViewsPartySettings } from './settings.js';
import { openViewsStore } from './stores/open.js';
import type { ViewsStore } from './stores/store.js';

/** Lockstep as every process of the run composes it. */
export interface ViewsParty {
  readonly lockstep: Lockstep;
  readonly rows: Collection<ViewRow, string>;
  readonly views: { readonly [Name in Query['view']]: View<Extract<Query, { view: Name }>, Shown[]> };
  readonly store: ViewsStore;
  read(query: Query): Promise<Shown[]>;
  close(): Promise<void>;
}

/** Well above what a busy machine takes: a cache that is slow is not one that is away. */
const CACHE_TIMEOUT_MS = 700;
const SLOW_SHARE = 0.5;
const SLOWEST_MS = 30;
const BOUNDS = { ttlMs: 60_000, leaseMs: 500, leaseWaitMs: 300, storeTimeoutMs: 5_000 } as const;

export async function openViewsParty(settings: ViewsPartySettings): Promise<ViewsParty> {
  const { control } = settings;
  const store = await openViewsStore(settings.store, settings.storeUrl);
  const { find, one } = controlledFinds(store, control);
  const cache = controlledViewsCache(cacheOf(settings.cache), control);
  const lockstep = createLockstep({ cache, cacheTimeoutMs: CACHE_TIMEOUT_MS });
  const rows = lockstep.collection<ViewRow>({
    ...BOUNDS,
    name: TABLE,
    store: controlledViewsStore(store.adapter, control),
    tags: ['category', ['category', 'shelf']],
  });
  /** What a load has read gets old before it is there, so that writes come in between. */
  const shown = async (found: readonly ViewRow[]): Promise<Shown[]> => {
    if (Math.random() < SLOW_SHARE) await pause(Math.random() * SLOWEST_MS);
    return found.map(({ _id, token }) => [_id, token]);
  };
  const views: ViewsParty['views'] = {
    category: lockstep.view({
      ...BOUNDS,
      name: 'by-category',
      load: async (query, { client }) => await shown(await find(query, client)),
      dependsOn: ({ category }) => rows.where({ category }),
    }),
    shelf: lockstep.view({
      ...BOUNDS,
      name: 'by-shelf',
      load: async (query, { client }) => await shown(await find(query, client)),
      dependsOn: ({ category, shelf }) => rows.where({ category, shelf }),
    }),
    all: lockstep.view({
      ...BOUNDS,
      name: 'everything',
      load: async (query, { client }) => await shown(await find(query, client)),
      dependsOn: () => rows.any(),
    }),
    // A row, and the one that it refers to: only a load finds that.
    pair: lockstep.view({
      ...BOUNDS,
      name: 'pair',
      load: async ({ key }, { client }): Promise<Shown[]> => {
        const row = await one(key, client);
        if (row === undefined) return [];
        const other = row.ref === key ? undefined : await one(row.ref, client);
        // A reference to a row that is not there is named, too: the row may come.
        const both = await shown(other === undefined ? [row] : [row, other]);
        return row.ref === key || other !== undefined ? both : [...both, [row.ref, '']];
      },
      dependsOn: ({ key }, found) => [rows.id(key), ...(found ?? []).map(([each]) => rows.id(each))],
    }),
  };
  return {
    lockstep,
    rows,
    views,
    store,
    async read(query) {
      const found: Shown[] = await views[query.view].get(query as never);
      return found.filter(([, token]) => token !== '');
    },
    async close() {
      await lockstep.close();
      await store.close();
    },
  };
}

function cacheOf(address: CacheAddress): CacheAdapter {
  const bounds = { commandTimeoutMs: 2_500 };
  switch (address.kind) {
    case 'standalone':
      return redisCache({ ...bounds, url: address.url });
    case 'sentinel': {
      const { name, sentinels } = address;
      return redisCache({ ...bounds, sentinel: { name, sentinels: [...sentinels] } });
    }
    case 'cluster':
      return redisCache({ ...bounds, cluster: { nodes: [...address.nodes] } });
  }
}
