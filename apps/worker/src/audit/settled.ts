import type { ChangeFeed, CollectionInfo, Lockstep, ViewInfo } from '@lockstep/core';
import { bounded } from '../bounded.js';

const TIMEOUT_MS = 2_000;

/**
 * Says of a part, and of a time ago, whether all that was changed before it has been dealt with: nothing so old is in its
 * feed, and nothing at all in the queue, which takes what the cache refused. Rejects where one of them does not answer.
 */
export async function isSettled(
  lockstep: Lockstep,
): Promise<(part: CollectionInfo | ViewInfo, ageMs: number) => boolean> {
  const { collections, prefix, queue } = lockstep;
  const sources = new Map<ChangeFeed, Set<string>>();
  for (const { store } of collections) {
    if (store.feed === undefined) continue;
    sources.set(store.feed, (sources.get(store.feed) ?? new Set()).add(store.source));
  }
  const ages = new Map<ChangeFeed, number>();
  for (const [feed, names] of sources) {
    const status = await bounded(feed.name, TIMEOUT_MS, feed.status([...names], prefix));
    ages.set(feed, status.pending === 0 ? 0 : status.oldestMs);
  }
  // Behind the feeds: what leaves a feed for the queue is found in one of them.
  const jobs = queue && (await bounded('queue', TIMEOUT_MS, queue.status()));
  const isIdle = jobs === undefined || jobs.waiting + jobs.active + jobs.delayed === 0;
  return (part, ageMs) => {
    const feeds = 'store' in part ? [part.store.feed] : [...ages.keys()];
    return isIdle && feeds.every((feed) => feed === undefined || (ages.get(feed) ?? 0) < ageMs);
  };
}
