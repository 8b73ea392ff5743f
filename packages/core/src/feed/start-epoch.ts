import { withinCacheTime } from '../cache/cache-time.js';
import type { CacheClient } from '../cache/client.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangeFeed } from '../contracts/feed.js';
import type { ConsumerRecord, Epochs, RecordedCollection } from '../contracts/registry.js';
import type { CacheIdentity } from './identity.js';

export interface StartEpochOptions {
  /** The consumer's name. */
  readonly name: string;
  readonly feed: ChangeFeed;
  readonly identity: CacheIdentity;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly nextToken: () => string;
  /** Commits an epoch of this identity for the sources, unless it is the present one. */
  readonly begin: (identity: string) => Promise<readonly ConsumerRecord[]>;
  readonly collections: (source: string) => readonly RecordedCollection[];
}

/** How long the cache is searched at most. */
export const SEARCH_MS = 1_000;
const LEASE_MS = 10_000;

/**
 * Starts the epoch of sources that were just recorded, or that nobody has replayed yet, before this process fills
 * anything of them. A cache that holds no entry of theirs lacks nothing, and whatever comes into it from now on is kept
 * in step under the record: the epoch counts as replayed. Where there is an entry (an older release filled it, the store
 * lost the record, the prefix was in use before), or that can't be told in time, the replay is left to a relay.
 * Answers the sources that somebody else searches or replays.
 */
export async function startEpoch(options: StartEpochOptions): Promise<readonly string[]> {
  const { collections, feed, identity, name } = options;
  const { registry } = feed;
  const asked = await identity.ask();
  if (asked === undefined) return [];
  const records = await options.begin(asked);
  const due = records.filter((record) => record.identity === asked && !record.replayed);
  if (due.length === 0) return [];
  const holder = options.nextToken();
  const held = await registry.lease(name, epochsOf(due), holder, LEASE_MS);
  try {
    const empty: ConsumerRecord[] = [];
    for (const record of due) {
      const { source } = record;
      if (held.includes(source) && (await holdsNothing(options, collections(source)))) empty.push(record);
    }
    // The search must have been one cache's.
    if (empty.length > 0 && (await identity.ask()) === asked) {
      await registry.replayed(name, epochsOf(empty), holder);
    }
  } finally {
    await registry.release(name, holder);
  }
  return due.map(({ source }) => source).filter((source) => !held.includes(source));
}

/** Leases and reservations are entries, too: nobody is about to put there what was read before. */
async function holdsNothing(
  { cache, clock }: Pick<StartEpochOptions, 'cache' | 'clock'>,
  collections: readonly RecordedCollection[],
): Promise<boolean> {
  let over = false;
  const search = async (): Promise<boolean> => {
    for (const { keyPrefix } of collections) {
      for await (const _ of cache.scan(keyPrefix, 'utf8')) return false;
      if (over) return false;
    }
    return true;
  };
  try {
    return await withinCacheTime(clock, search(), SEARCH_MS);
  } catch {
    return false;
  } finally {
    over = true;
  }
}

export function epochsOf(records: readonly ConsumerRecord[]): Epochs {
  return new Map(records.map(({ epoch, source }) => [source, epoch]));
}
