import type { CacheClient } from '../cache/client.js';
import type { KeptByCache } from '../cache/kept.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { Clock } from '../contracts/clock.js';
import type { StoreAdapter } from '../contracts/store.js';
import type { Membership } from '../feed/membership.js';
import type { Activity } from '../runtime/activity.js';
import type { EventHub } from '../runtime/events.js';
import type { Codec } from '../values/codec.js';
import type { Loader } from './loader.js';

/** One entity that a caller asks for. */
export interface Lookup {
  readonly key: string;
  readonly cacheKey: string;
  readonly ttlMs: number;
  /** By the clock's `monotonic`. */
  readonly startedAtMs: number;
}

/** What the read path of one collection works with. */
export interface ReadContext<Value> {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly keyPrefix: string;
  readonly codec: Codec<Value>;
  readonly cache: CacheClient;
  readonly kept: KeptByCache;
  readonly loader: Loader<Value>;
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
