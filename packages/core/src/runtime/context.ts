import type { Buffers } from '../buffer/buffers.js';
import type { CacheClient } from '../cache/client.js';
import type { KeptByCache } from '../cache/kept.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangeFeed } from '../contracts/feed.js';
import type { Transaction } from '../contracts/options.js';
import type { QueueAdapter } from '../contracts/queue.js';
import type { StoreTransactionOptions, TransactionHost } from '../contracts/store.js';
import type { Consumer } from '../feed/consumer.js';
import type { Handover } from '../feed/handover.js';
import type { NearWatch } from '../near/watch.js';
import type { CompressionSettings } from '../values/compression.js';
import type { Integrity } from '../values/integrity.js';
import type { LockstepTransaction, TransactionOutcome } from '../write/transaction.js';
import type { Activity } from './activity.js';
import type { AnnouncedParts } from './announced-parts.js';
import type { EventHub } from './events.js';
import type { CacheSwitch } from './switch.js';

/** The context that the collections of one Lockstep share. */
export interface EngineContext {
  readonly prefix: string;
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly kept: KeptByCache;
  readonly handover: Handover;
  readonly queue: QueueAdapter | undefined;
  /** The default of collections. */
  readonly compression: CompressionSettings | undefined;
  /** `undefined`: entries and jobs carry no signatures. */
  readonly integrity: Integrity | undefined;
  readonly events: EventHub;
  readonly activity: Activity;
  /** The counters of collections and views. */
  readonly announced: AnnouncedParts;
  readonly buffers: Buffers;
  readonly clock: Clock;
  readonly random: () => number;
  readonly nextToken: () => string;
  /** The consumer of a feed: what this process knows of its registry. */
  readonly consumerOf: (feed: ChangeFeed) => Consumer;
  readonly cacheSwitch: CacheSwitch;
  readonly nearWatch: NearWatch;
  /** True where the store does not keep the rows of any of these tags in step. */
  readonly anySuspended: (tagKeys: readonly string[]) => boolean;
  /** `closed`: calls reject with `ClosedError`. A field: every call looks at it. */
  readonly lifecycle: { readonly closed: boolean };
  /** Runs a transaction and brings the cache in step with its commit. */
  readonly transaction: <T>(
    host: TransactionHost,
    body: (tx: LockstepTransaction & Transaction) => Promise<T>,
    options: StoreTransactionOptions,
  ) => Promise<{ readonly value: T; readonly outcome: TransactionOutcome }>;
  /** Warns where the cache evicts intents. `why`: the reason that the collection has any. */
  readonly warnIfEvicting: (collection: string, why: string) => Promise<void>;
}
