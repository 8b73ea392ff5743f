import type { CacheClient } from '../cache/client.js';
import type { KeptByCache } from '../cache/kept.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { Versioned } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { StoreAdapter, StoreRow } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import type { Membership } from '../feed/membership.js';
import type { Activity } from '../runtime/activity.js';
import type { EventHub } from '../runtime/events.js';
import type { Codec } from '../values/codec.js';

/** Loads one row; `primary`: where writes go. */
export type Load<Value> = (key: string, primary: boolean) => Promise<StoreRow<Value> | undefined>;

/** One entity that a caller asks for. */
export interface Lookup<Value> {
  readonly key: string;
  readonly cacheKey: string;
  readonly ttlMs: number;
  readonly load: Load<Value>;
  /** By the clock's `monotonic`; `0`: nobody wants to know. */
  readonly startedAtMs: number;
}

/** What the read path of one collection works with. */
export interface ReadContext<Value> {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly codec: Codec<Value>;
  readonly cache: CacheClient;
  readonly kept: KeptByCache;
  readonly load: Load<Value>;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly activity: Activity;
  readonly nextToken: () => string;
  /** Of a store that tells of its changes: whether everyone who writes knows of this collection. */
  readonly member: Membership | undefined;
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  /** Where writes may be buffered: brings a key's buffered write into the store. */
  readonly flushKey: ((key: string) => Promise<void>) | undefined;
}

/** What the store answered. */
export function versioned<Value>(row: StoreRow<Value> | undefined): Versioned<Value> {
  return row === undefined
    ? { value: null, version: NO_VERSION, from: 'store' }
    : { value: row.value, version: row.version, from: 'store' };
}

/** The store alone: fills nothing. No floor tells whether a replica lags, so the primary is asked. */
export async function loadOnly<Value>({ key, load }: Lookup<Value>): Promise<Versioned<Value>> {
  return versioned(await load(key, true));
}
