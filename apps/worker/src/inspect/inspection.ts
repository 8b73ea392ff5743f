import type { CollectionInfo, InspectedEntry, KeptChange, KeptOfRow, Lockstep } from '@lockstep/core';
import { bounded } from '../bounded.js';
import { type Comparison, compare, TIMEOUT_MS } from './compare.js';
import { collectionOf, idOf } from './ids.js';
import { jobsAbout, keptOf, lettersAbout, recordedOf } from './traces.js';
import { type ReadableVersion, readable, timeOf } from './versions.js';

/** How many of the newest dead letters are searched. */
const MAX_LETTERS = 1_000;
/** Verdicts that nothing has to be done about. */
const WELL: readonly string[] = ['in step', 'not cached', 'not flushed yet'];

/** What is at a row's cache key. Times are in ms. */
export interface EntryFacts extends ReadableVersion {
  /** `absent`: there is no row, in a version that is known. */
  readonly state: 'value' | 'absent' | 'hole';
  readonly bytes: number;
  /** `null`: it is kept until its write is flushed, or the cache can't tell. */
  readonly expiresInMs: number | null;
  /** When a reader refreshes it; `null`: not before it expires. */
  readonly refreshAt: string | null;
  /** A hole of a row that is known to be absent: readers take it. */
  readonly knownAbsent: boolean;
  readonly unflushed: boolean;
}

export interface FeedFacts {
  /** The oldest first; at most 100. */
  readonly changes: readonly (KeptChange & ReadableVersion)[];
  /** The deletion that the store remembers. */
  readonly tombstone: ReadableVersion | null;
}

export interface QueueFacts {
  /** Jobs that wait or are active; `null`: the queue can't tell. */
  readonly jobs: number | null;
  /** Among the newest 1,000. */
  readonly deadLetters: number;
}

/** One row, as the cache, the store, the feed and the queue have it. */
export interface Inspection {
  readonly collection: string;
  readonly key: string;
  readonly cacheKey: string;
  readonly verdict: Comparison['verdict'];
  /** True where nothing has to be done about it. */
  readonly isWell: boolean;
  /** Why an entry is unreadable. */
  readonly problem: string | null;
  /** `null`: there is nothing at the key. */
  readonly entry: EntryFacts | null;
  readonly row: ReadableVersion | null;
  /** Columns of the row by which views depend on it. */
  readonly tags: readonly string[];
  /** Columns by which pointers lead to the row. */
  readonly pointers: readonly string[];
  /** `null`: the store keeps nothing beside the row. */
  readonly feed: FeedFacts | null;
  /** `null`: there is none. */
  readonly queue: QueueFacts | null;
}

/** An inspection with the values, as a read of this process would give them; `undefined`: there is none. */
export interface InspectionWithValues extends Inspection {
  readonly cached: unknown;
  readonly stored: unknown;
}

/**
 * Looks at one row; `id` as somebody types it. Changes nothing. Rejects with `InvalidOptionError`, `InvalidIdError`, and
 * where a server does not answer in time.
 */
export async function inspectRow(
  lockstep: Lockstep,
  collectionName: string,
  id: string,
): Promise<InspectionWithValues> {
  const collection = collectionOf(lockstep, collectionName);
  const { keyPrefix, store } = collection;
  await bounded(store.name, TIMEOUT_MS, collection.open());
  const key = store.keyOf(idOf(collection, id) as never);
  const cacheKey = keyPrefix + key;
  const [[compared], found, kept, recorded, queue] = await Promise.all([
    compare(lockstep, collection, [key]),
    entryAt(lockstep, collection, cacheKey),
    keptOf(collection, key),
    recordedOf(lockstep, collection),
    queueFacts(lockstep, collection, key, cacheKey),
  ]);
  const { entry, problem, row, verdict } = compared as Comparison;
  const named = (version: number): ReadableVersion => readable(version, store.name);
  return {
    collection: collectionName,
    key,
    cacheKey,
    verdict,
    isWell: WELL.includes(verdict),
    problem: problem ?? null,
    entry: found === undefined ? null : { ...factsOf(found), ...named(found.version) },
    row: row === undefined ? null : named(row.version),
    tags: recorded.flatMap(({ tags }) => tags?.map((columns) => columns.join(', ')) ?? []),
    pointers: recorded.flatMap(({ lookup }) => (lookup === undefined ? [] : [lookup.join(', ')])),
    feed: kept === undefined ? null : feedFacts(kept, named),
    queue,
    cached: entry?.value,
    stored: row?.value,
  };
}

/** A cache that can't tell what is there tells what a reader would take. */
async function entryAt(
  { cache }: Lockstep,
  { serializer: { encoding } }: CollectionInfo,
  cacheKey: string,
): Promise<InspectedEntry | undefined> {
  if (cache.inspect !== undefined)
    return await bounded('cache', TIMEOUT_MS, cache.inspect(cacheKey, encoding));
  const [hit] = await bounded('cache', TIMEOUT_MS, cache.read([cacheKey], encoding));
  if (hit instanceof Error) throw hit;
  return hit && { ...hit, key: cacheKey, state: 'value', expiresInMs: undefined, knownAbsent: false };
}

function factsOf(entry: InspectedEntry): Omit<EntryFacts, keyof ReadableVersion> {
  const { expiresInMs, knownAbsent, payload, staleAtMs, state, unflushed } = entry;
  return {
    state: state === 'hole' ? 'hole' : payload === null ? 'absent' : 'value',
    bytes: payload === null ? 0 : Buffer.byteLength(payload),
    expiresInMs: expiresInMs ?? null,
    refreshAt: staleAtMs === 0 ? null : timeOf(staleAtMs),
    knownAbsent,
    unflushed: unflushed === true,
  };
}

function feedFacts(
  { changes, tombstone }: KeptOfRow,
  named: (version: number) => ReadableVersion,
): FeedFacts {
  return {
    changes: changes.map((change) => ({ ...change, ...named(change.version) })),
    tombstone: tombstone === undefined ? null : named(tombstone),
  };
}

async function queueFacts(
  lockstep: Lockstep,
  collection: CollectionInfo,
  key: string,
  cacheKey: string,
): Promise<QueueFacts | null> {
  if (lockstep.queue === undefined) return null;
  const [jobs, letters] = await Promise.all([
    jobsAbout(lockstep, collection, key, [cacheKey]),
    lettersAbout(lockstep, collection, key, [cacheKey], MAX_LETTERS),
  ]);
  return { jobs: jobs ?? null, deadLetters: letters.length };
}
