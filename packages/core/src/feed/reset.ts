import type { CacheClient } from '../cache/client.js';
import type { ConsumerRecord, RecordedCollection } from '../contracts/registry.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { ALL_ROWS, ANY_ROW } from '../protocol/tags.js';
import { invalidations, type RowChange, tagInvalidation } from './invalidations.js';

/** Entries that are made unreadable in one call. A relay passes its own batch size. */
const BATCH = 500;

/**
 * Makes unreadable what the cache holds of collections, one after the other, below a version, or at any where that is
 * `0`, in batches. Resolves with how many entries became holes; rejects where the cache did not take one.
 */
export async function resetCollections(
  cache: CacheClient,
  collections: Iterable<RecordedCollection>,
  version = NO_VERSION,
  batchSize = BATCH,
): Promise<number> {
  let floored = 0;
  for (const each of collections) floored += await resetCollection(cache, each, version, batchSize);
  return floored;
}

async function resetCollection(
  cache: CacheClient,
  collection: RecordedCollection,
  version: Version,
  batchSize: number,
): Promise<number> {
  const { keyPrefix, lookup, tags, ...rest } = collection;
  if (tags !== undefined) return await resetTags(cache, keyPrefix);
  // A lookup's entries, too, are made unreadable by the keys that the scan finds.
  const plain = { ...rest, keyPrefix };
  const below = lookup === undefined ? version : NO_VERSION;
  let floored = 0;
  let gone: RowChange[] = [];
  const send = async (): Promise<void> => {
    const replies = await cache.runMany(invalidations(gone, [plain]));
    gone = [];
    for (const reply of replies) {
      if (reply instanceof Error) throw reply;
      if (reply.kind === 'invalidate' && reply.outcome === 'floored') floored += 1;
    }
  };
  for await (const { key, unflushed, version: held } of cache.scan(keyPrefix, 'utf8')) {
    // A buffered write is not in the store yet, and is judged there.
    if ((below !== NO_VERSION && held >= below) || unflushed === true) continue;
    gone.push({ key: key.slice(keyPrefix.length), version: below });
    if (gone.length === batchSize) await send();
  }
  await send();
  return floored;
}

/** Every view of the collection depends on one of these. */
async function resetTags(cache: CacheClient, keyPrefix: string): Promise<number> {
  const commands = [ALL_ROWS, ANY_ROW].map((tag) => tagInvalidation(keyPrefix + tag));
  const replies = await cache.runMany(commands);
  for (const reply of replies) if (reply instanceof Error) throw reply;
  return 0;
}

/**
 * Makes unreadable what the cache holds of collections that were just recorded beside others: entries of an earlier use
 * of the name, which no relay has kept in step. An epoch that is not replayed yet does so by itself. Where the cache
 * can't be asked, or takes longer, the entries expire by themselves.
 *
 * @param before what was recorded before these collections were
 */
export async function resetAdded(
  cache: CacheClient,
  collections: readonly RecordedCollection[],
  before: readonly ConsumerRecord[],
): Promise<void> {
  const added = collections.filter(({ name, source }) => {
    const record = before.find((each) => each.source === source);
    if (record === undefined || record.epoch === 0 || !record.replayed) return false;
    return !record.collections.some((each) => each.name === name);
  });
  await Promise.all(added.map((each) => resetCollections(cache, [each])));
}
